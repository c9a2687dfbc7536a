//! The partitions of this broker: one entry for each replica it holds, found by topic id.
//!
//! Kafka's counterpart is `ReplicaManager`. Partitions come and go by metadata (see [`crate::publish`]), never by
//! request; they are opened by their first use (see [`crate::opening`]). What is done to an entry here takes no time:
//! whoever opens or closes a log marks it as busy and does so outside of the lock.

mod compaction;
mod describe;
mod moving;
mod partition;
mod promises;
mod read;
mod rest;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use logrun_model::TopicIdPartition;
use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::oneshot;

pub use partition::{Acks, AppendRequest, Appended, Partition};
pub use read::{FetchRead, Fetcher, FoundOffset, OffsetQuestion, PlannedRead, ReadRecords};
pub use rest::AtRest;
pub use settings::Settings;

/// A partition as it is held.
#[derive(Debug)]
pub enum Hosted {
    /// Its log is open.
    Online(Arc<Partition>),
    /// Its log is not open.
    Closed(AtRest),
    /// Its log is being opened or closed.
    Busy(Box<Busy>),
    /// Its log can't be used: the directory failed.
    Offline(Box<(PathBuf, AtRest)>),
}

/// A log that somebody is opening or closing.
#[derive(Debug)]
pub struct Busy {
    rest: AtRest,
    /// The metadata has changed since: whoever opens the log looks at it again.
    changed: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

/// What whoever wants a partition has to do.
#[derive(Debug)]
pub enum Wanted {
    Online(Arc<Partition>),
    /// Open it and call [`Partitions::opened`]: nobody else does.
    Open(AtRest),
    /// Wait, and ask again.
    Wait(oneshot::Receiver<()>),
    Offline(PathBuf),
    Absent,
}

/// What is known of a partition, whether it is open or not.
#[derive(Clone, Debug)]
pub enum Known {
    Online(Arc<Partition>),
    AtRest(AtRest),
}

/// All partitions that this broker holds.
#[derive(Debug, Default)]
pub struct Partitions {
    map: RwLock<BTreeMap<TopicIdPartition, Hosted>>,
    /// How many are closed: nobody need look for what is to be opened while there are none.
    closed: AtomicUsize,
    /// Counts the changes of what is not open, for the checkpoints.
    changes: AtomicU64,
}

impl Partitions {
    /// The partition with this id, if its log is open.
    pub fn online(&self, id: TopicIdPartition) -> Option<Arc<Partition>> {
        match self.map.read().get(&id) {
            Some(Hosted::Online(p)) => Some(p.clone()),
            _ => None,
        }
    }

    /// All partitions whose logs are open, by id.
    pub fn all_online(&self) -> Vec<Arc<Partition>> {
        let map = self.map.read();
        map.values().filter_map(|h| if let Hosted::Online(p) = h { Some(p.clone()) } else { None }).collect()
    }

    /// All partitions, by id.
    pub fn all(&self) -> Vec<(TopicIdPartition, Known)> {
        let known = |h: &Hosted| match h {
            Hosted::Online(p) => Known::Online(p.clone()),
            Hosted::Closed(rest) => Known::AtRest(*rest),
            Hosted::Offline(offline) => Known::AtRest(offline.1),
            Hosted::Busy(busy) => Known::AtRest(busy.rest),
        };
        self.map.read().iter().map(|(id, h)| (*id, known(h))).collect()
    }

    /// Those of `ids` whose logs would have to be opened.
    pub fn closed_among(&self, ids: impl Iterator<Item = TopicIdPartition>) -> Vec<TopicIdPartition> {
        if self.closed.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let map = self.map.read();
        ids.filter(|id| matches!(map.get(id), Some(Hosted::Closed(_)))).collect()
    }

    /// The closed partitions that `wanted` picks, by id.
    pub fn closed_where(&self, wanted: impl Fn(&AtRest) -> bool) -> Vec<TopicIdPartition> {
        let map = self.map.read();
        let picked = map.iter().filter(|(_, h)| matches!(h, Hosted::Closed(rest) if wanted(rest)));
        picked.map(|(id, _)| *id).collect()
    }

    /// Changes whenever something begins or ceases to be open, or changes while it is not.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// A partition that is new here.
    pub fn insert(&self, id: TopicIdPartition, hosted: Hosted) {
        self.put(&mut self.map.write(), id, Some(hosted));
    }

    /// The partition is wanted: whoever is told to open it must.
    pub fn want(&self, id: TopicIdPartition) -> Wanted {
        let mut map = self.map.write();
        let rest = match map.get_mut(&id) {
            Some(Hosted::Online(p)) => return Wanted::Online(p.clone()),
            Some(Hosted::Busy(busy)) => return Wanted::Wait(busy.wait()),
            Some(Hosted::Offline(offline)) => return Wanted::Offline(offline.0.clone()),
            Some(Hosted::Closed(rest)) => *rest,
            None => return Wanted::Absent,
        };
        self.put(&mut map, id, Some(Busy::hosted(rest)));
        Wanted::Open(rest)
    }

