//! [`Plan`]: what a run will do, drawn from its seed before anything happens.
//!
//! Sizes are small, so that many things meet: few partitions, few members, short segments, short phases. What the
//! plan does not fix (which partition, how many records, when a connection breaks) the workloads draw as they go.

use logrun_io::Random;
use logrun_io::disk::Fault;

/// How the life of a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is asked to stop and stops.
    Stop,
    /// It dies at some moment: what it wrote stays.
    Kill,
    /// The power fails: what was not synced may go.
    PowerCut,
}

/// What the disk does wrong while a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The `nth` change from when the workloads begin fails.
    Once { nth: u64, fault: Fault },
    /// One change in `one_in` fails.
    Often { one_in: u64, fault: Fault },
    /// The device of the last directory of `log.dirs` is gone.
    Gone,
    /// Only so many bytes more fit, until `lifted_after_ms`.
    Full { bytes: u64, lifted_after_ms: u64 },
}

/// One life of the process.
#[derive(Clone, Debug)]
pub struct PhasePlan {
    /// How long it serves before its end begins, in virtual milliseconds.
    pub length_ms: u64,
    pub end: End,
    /// A kill or power cut comes at this change of the disk, counted from the process's start, if it comes to that.
    pub at_mutation: Option<u64>,
    pub fault: Option<DiskFault>,
}

/// How a producer works.
#[derive(Clone, Copy, Debug)]
pub struct ProducerPlan {
    pub idempotent: bool,
    pub acks: i16,
    /// How many batches it has under way at most.
    pub in_flight: u64,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It can be read: the end of the process may take it.
    Memory,
    /// It was written: a power cut may take it.
    Write,
    /// It was synced, by Kafka's own setting.
    Flush,
    /// It was synced, by `logrun.durability`.
    Sync,
}

impl Durability {
    const ALL: [Self; 4] = [Self::Memory, Self::Write, Self::Flush, Self::Sync];

    pub fn any(r: &Random) -> Self {
        Self::ALL[r.below(4) as usize]
    }

    /// Whether what was acknowledged is there after the process was killed.
    pub fn survives_kill(self) -> bool {
        self != Self::Memory
    }

    /// Whether it is there after the power failed.
    pub fn survives_power_cut(self) -> bool {
        matches!(self, Self::Flush | Self::Sync)
    }

    /// As the node says it, if it isn't its default.
    pub fn node_config(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Memory => Some(("logrun.durability", "memory")),
            Self::Write => None,
            Self::Flush => Some(("log.flush.interval.messages", "1")),
            Self::Sync => Some(("logrun.durability", "sync")),
        }
    }

    /// As a topic says it.
    pub fn topic_configs(self) -> [(&'static str, &'static str); 2] {
        let never = "9223372036854775807";
        match self {
            Self::Memory => [("logrun.durability", "memory"), ("flush.messages", never)],
            Self::Write => [("logrun.durability", "write"), ("flush.messages", never)],
            Self::Flush => [("logrun.durability", "write"), ("flush.messages", "1")],
            Self::Sync => [("logrun.durability", "sync"), ("flush.messages", never)],
        }
    }
}

/// A data topic.
#[derive(Clone, Copy, Debug)]
pub struct TopicPlan {
    pub partitions: i32,
    /// What it says of it itself; none leaves it to the node.
    pub durability: Option<Durability>,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of the node: of topics that say nothing, and of what it writes for itself.
    pub durability: Durability,
    pub topics: Vec<TopicPlan>,
    pub producers: Vec<ProducerPlan>,
    pub readers: usize,
    pub members: usize,
    /// Makes, deletes and changes topics.
    pub admin: bool,
    /// `log.dirs`; the first holds the metadata log.
    pub log_dirs: Vec<&'static str>,
    /// `internal.segment.bytes` of the data topics: so small that segments are many.
    pub segment_bytes: u64,
    /// `log.roll.ms`.
    pub segment_ms: u64,
    /// `group.initial.rebalance.delay.ms`.
    pub rebalance_delay_ms: u64,
    /// `logrun.partition.idle.close.ms`.
    pub idle_close_ms: u64,
    pub phases: Vec<PhasePlan>,
    /// `logrun.journal`.
    pub journal: &'static str,
    /// `logrun.journal.bytes`: one that is used round and round, or one that is not.
    pub journal_bytes: u64,
    /// `logrun.write.gather.bytes`: nothing, everything, or what is large here.
    pub gather_bytes: i64,
    /// The cleaner hurries.
    pub compacts: bool,
    /// `logrun.cache.bytes`: as much as it likes, next to nothing, nothing, so that reads at the end of a log come from
    /// memory or are sent from files.
    pub cache_bytes: i64,
}

/// The values of `logrun.journal`.
pub(crate) const JOURNALS: [&str; 3] = ["none", "sync", "all"];

