//! [`Cluster`]: what the client knows of the cluster, as an immutable picture. Kafka's `MetadataSnapshot`.
//!
//! A new picture is made of the old one and a Metadata response, or of the hints that a refused produce or fetch brings
//! (KIP-951). A leader of an older epoch never replaces one of a newer epoch, whichever response comes last.

use std::collections::BTreeMap;
use std::sync::Arc;

use logrun_model::{NodeId, Str, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::MetadataResponse;
use logrun_wire::messages::metadata_response::MetadataResponseTopic;

/// A node and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: NodeId,
    /// The host that it advertises.
    pub host: Str,
    /// The port that it advertises.
    pub port: u16,
    /// Where it stands.
    pub rack: Option<Str>,
}

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Str,
    /// Its id; zero if the broker is too old to say.
    pub id: Uuid,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// Why nothing is known of it; `None` if all is well.
    pub error: ErrorCode,
    /// In the order of their indexes, from 0, without a gap.
    pub partitions: Vec<Partition>,
}

/// A partition and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// The leader, if there is one.
    pub leader: Option<NodeId>,
    /// The leader's epoch; -1 if the broker is too old to say.
    pub leader_epoch: i32,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
    /// Those that are offline.
    pub offline: Vec<NodeId>,
    /// What is wrong with it; `None` if all is well.
    pub error: ErrorCode,
}

/// A leader that a broker told of in passing (KIP-951).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderHint {
    /// The partition's number.
    pub partition: i32,
    /// Its leader.
    pub leader: NodeId,
    /// The leader's epoch.
    pub leader_epoch: i32,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// How many pictures there were before this one.
    pub version: u64,
    /// The cluster's id.
    pub cluster_id: Option<Str>,
    /// The broker that serves the controller's calls.
    pub controller: Option<NodeId>,
    /// The nodes, by id.
    pub brokers: BTreeMap<NodeId, Broker>,
    topics: BTreeMap<Str, Arc<Topic>>,
    names: BTreeMap<Uuid, Str>,
}

impl Cluster {
    /// The topic of that name, if the broker was asked about it, its error if there is one included.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic of that id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// All topics that are known, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// A partition that is known.
    pub fn partition(&self, topic: &str, index: i32) -> Option<&Partition> {
        self.topic(topic)?.partition(index)
    }

    /// The leader of a partition, if it is known and there is one.
    pub fn leader(&self, topic: &str, index: i32) -> Option<NodeId> {
        self.partition(topic, index)?.leader
    }

    /// The picture after `response`. `complete` says that all topics were asked for, so that those it doesn't name are
    /// gone; `keep` says which of the others are still of interest.
    #[must_use]
    pub fn merge(&self, response: &MetadataResponse, complete: bool, keep: impl Fn(&str) -> bool) -> Self {
        let broker = |b: &logrun_wire::messages::metadata_response::MetadataResponseBroker| {
            let port = u16::try_from(b.port).ok()?;
            Some((
                NodeId(b.node_id),
                Broker {
                    id: NodeId(b.node_id),
                    host: b.host.detached(),
                    port,
                    rack: b.rack.as_ref().map(Str::detached),
                },
            ))
        };
        let mut topics: BTreeMap<Str, Arc<Topic>> = BTreeMap::new();
        if !complete {
            topics.extend(self.topics.iter().filter(|(name, _)| keep(name)).map(|(name, t)| (name.clone(), t.clone())));
        }
        for t in &response.topics {
            let Some(name) = &t.name else { continue };
            if complete || keep(name) {
                topics.insert(name.detached(), Arc::new(topic(t, self.topics.get(name).map(|t| &**t))));
            }
        }
        Self::indexed(Self {
            version: self.version + 1,
            cluster_id: response.cluster_id.as_ref().map(Str::detached).or_else(|| self.cluster_id.clone()),
            controller: (response.controller_id >= 0).then_some(NodeId(response.controller_id)),
            brokers: response.brokers.iter().filter_map(broker).collect(),
            topics,
            names: BTreeMap::new(),
        })
    }

    /// The picture with these leaders of `topic`, and with the nodes that came with them; `None` if they are not news.
    #[must_use]
    pub fn with_leaders(&self, topic: &str, hints: &[LeaderHint], nodes: &[Broker]) -> Option<Self> {
        let mut changed = Topic::clone(self.topics.get(topic)?);
        let mut any = false;
        for hint in hints.iter().filter(|h| h.leader.get() >= 0 && h.leader_epoch >= 0) {
            let known = self.brokers.contains_key(&hint.leader) || nodes.iter().any(|n| n.id == hint.leader);
            let at = usize::try_from(hint.partition).ok();
            if let Some(p) = at.and_then(|at| changed.partitions.get_mut(at))
                && known
                && hint.leader_epoch > p.leader_epoch
            {
                p.leader = Some(hint.leader);
                p.leader_epoch = hint.leader_epoch;
                p.error = ErrorCode::None;
                any = true;
            }
        }
        if !any {
            return None;
        }
        let mut next = self.clone();
        next.version += 1;
        next.brokers.extend(nodes.iter().map(|n| (n.id, n.clone())));
        next.topics.insert(changed.name.clone(), Arc::new(changed));
        Some(next)
    }