    /// Whoever was told to open the partition has. False if the metadata has changed in the meantime: then they look
    /// at it again and call again.
    pub fn opened(&self, id: TopicIdPartition, partition: &Arc<Partition>) -> bool {
        let mut map = self.map.write();
        if let Some(Hosted::Busy(busy)) = map.get_mut(&id)
            && std::mem::take(&mut busy.changed)
        {
            return false;
        }
        self.put(&mut map, id, Some(Hosted::Online(partition.clone())));
        true
    }

    /// Whoever was told to open or close the partition has come to another end.
    pub fn settled(&self, id: TopicIdPartition, mut hosted: Hosted) {
        let mut map = self.map.write();
        if let (Hosted::Closed(rest), Some(Hosted::Busy(busy))) = (&mut hosted, map.get(&id))
            && busy.changed
        {
            rest.settings_changed();
        }
        self.put(&mut map, id, Some(hosted));
    }

    /// Takes the partition out, to be closed, if nobody else holds it, nobody has used it since `unused_since_ms`, and
    /// nothing is under way in it. The caller puts back what becomes of it by [`Self::settled`].
    pub fn take_to_rest(&self, id: TopicIdPartition, unused_since_ms: i64) -> Option<Partition> {
        let mut map = self.map.write();
        let rest = match map.get(&id) {
            // Under the lock nobody can get hold of it.
            Some(Hosted::Online(p))
                if Arc::strong_count(p) == 1 && p.last_used_ms() <= unused_since_ms && p.may_rest() =>
            {
                p.at_rest()
            }
            _ => return None,
        };
        match self.put(&mut map, id, Some(Busy::hosted(rest))) {
            Some(Hosted::Online(p)) => Arc::into_inner(p),
            _ => None,
        }
    }

    /// The metadata says something new of the partition. An open one is to be told; one that is being opened is told
    /// by whoever opens it; a closed one is when it is opened.
    pub fn changed(&self, id: TopicIdPartition) -> Changed {
        let mut map = self.map.write();
        match map.get_mut(&id) {
            Some(Hosted::Online(p)) => Changed::Online(p.clone()),
            Some(Hosted::Busy(busy)) => {
                busy.changed = true;
                Changed::Later
            }
            Some(Hosted::Closed(rest)) => {
                rest.settings_changed();
                Changed::Closed
            }
            Some(Hosted::Offline(_)) => Changed::Later,
            None => Changed::Absent,
        }
    }

    /// The directory of a closed partition has failed.
    pub fn rest_offline(&self, id: TopicIdPartition, dir: &Path, rest: AtRest) {
        let mut map = self.map.write();
        if matches!(map.get(&id), Some(Hosted::Closed(_))) {
            self.put(&mut map, id, Some(Hosted::Offline(Box::new((dir.to_path_buf(), rest)))));
        }
    }

    /// Whether there is such a partition here, in whatever state.
    pub fn holds(&self, id: TopicIdPartition) -> bool {
        self.map.read().contains_key(&id)
    }

    /// Compaction has nothing to do in a closed partition.
    pub fn needs_no_compaction(&self, id: TopicIdPartition) {
        if let Some(Hosted::Closed(rest)) = self.map.write().get_mut(&id) {
            rest.compacted = true;
        }
    }

    /// What a closed one takes on the disk.
    pub fn measured(&self, id: TopicIdPartition, size: u64) {
        if let Some(Hosted::Closed(rest)) = self.map.write().get_mut(&id) {
            rest.size = Some(size);
        }
    }

    /// Takes the partition out for good. One that is being opened or closed can't be taken: wait, and ask again.
    pub fn remove(&self, id: TopicIdPartition) -> Result<Option<Hosted>, oneshot::Receiver<()>> {
        let mut map = self.map.write();
        if let Some(Hosted::Busy(busy)) = map.get_mut(&id) {
            return Err(busy.wait());
        }
        Ok(self.put(&mut map, id, None))
    }

    /// The only place that changes what an entry is.
    fn put(
        &self,
        map: &mut RwLockWriteGuard<'_, BTreeMap<TopicIdPartition, Hosted>>,
        id: TopicIdPartition,
        hosted: Option<Hosted>,
    ) -> Option<Hosted> {
        if matches!(hosted, Some(Hosted::Closed(_))) {
            self.closed.fetch_add(1, Ordering::Relaxed);
        }
        let mut old = match hosted {
            Some(hosted) => map.insert(id, hosted),
            None => map.remove(&id),
        };
        match &mut old {
            Some(Hosted::Closed(_)) => {
                self.closed.fetch_sub(1, Ordering::Relaxed);
            }
            Some(Hosted::Busy(busy)) => {
                // A receiver that has gone no longer waits.
                for waiting in busy.waiting.drain(..) {
                    let _ = waiting.send(());
                }
            }
            _ => {}
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
        old
    }
}

/// What the metadata's news mean for a partition.
#[derive(Debug)]
pub enum Changed {
    Online(Arc<Partition>),
    Closed,
    /// Whoever is at work on it will see it.
    Later,
    Absent,
}

impl Busy {
    fn hosted(rest: AtRest) -> Hosted {
        Hosted::Busy(Box::new(Self { rest, changed: false, waiting: Vec::new() }))
    }

    fn wait(&mut self) -> oneshot::Receiver<()> {
        let (tx, rx) = oneshot::channel();
        self.waiting.push(tx);
        rx
    }
}
