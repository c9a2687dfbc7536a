//! The half of [`Core`] that knows what the application has in hand and what it has said of it: acknowledgements on their
//! way back to where their records came from, and the commits that wait for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use logrun_model::{NodeId, Offset, TopicPartition, Uuid};

use super::{Core, Node};
use crate::error::Error;
use crate::share::acknowledgements::{AcknowledgeType, Runs};
use crate::share::consumer::Acknowledged;
use crate::share::record::SharePart;
use crate::share::session::Id;

/// Where records came from: acknowledgements go back there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) tp: TopicPartition,
    pub(super) node: NodeId,
    pub(super) topic_id: Uuid,
}

impl Source {
    pub(super) fn id(&self) -> Id {
        (self.topic_id, self.tp.partition)
    }
}

/// Records of one source that the application has.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) parts: Vec<Arc<SharePart>>,
    /// What the application has said of each.
    pub(super) records: BTreeMap<Offset, Option<AcknowledgeType>>,
}

/// Acknowledgements of one source, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Of records that the application had.
    pub(super) runs: Runs,
    /// Of what it never had: gaps, and what can't be read. As long as the broker says, so never taken apart.
    pub(super) unseen: Runs,
    /// Numbers of commits.
    pub(super) commits: BTreeSet<u64>,
    /// Records that are to be given out again, once renewed.
    pub(super) renewing: Vec<SharePart>,
}

/// A commit whose acknowledgements have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Commit {
    pub(super) open: usize,
    pub(super) results: BTreeMap<TopicPartition, Result<(), Error>>,
}

impl Core {
    /// Says what becomes of a record.
    ///
    /// # Errors
    /// If the application has no such record, or nothing is to be said.
    pub fn acknowledge(&mut self, tp: &TopicPartition, offset: Offset, kind: AcknowledgeType) -> Result<(), Error> {
        if !self.settings.explicit {
            let sentence = "records are acknowledged one by one only with share.acknowledgement.mode=explicit";
            return Err(Error::Invalid(sentence.to_owned()));
        }
        let held = self.hand.iter_mut().filter(|(source, _)| source.tp == *tp);
        match held.filter_map(|(_, held)| held.records.get_mut(&offset)).next() {
            Some(said) => {
                *said = Some(kind);
                Ok(())
            }
            None => Err(Error::Invalid(format!(
                "{tp} at offset {offset} isn't a record of the last poll, or was sent already"
            ))),
        }
    }

    /// Moves what the application has settled out of its hand.
    pub(super) fn collect(&mut self, commit: Option<u64>) {
        let implicit = !self.settings.explicit;
        for (source, mut held) in std::mem::take(&mut self.hand) {
            let mut pending = Pending::default();
            let mut renewing = BTreeSet::new();
            held.records.retain(|offset, said| {
                let Some(kind) = said.or(implicit.then_some(AcknowledgeType::Accept)) else { return true };
                pending.runs.add(*offset, *offset, kind.code());
                if kind == AcknowledgeType::Renew {
                    renewing.insert(*offset);
                }
                false
            });
            if !renewing.is_empty() {
                pending.renewing = held.parts.iter().filter_map(|p| p.only(|o| renewing.contains(&o))).collect();
            }
            pending.commits.extend(commit);
            if !pending.runs.is_empty() {
                self.pend(source.clone(), pending);
            }
            if !held.records.is_empty() {
                self.hand.insert(source, held);
            }
        }
    }

    /// Puts acknowledgements with those that the source's node is told of next.
    pub(super) fn pend(&mut self, source: Source, more: Pending) {
        for commit in &more.commits {
            self.commits.entry(*commit).or_default().open += 1;
        }
        let node = self.nodes.entry(source.node).or_insert_with(Node::new);
        let pending = node.pending.entry(source).or_default();
        pending.runs.extend(more.runs);
        pending.unseen.extend(more.unseen);
        pending.renewing.extend(more.renewing);
        // Two entries of one commit have become one.
        for commit in more.commits {
            if !pending.commits.insert(commit)
                && let Some(c) = self.commits.get_mut(&commit)
            {
                c.open -= 1;
            }
        }
    }

    /// Settles what the application has said; the number by which to ask what became of it. `None` if there is nothing.
    pub fn commit(&mut self) -> Option<u64> {
        let number = self.next_commit;
        self.next_commit += 1;
        self.collect(Some(number));
        self.commits.contains_key(&number).then_some(number)
    }

    /// What became of a commit, if all of it is known.
    pub fn committed(&mut self, number: u64) -> Option<BTreeMap<TopicPartition, Result<(), Error>>> {
        match self.commits.get(&number) {
            Some(c) if c.open > 0 => None,
            _ => Some(self.commits.remove(&number).unwrap_or_default().results),
        }
    }

    /// Nobody waits for a commit any more.
    pub fn forget_commit(&mut self, number: u64) {
        self.commits.remove(&number);
    }

    /// Takes what became of acknowledgements, and tells those who wait for it.
    pub(super) fn settle(&mut self, source: Source, pending: Pending, result: Result<(), Error>) {
        for commit in pending.commits {
            if let Some(c) = self.commits.get_mut(&commit) {
                c.open -= 1;
                let r = c.results.entry(source.tp.clone()).or_insert(Ok(()));
                if r.is_ok() {
                    r.clone_from(&result);
                }
            }
        }
        if result.is_ok() {
            self.renewed.extend(pending.renewing.into_iter().map(|part| (source.clone(), Arc::new(part))));
        }
        if self.tells && !pending.runs.is_empty() {
            let offsets = pending.runs.offsets();
            self.settled.push(Acknowledged { topic_partition: source.tp, offsets, result });
        }
    }

    /// Whether records are on their way to be given out again: nothing else is, until they are back.
    pub(super) fn is_renewing(&self) -> bool {
        let under_way = |n: &Node| n.in_flight.iter().flatten().chain(&n.pending).any(|(_, p)| !p.renewing.is_empty());
        self.nodes.values().any(under_way)
    }
}

pub(super) fn runs(pending: &BTreeMap<Source, Pending>) -> BTreeMap<Id, Runs> {
    let all = |p: &Pending| {
        let mut runs = p.runs.clone();
        runs.extend(p.unseen.clone());
        runs
    };
    pending.iter().map(|(source, p)| (source.id(), all(p))).collect()
}

pub(super) fn source_of(under_way: &BTreeMap<Source, Pending>, id: Id) -> Option<Source> {
    under_way.keys().find(|source| source.id() == id).cloned()
}
