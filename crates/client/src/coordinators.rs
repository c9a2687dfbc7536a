//! Who coordinates a group or a transaction: looked up once, forgotten when the answer turns out to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use logrun_model::{NodeId, Str};
use logrun_wire::messages::find_coordinator_response::Coordinator;
use logrun_wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use logrun_wire::{ErrorCode, VersionRange};
use parking_lot::Mutex;

use crate::client::Client;
use crate::connection::{ANY_VERSION, Connection};
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

/// The first version that answers for several keys at once (KIP-699).
const BATCHES_SINCE: i16 = 4;

/// The coordinators that are known.
#[derive(Debug, Default)]
pub(crate) struct Coordinators(Mutex<BTreeMap<CoordinatorKey, NodeId>>);

impl Coordinators {
    pub(crate) fn forget(&self, key: &CoordinatorKey) {
        self.0.lock().remove(key);
    }

    /// The coordinator of each of `keys`, asked of any node if it is not known. One attempt.
    pub(crate) async fn find(
        &self,
        client: &Client,
        keys: &BTreeSet<CoordinatorKey>,
    ) -> Result<BTreeMap<CoordinatorKey, Result<NodeId, Error>>, Error> {
        let mut found = BTreeMap::new();
        let mut unknown: BTreeMap<i8, Vec<&CoordinatorKey>> = BTreeMap::new();
        {
            let known = self.0.lock();
            for key in keys {
                match known.get(key) {
                    Some(node) => drop(found.insert(key.clone(), Ok(*node))),
                    None => unknown.entry(key.parts().0).or_default().push(key),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let connection = client.metadata().any().await?;
        let version = connection.versions().pick::<FindCoordinatorRequest>(ANY_VERSION)?;
        for (key_type, keys) in unknown {
            let batch = if version >= BATCHES_SINCE { keys.len() } else { 1 };
            for keys in keys.chunks(batch) {
                for (key, coordinator) in self.ask(client, &connection, version, key_type, keys).await? {
                    found.insert(key, coordinator);
                }
            }
        }
        Ok(found)
    }

    async fn ask(
        &self,
        client: &Client,
        connection: &Connection,
        version: i16,
        key_type: i8,
        keys: &[&CoordinatorKey],
    ) -> Result<Vec<(CoordinatorKey, Result<NodeId, Error>)>, Error> {
        let mut names = keys.iter().map(|key| key.parts().1.clone());
        let request = if version >= BATCHES_SINCE {
            FindCoordinatorRequest { key_type, coordinator_keys: names.collect(), ..Default::default() }
        } else {
            FindCoordinatorRequest { key_type, key: names.next_back().unwrap_or_default(), ..Default::default() }
        };
        let only = VersionRange::new(version, version);
        let response = connection.call(&request, only, client.request_timeout()).await?;
        let answers = if version >= BATCHES_SINCE { response.coordinators } else { vec![single(response, keys)] };
        let cluster = client.cluster();
        let moved = |c: &Coordinator| {
            c.error_code == 0
                && cluster
                    .brokers
                    .get(&NodeId(c.node_id))
                    .is_none_or(|b| b.host != c.host || i32::from(b.port) != c.port)
        };
        if answers.iter().any(moved) {
            // Its address comes with the metadata.
            client.refresh().await?;
        }
        let mut known = self.0.lock();
        Ok(keys
            .iter()
            .map(|key| {
                let answer = answers.iter().find(|c| c.key == *key.parts().1);
                let coordinator = answer.ok_or_else(|| ErrorCode::CoordinatorNotAvailable.into()).and_then(|c| {
                    crate::check(c.error_code, c.error_message.as_ref())?;
                    Ok(NodeId(c.node_id))
                });
                if let Ok(node) = coordinator {
                    known.insert((*key).clone(), node);
                }
                ((*key).clone(), coordinator)
            })
            .collect())
    }
}

/// An old broker's answer in the form of a new one's.
fn single(r: FindCoordinatorResponse, keys: &[&CoordinatorKey]) -> Coordinator {
    Coordinator {
        key: keys.first().map(|key| key.parts().1.clone()).unwrap_or_default(),
        node_id: r.node_id,
        host: r.host,
        port: r.port,
        error_code: r.error_code,
        error_message: r.error_message,
        ..Default::default()
    }
}
