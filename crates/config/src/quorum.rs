//! The controllers of the cluster: `controller.quorum.*`, `QuorumConfig` of Kafka.

use std::collections::BTreeMap;

use logrun_model::NodeId;

use crate::error::{ConfigError, inconsistent};
use crate::listeners::{Roles, host_port};
use crate::settings::BrokerSettings;

/// Who the controllers are and how they are found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Quorum {
    /// `controller.quorum.voters`: the voters of a fixed quorum.
    pub voters: BTreeMap<NodeId, (String, u16)>,
    /// `controller.quorum.bootstrap.servers`: where the quorum is asked for.
    pub bootstrap_servers: Vec<(String, u16)>,
}

impl Quorum {
    /// Whether no other node is named, so that a combined node forms a quorum of one by itself.
    pub fn is_own(&self, node_id: NodeId) -> bool {
        self.voters.keys().all(|id| *id == node_id) && self.bootstrap_servers.len() <= 1
    }

    /// Reads and checks the quorum of a node with these roles.
    ///
    /// # Errors
    /// If an entry can't be read, or the entries contradict the node's roles.
    pub fn read(settings: &BrokerSettings, roles: Roles, node_id: NodeId) -> Result<Self, ConfigError> {
        const VOTERS: &str = "controller.quorum.voters";
        const SERVERS: &str = "controller.quorum.bootstrap.servers";
        let items = |name: &str| -> Vec<String> {
            let text = settings.text(name).unwrap_or("");
            text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
        };
        let mut voters = BTreeMap::new();
        for item in items(VOTERS) {
            let parsed = item.split_once('@').and_then(|(id, address)| {
                let id: i32 = id.trim().parse().ok().filter(|id| *id >= 0)?;
                Some((NodeId(id), host_port(address).filter(|(host, _)| !host.is_empty())?))
            });
            let Some((id, address)) = parsed else {
                return Err(inconsistent(format!("{VOTERS}: `{item}` is no voter: write id@host:port")));
            };
            if voters.insert(id, address).is_some() {
                return Err(inconsistent(format!("{VOTERS} has the id {id} twice: give each node its own")));
            }
        }
        let mut bootstrap_servers = Vec::new();
        for item in items(SERVERS) {
            let Some(address) = host_port(&item).filter(|(host, _)| !host.is_empty()) else {
                return Err(inconsistent(format!("{SERVERS}: `{item}` is no server: write host:port")));
            };
            bootstrap_servers.push(address);
        }
        if roles.controller && !voters.is_empty() && !voters.contains_key(&node_id) {
            return Err(inconsistent(format!(
                "node.id={node_id} is a controller and not among {VOTERS}: add {node_id}@host:port there, or remove \
                 controller from process.roles"
            )));
        }
        if !roles.controller && voters.contains_key(&node_id) {
            return Err(inconsistent(format!(
                "node.id={node_id} is among {VOTERS}, and process.roles is broker only: give the broker another id, or \
                 add controller to process.roles"
            )));
        }
        if !roles.controller && voters.is_empty() && bootstrap_servers.is_empty() {
            return Err(ConfigError::Missing {
                name: SERVERS.to_owned(),
                remedy: "a broker has to know its controllers, e.g. controller.quorum.bootstrap.servers=host:9093"
                    .to_owned(),
            });
        }
        Ok(Self { voters, bootstrap_servers })
    }
}
