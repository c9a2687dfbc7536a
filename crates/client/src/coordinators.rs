//! Who coordinates a group or a transaction: looked up once, forgotten when the answer turns out to be wrong.

use std::collections::BTreeMap;

use logrun_model::{NodeId, Str};
use logrun_wire::VersionRange;
use logrun_wire::messages::FindCoordinatorRequest;
use parking_lot::Mutex;

use crate::client::Client;
use crate::connection::ANY_VERSION;
use crate::error::Error;

/// What a coordinator coordinates: `FindCoordinatorRequest.CoordinatorType`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CoordinatorKey {
    /// A group, by its id.
    Group(Str),
    /// A transactional producer, by its transactional id.
    Transaction(Str),
    /// A partition of a share group: `group:topicId:partition` (KIP-932).
    Share(Str),
}

impl CoordinatorKey {
    fn parts(&self) -> (i8, &Str) {
        match self {
            Self::Group(key) => (0, key),
            Self::Transaction(key) => (1, key),
            Self::Share(key) => (2, key),
        }
    }
}

/// The coordinators that are known.
#[derive(Debug, Default)]
pub(crate) struct Coordinators(Mutex<BTreeMap<CoordinatorKey, NodeId>>);

impl Coordinators {
    pub(crate) fn forget(&self, key: &CoordinatorKey) {
        self.0.lock().remove(key);
    }

    /// The coordinator of `key`, asked of any node if it is not known. One attempt.
    pub(crate) async fn find(&self, client: &Client, key: &CoordinatorKey) -> Result<NodeId, Error> {
        if let Some(node) = self.0.lock().get(key).copied() {
            return Ok(node);
        }
        let connection = client.metadata().any().await?;
        let version = connection.versions().pick::<FindCoordinatorRequest>(ANY_VERSION)?;
        let (key_type, name) = key.parts();
        let request = match version {
            0..=3 => FindCoordinatorRequest { key: name.clone(), key_type, ..Default::default() },
            _ => FindCoordinatorRequest { key_type, coordinator_keys: vec![name.clone()], ..Default::default() },
        };
        let only = VersionRange::new(version, version);
        let response = connection.call(&request, only, client.request_timeout()).await?;
        let (code, message, node, host, port) = match response.coordinators.first() {
            Some(c) => (c.error_code, &c.error_message, c.node_id, &c.host, c.port),
            None => (response.error_code, &response.error_message, response.node_id, &response.host, response.port),
        };
        crate::check(code, message.as_ref())?;
        let node = NodeId(node);
        let cluster = client.cluster();
        if cluster.brokers.get(&node).is_none_or(|b| b.host != *host || i32::from(b.port) != port) {
            // Its address comes with the metadata.
            client.refresh().await?;
        }
        self.0.lock().insert(key.clone(), node);
        Ok(node)
    }
}