impl Plan {
    pub fn new(random: &Random) -> Self {
        let r = random;
        let producers = (0..1 + r.below(3)).map(|_| producer(r)).collect();
        let members = if r.chance(1, 3) { 1 + r.below(3) as usize } else { 0 };
        Self {
            durability: Durability::any(r),
            topics: (0..1 + r.below(2)).map(|_| topic(r)).collect(),
            producers,
            readers: r.below(3) as usize,
            members,
            admin: r.chance(1, 2),
            log_dirs: if r.chance(1, 4) { vec!["/data/a", "/data/b"] } else { vec!["/data"] },
            segment_bytes: [3_000, 10_000, 1 << 20][r.below(3) as usize],
            segment_ms: [200, 1_000, 60_000][r.below(3) as usize],
            rebalance_delay_ms: if r.chance(1, 2) { 0 } else { 500 },
            idle_close_ms: [50, 500, 300_000][r.below(3) as usize],
            phases: (0..2 + r.below(3)).map(|_| phase(r, members > 0)).collect(),
            gather_bytes: [-1, 0, 600][r.below(3) as usize],
            journal: JOURNALS[r.below(3) as usize],
            journal_bytes: [24 << 10, 1 << 20][r.below(2) as usize],
            compacts: r.chance(1, 2),
            cache_bytes: [-1, 16 << 10, 0][r.below(3) as usize],
        }
    }

    /// The settings of the node, as in `server.properties`.
    pub fn settings(&self) -> Vec<(String, String)> {
        let mut settings = one_node();
        settings.push(("group.min.session.timeout.ms".into(), "1000".into()));
        settings.push(("log.index.interval.bytes".into(), "512".into()));
        settings.push(("log.dirs".into(), self.log_dirs.join(",")));
        settings.push(("logrun.journal".into(), self.journal.into()));
        settings.push(("logrun.journal.bytes".into(), self.journal_bytes.to_string()));
        settings.push(("logrun.write.gather.bytes".into(), self.gather_bytes.to_string()));
        settings.push(("logrun.cache.bytes".into(), self.cache_bytes.to_string()));
        settings.push(("log.roll.ms".into(), self.segment_ms.to_string()));
        settings.push(("group.initial.rebalance.delay.ms".into(), self.rebalance_delay_ms.to_string()));
        settings.push(("logrun.partition.idle.close.ms".into(), self.idle_close_ms.to_string()));
        if self.compacts {
            for (key, value) in [
                ("log.cleaner.backoff.ms", "200"),
                ("log.cleaner.min.cleanable.ratio", "0.01"),
                ("log.cleaner.delete.retention.ms", "500"),
                ("log.flush.offset.checkpoint.interval.ms", "300"),
            ] {
                settings.push((key.into(), value.into()));
            }
        }
        settings.extend(self.durability.node_config().map(|(k, v)| (k.to_owned(), v.to_owned())));
        settings
    }
}

/// What every simulated node has: one process that is broker and controller, and few partitions of its own topics.
pub(crate) fn one_node() -> Vec<(String, String)> {
    [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.quorum.voters", "1@127.0.0.1:9093"),
        ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("auto.create.topics.enable", "false"),
        ("offsets.topic.num.partitions", "2"),
        ("offsets.topic.replication.factor", "1"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into()
}

fn topic(r: &Random) -> TopicPlan {
    let partitions = 1 + r.below(3) as i32;
    TopicPlan { partitions, durability: r.chance(1, 2).then(|| Durability::any(r)) }
}

fn producer(r: &Random) -> ProducerPlan {
    let idempotent = r.chance(1, 2);
    let acks = if idempotent || r.chance(1, 2) { -1 } else { r.below(2) as i16 };
    let in_flight = if idempotent { 1 + r.below(5) } else { 1 };
    ProducerPlan { idempotent, acks, in_flight }
}

fn phase(r: &Random, has_members: bool) -> PhasePlan {
    let end = [End::Stop, End::Kill, End::PowerCut][r.below(3) as usize];
    let early = r.chance(1, 4);
    let at_mutation = match end {
        End::Stop => None,
        _ => r.chance(2, 3).then(|| 1 + r.below(if early { 80 } else { 600 })),
    };
    let fault = r.chance(1, 5).then(|| {
        let fault = [Fault::Io, Fault::NoSpace, Fault::Torn][r.below(3) as usize];
        match r.below(4) {
            3 => DiskFault::Gone,
            0 => DiskFault::Once { nth: 1 + r.below(100), fault },
            1 => DiskFault::Often { one_in: 10 + r.below(100), fault },
            _ => DiskFault::Full { bytes: r.below(20_000), lifted_after_ms: 500 + r.below(3_000) },
        }
    });
    let length_ms = if has_members { 3_000 + r.below(12_000) } else { 300 + r.below(3_000) };
    PhasePlan { length_ms, end, at_mutation, fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_the_seeds_have_them_all() {
        let plans: Vec<Plan> = (0..300).map(|seed| Plan::new(&Random::from_seed(seed))).collect();
        let again: Vec<Plan> = (0..300).map(|seed| Plan::new(&Random::from_seed(seed))).collect();
        assert_eq!(format!("{plans:?}"), format!("{again:?}"));
        let phases: Vec<&PhasePlan> = plans.iter().flat_map(|p| &p.phases).collect();
        for end in [End::Stop, End::Kill, End::PowerCut] {
            assert!(phases.iter().filter(|p| p.end == end).count() > 100);
        }
        for durability in Durability::ALL {
            assert!(plans.iter().any(|p| p.topics.iter().any(|t| t.durability == Some(durability))));
            for journal in JOURNALS {
                assert!(plans.iter().filter(|p| p.durability == durability && p.journal == journal).count() > 10);
            }
        }
        assert!(plans.iter().any(|p| p.members == 3) && plans.iter().any(|p| p.producers.len() == 3));
        assert!(phases.iter().any(|p| matches!(p.fault, Some(DiskFault::Full { .. }))));
    }
}