    fn indexed(mut self) -> Self {
        let ids = self.topics.values().filter(|t| !t.id.is_zero() && t.error.is_none());
        self.names = ids.map(|t| (t.id, t.name.clone())).collect();
        self
    }
}

impl Topic {
    /// The partition of that number.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

fn topic(t: &MetadataResponseTopic, before: Option<&Topic>) -> Topic {
    let nodes = |ids: &[i32]| ids.iter().map(|id| NodeId(*id)).collect();
    let mut sorted: Vec<_> = t.partitions.iter().collect();
    sorted.sort_by_key(|p| p.partition_index);
    // The same topic, as far as anybody can tell: its epochs go on.
    let before = before.filter(|b| b.id == t.topic_id);
    let mut partitions: Vec<Partition> = Vec::with_capacity(sorted.len());
    for p in sorted {
        // Partitions are numbered from 0; what leaves a gap is not one that anybody can use.
        if usize::try_from(p.partition_index) != Ok(partitions.len()) {
            continue;
        }
        let mut new = Partition {
            index: p.partition_index,
            leader: (p.leader_id >= 0).then_some(NodeId(p.leader_id)),
            leader_epoch: p.leader_epoch,
            replicas: nodes(&p.replica_nodes),
            isr: nodes(&p.isr_nodes),
            offline: nodes(&p.offline_replicas),
            error: ErrorCode::from_code(p.error_code).unwrap_or(ErrorCode::UnknownServerError),
        };
        if let Some(old) = before.and_then(|b| b.partition(p.partition_index))
            && new.leader_epoch >= 0
            && new.leader_epoch < old.leader_epoch
        {
            new.leader = old.leader;
            new.leader_epoch = old.leader_epoch;
        }
        partitions.push(new);
    }
    Topic {
        name: t.name.as_ref().map(Str::detached).unwrap_or_default(),
        id: t.topic_id,
        is_internal: t.is_internal,
        error: ErrorCode::from_code(t.error_code).unwrap_or(ErrorCode::UnknownServerError),
        partitions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition};

    fn uuid(n: u8) -> Uuid {
        Uuid([n; 16])
    }

    fn response(name: &str, id: u8, leaders: &[(i32, i32)]) -> MetadataResponse {
        let partition = |(i, (leader_id, leader_epoch)): (usize, &(i32, i32))| MetadataResponsePartition {
            partition_index: i as i32,
            leader_id: *leader_id,
            leader_epoch: *leader_epoch,
            ..Default::default()
        };
        let topic = MetadataResponseTopic {
            name: Some(name.into()),
            topic_id: uuid(id),
            partitions: leaders.iter().enumerate().map(partition).collect(),
            ..Default::default()
        };
        let broker = |node_id| MetadataResponseBroker { node_id, host: "h".into(), port: 9092, ..Default::default() };
        MetadataResponse { brokers: vec![broker(1), broker(2)], topics: vec![topic], ..Default::default() }
    }

    #[test]
    fn epochs_never_go_back_unless_the_topic_is_another() {
        let c = Cluster::default().merge(&response("t", 7, &[(1, 5)]), false, |_| true);
        let c = c.merge(&response("t", 7, &[(2, 4)]), false, |_| true);
        assert_eq!((c.leader("t", 0), c.partition("t", 0).unwrap().leader_epoch), (Some(NodeId(1)), 5));
        let c = c.merge(&response("t", 8, &[(2, 0)]), false, |_| true);
        assert_eq!(c.leader("t", 0), Some(NodeId(2)));
        assert_eq!(c.topic_by_id(uuid(8)).unwrap().name, "t");
        assert!(c.topic_by_id(uuid(7)).is_none());
    }

    #[test]
    fn hints_count_only_if_they_are_news() {
        let c = Cluster::default().merge(&response("t", 7, &[(1, 5)]), false, |_| true);
        let hint = |leader, leader_epoch| [LeaderHint { partition: 0, leader: NodeId(leader), leader_epoch }];
        assert_eq!(c.with_leaders("t", &hint(2, 5), &[]), None);
        assert_eq!(c.with_leaders("t", &hint(3, 6), &[]), None, "nobody knows node 3");
        assert_eq!(c.with_leaders("u", &hint(2, 6), &[]), None);
        let c = c.with_leaders("t", &hint(2, 6), &[]).unwrap();
        assert_eq!(c.leader("t", 0), Some(NodeId(2)));
        let three = Broker { id: NodeId(3), host: "x".into(), port: 1, rack: None };
        let c = c.with_leaders("t", &hint(3, 7), &[three]).unwrap();
        assert_eq!(c.brokers[&NodeId(3)].host, "x");
    }

    #[test]
    fn topics_go_when_all_were_asked_for_or_nobody_wants_them() {
        let c = Cluster::default().merge(&response("t", 7, &[(1, 5)]), false, |_| true);
        assert!(c.merge(&response("u", 9, &[]), false, |_| true).topic("t").is_some());
        assert!(c.merge(&response("u", 9, &[]), false, |n| n != "t").topic("t").is_none());
        assert!(c.merge(&response("u", 9, &[]), true, |_| true).topic("t").is_none());
    }
}
