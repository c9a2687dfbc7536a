//! [`Liveness`]: which brokers have sent a heartbeat of late. Kafka's `BrokerHeartbeatManager`.
//!
//! Soft state beside the recorded machine, rebuilt at load: after a start every unfenced broker gets a whole session
//! to show itself. What it finds is turned into records by commands; nothing here changes the metadata.

use std::collections::BTreeMap;
use std::time::Duration;

use logrun_metadata::MetadataImage;
use logrun_model::{BrokerEpoch, MetadataOffset, Monotonic, NodeId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    epoch: BrokerEpoch,
    last_contact: Monotonic,
    metadata_offset: MetadataOffset,
    /// Where the record lies that says that it is about to stop.
    shutdown_offset: Option<MetadataOffset>,
}

/// The sessions of the unfenced brokers.
#[derive(Clone, Debug)]
pub struct Liveness {
    sessions: BTreeMap<NodeId, Session>,
    /// `broker.session.timeout.ms`
    session_timeout: Duration,
}

impl Liveness {
    pub fn new(session_timeout: Duration) -> Self {
        Self { sessions: BTreeMap::new(), session_timeout }
    }

    /// Gives every unfenced broker of `image` a session from `now` on, as a new active controller does.
    pub fn load(&mut self, now: Monotonic, image: &MetadataImage) {
        self.sessions.clear();
        for broker in image.cluster.brokers.values().filter(|b| !b.fenced) {
            self.touch(now, broker.id, broker.epoch, MetadataOffset::NONE);
        }
    }

    /// A heartbeat of the broker, which has replayed the metadata up to `metadata_offset`.
    pub fn touch(&mut self, now: Monotonic, id: NodeId, epoch: BrokerEpoch, metadata_offset: MetadataOffset) {
        let shutdown_offset = self.sessions.get(&id).filter(|s| s.epoch == epoch).and_then(|s| s.shutdown_offset);
        self.sessions.insert(id, Session { epoch, last_contact: now, metadata_offset, shutdown_offset });
    }

    /// The broker has the metadata up to `metadata_offset`, as it shows by what it asks for; whether it lives it shows by
    /// heartbeats only.
    pub fn replicated(&mut self, id: NodeId, metadata_offset: MetadataOffset) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.metadata_offset = session.metadata_offset.max(metadata_offset);
        }
    }

    /// The broker is about to stop, as the record at `offset` says, or one before.
    pub fn stops(&mut self, id: NodeId, offset: MetadataOffset) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.shutdown_offset.get_or_insert(offset);
        }
    }

    /// The broker is fenced, gone, or another incarnation.
    pub fn remove(&mut self, id: NodeId) {
        self.sessions.remove(&id);
    }

    pub fn has_valid_session(&self, now: Monotonic, id: NodeId, epoch: BrokerEpoch) -> bool {
        let valid = |s: &Session| s.epoch == epoch && now.since(s.last_contact) < self.session_timeout;
        self.sessions.get(&id).is_some_and(valid)
    }

    /// Whether every other broker that goes on knows that this one is about to stop (Kafka's `lowestActiveOffset`).
    pub fn others_caught_up(&self, id: NodeId) -> bool {
        let Some(at) = self.sessions.get(&id).and_then(|s| s.shutdown_offset) else { return true };
        let mut others = self.sessions.iter().filter(|(other, s)| **other != id && s.shutdown_offset.is_none());
        others.all(|(_, s)| s.metadata_offset >= at)
    }

    /// When the next session ends if nobody shows up.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.sessions.values().map(|s| s.last_contact.plus(self.session_timeout)).min()
    }

    /// Ends the sessions that are over and returns whose they were: each is to be fenced by a command.
    pub fn expire(&mut self, now: Monotonic) -> Vec<(NodeId, BrokerEpoch)> {
        let timeout = self.session_timeout;
        let over = |s: &Session| now.since(s.last_contact) >= timeout;
        let expired: Vec<_> = self.sessions.iter().filter(|(_, s)| over(s)).map(|(id, s)| (*id, s.epoch)).collect();
        self.sessions.retain(|_, s| !over(s));
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_broker_is_found() {
        let at = |ms| Monotonic::default().plus_ms(ms);
        let mut l = Liveness::new(Duration::from_millis(9000));
        l.touch(at(0), NodeId(1), BrokerEpoch(5), MetadataOffset(7));
        l.touch(at(1000), NodeId(2), BrokerEpoch(6), MetadataOffset(8));
        assert_eq!(l.next_deadline(), Some(at(9000)));
        assert!(l.has_valid_session(at(8999), NodeId(1), BrokerEpoch(5)));
        assert!(!l.has_valid_session(at(8999), NodeId(1), BrokerEpoch(4)));
        l.stops(NodeId(1), MetadataOffset(9));
        assert!(!l.others_caught_up(NodeId(1)), "the other has come to 8");
        l.replicated(NodeId(2), MetadataOffset(9));
        assert!(l.others_caught_up(NodeId(1)) && l.others_caught_up(NodeId(2)));
        assert_eq!(l.expire(at(9000)), [(NodeId(1), BrokerEpoch(5))]);
        assert_eq!(l.expire(at(9000)), []);
        assert_eq!(l.next_deadline(), Some(at(10_000)));
    }
}
