//! Incremental fetch sessions (KIP-227): a client names its partitions once, then only what changes;
//! the broker answers only with partitions that have something to say.
//!
//! | request's (session id, epoch) | meaning                                                      |
//! |-------------------------------|--------------------------------------------------------------|
//! | (0, -1)                       | sessionless                                                  |
//! | (id, -1)                      | close session `id`, then sessionless                         |
//! | (any, 0)                      | close session `id` if there is one; begin a new one           |
//! | (id, n)                       | the n-th incremental request of session `id`                  |
//!
//! See `org.apache.kafka.server.FetchSession` and `FetchContext`. A session belongs to whoever knows
//! its id; it must never answer for a partition that the session does not hold.

use std::collections::BTreeMap;
use std::time::Duration;

use logrun_model::{LeaderEpoch, Monotonic, NodeId, Offset, PartitionIndex, Str, TopicId};
use rustc_hash::FxHashMap;
use thiserror::Error;

/// The epoch of a request that begins a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request outside any session.
const FINAL_EPOCH: i32 = -1;

/// A partition as a fetch names it: by topic id from version 13 on, by name before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    pub topic_id: TopicId,
    /// Empty where the topic id names the topic.
    pub topic: Str,
    pub partition: PartitionIndex,
}

/// What a fetch wants of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    pub key: PartitionKey,
    pub fetch_offset: Offset,
    /// The fetcher's own log start offset; `NONE` for consumers.
    pub log_start_offset: Offset,
    /// At most this many bytes of records.
    pub max_bytes: i32,
    pub current_leader_epoch: LeaderEpoch,
    pub last_fetched_epoch: LeaderEpoch,
}

/// What an answer says of a partition, as far as it decides whether the partition is mentioned at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionState {
    pub has_records: bool,
    pub has_error: bool,
    /// A diverging epoch or a preferred read replica: must be said each time.
    pub has_advice: bool,
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
}

/// Why a session's request can't be served; the client begins a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SessionError {
    #[error("no fetch session with this id")]
    IdNotFound,
    #[error("the fetch session expects another epoch")]
    InvalidEpoch,
    #[error("the fetch session began with the other way of naming topics (id or name)")]
    TopicId,
}

/// The limits of the cache.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// `max.incremental.fetch.session.cache.slots`
    pub slots: usize,
    /// A session unused for this long may be evicted for another.
    pub min_eviction: Duration,
}

/// One fetch's place among the sessions.
#[derive(Clone, Debug, PartialEq)]
pub enum FetchContext {
    /// Answers with every partition; session id 0.
    Sessionless { partitions: Vec<FetchPartition> },
    /// Answers with every partition and begins a session if there is room.
    Full { partitions: Vec<FetchPartition>, by_id: bool, replica: Option<NodeId> },
    /// Answers with the partitions that have something to say.
    Incremental { session_id: i32, partitions: Vec<FetchPartition> },
}

impl FetchContext {
    /// What is to be fetched, in order.
    pub fn partitions(&self) -> &[FetchPartition] {
        match self {
            Self::Sessionless { partitions } | Self::Full { partitions, .. } | Self::Incremental { partitions, .. } => {
                partitions
            }
        }
    }
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    replica: Option<NodeId>,
    /// In the order in which they are served; one that returned records goes to the end, so that none starves.
    order: BTreeMap<u64, Cached>,
    place: FxHashMap<PartitionKey, u64>,
    next_place: u64,
    last_used: Monotonic,
    created: Monotonic,
}

#[derive(Debug)]
struct Cached {
    request: FetchPartition,
    /// What was last said; `None` after an error, so that the partition is mentioned again.
    said: Option<(Offset, Offset)>,
}

impl Session {
    fn set(&mut self, request: FetchPartition) {
        if let Some(cached) = self.place.get(&request.key).and_then(|p| self.order.get_mut(p)) {
            cached.request = request;
        } else {
            self.insert(Cached { request, said: None });
        }
    }

    fn insert(&mut self, cached: Cached) {
        self.place.insert(cached.request.key.clone(), self.next_place);
        self.order.insert(self.next_place, cached);
        self.next_place += 1;
    }

    fn remove(&mut self, key: &PartitionKey) -> Option<Cached> {
        self.place.remove(key).and_then(|p| self.order.remove(&p))
    }

    /// Whether `state` has something new; remembers that it is said.
    fn must_say(&mut self, key: &PartitionKey, state: &PartitionState) -> bool {
        let Some(cached) = self.place.get(key).and_then(|p| self.order.get_mut(p)) else { return false };
        let now = (state.high_watermark, state.log_start_offset);
        let must = state.has_records || state.has_error || state.has_advice || cached.said != Some(now);
        cached.said = (!state.has_error).then_some(now);
        if state.has_records
            && let Some(cached) = self.remove(key)
        {
            self.insert(cached);
        }
        must
    }
}

/// All incremental fetch sessions of a broker.
#[derive(Debug)]
pub struct FetchSessions {
    limits: SessionLimits,
    sessions: FxHashMap<i32, Session>,
}

impl FetchSessions {
    pub fn new(limits: SessionLimits) -> Self {
        Self { limits, sessions: FxHashMap::default() }
    }

    /// How many sessions are open.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Places a request: which partitions it fetches. `by_id` says how it names topics; `replica` is the
    /// follower that asks, if one does.
    pub fn begin(
        &mut self,
        now: Monotonic,
        (session_id, epoch): (i32, i32),
        requested: Vec<FetchPartition>,
        forgotten: &[PartitionKey],
        by_id: bool,
        replica: Option<NodeId>,
    ) -> Result<FetchContext, SessionError> {
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            if session_id != 0 {
                self.sessions.remove(&session_id);
            }
            return Ok(if epoch == FINAL_EPOCH {
                FetchContext::Sessionless { partitions: requested }
            } else {
                FetchContext::Full { partitions: requested, by_id, replica }
            });
        }
        let session = self.sessions.get_mut(&session_id).ok_or(SessionError::IdNotFound)?;
        if session.epoch != epoch {
            return Err(SessionError::InvalidEpoch);
        }
        if session.by_id != by_id {
            return Err(SessionError::TopicId);
        }
        for request in requested {
            session.set(request);
        }
        for key in forgotten {
            session.remove(key);
        }
        session.last_used = now;
        session.epoch = next_epoch(session.epoch);
        if session.order.is_empty() {
            // Nothing left to fetch: Kafka closes such a session.
            self.sessions.remove(&session_id);
            return Ok(FetchContext::Sessionless { partitions: Vec::new() });
        }
        Ok(FetchContext::Incremental {
            session_id,
            partitions: session.order.values().map(|c| c.request.clone()).collect(),
        })
    }

    /// Closes a request: which of its partitions are mentioned in the answer (`said[i]` for the i-th of
    /// `states`) and under which session id. `random` gives candidates for a new session's id.
    pub fn finish(
        &mut self,
        now: Monotonic,
        context: &FetchContext,
        states: &[(PartitionKey, PartitionState)],
        mut random: impl FnMut() -> u64,
    ) -> (i32, Vec<bool>) {
        match context {
            FetchContext::Sessionless { .. } => (0, vec![true; states.len()]),
            FetchContext::Full { partitions, by_id, replica } => {
                let everything = vec![true; states.len()];
                if partitions.is_empty() || !self.make_room(now, partitions.len(), replica.is_some()) {
                    return (0, everything);
                }
                let id = loop {
                    let candidate = (random() % (i32::MAX as u64 - 1)) as i32 + 1;
                    if !self.sessions.contains_key(&candidate) {
                        break candidate;
                    }
                };
                let mut session = Session {
                    epoch: 1,
                    by_id: *by_id,
                    replica: *replica,
                    order: BTreeMap::new(),
                    place: FxHashMap::default(),
                    next_place: 0,
                    last_used: now,
                    created: now,
                };
                for request in partitions {
                    session.set(request.clone());
                }
                for (key, state) in states {
                    session.must_say(key, state);
                }
                self.sessions.insert(id, session);
                (id, everything)
            }
            FetchContext::Incremental { session_id, .. } => match self.sessions.get_mut(session_id) {
                Some(session) => {
                    (*session_id, states.iter().map(|(key, state)| session.must_say(key, state)).collect())
                }
                // Evicted while the request waited: a full answer, and the client learns by its next request.
                None => (*session_id, vec![true; states.len()]),
            },
        }
    }

    /// Makes a slot free if the cache is full: an idle session goes first, then one that holds less than `size` partitions
    /// and has lived its minimum. A follower's session is never evicted for a consumer's.
    fn make_room(&mut self, now: Monotonic, size: usize, privileged: bool) -> bool {
        if self.limits.slots == 0 {
            return false;
        }
        if self.sessions.len() < self.limits.slots {
            return true;
        }
        let evictable = |s: &Session| privileged || s.replica.is_none();
        let idle = self
            .sessions
            .iter()
            .filter(|(_, s)| evictable(s) && now.since(s.last_used) > self.limits.min_eviction)
            .min_by_key(|(id, s)| (s.last_used, **id));
        let victim = idle.or_else(|| {
            self.sessions
                .iter()
                .filter(|(_, s)| {
                    let weaker = privileged && s.replica.is_none();
                    evictable(s)
                        && (weaker || (s.order.len() < size && now.since(s.created) > self.limits.min_eviction))
                })
                .min_by_key(|(id, s)| (s.replica.is_some(), s.order.len(), s.created, **id))
        });
        match victim.map(|(id, _)| *id) {
            Some(id) => self.sessions.remove(&id).is_some(),
            None => false,
        }
    }
}

/// Epochs count from 1 and wrap to 1: 0 begins a session.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> PartitionKey {
        PartitionKey { topic_id: TopicId::ONE, topic: Str::EMPTY, partition }
    }

    fn want(partition: i32, offset: i64) -> FetchPartition {
        FetchPartition {
            key: key(partition),
            fetch_offset: Offset(offset),
            log_start_offset: Offset::NONE,
            max_bytes: 100,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
        }
    }

    fn quiet(hw: i64) -> PartitionState {
        PartitionState {
            has_records: false,
            has_error: false,
            has_advice: false,
            high_watermark: Offset(hw),
            log_start_offset: Offset(0),
        }
    }

    fn cache(slots: usize) -> FetchSessions {
        FetchSessions::new(SessionLimits { slots, min_eviction: Duration::from_secs(120) })
    }

    fn open(c: &mut FetchSessions, now: Monotonic, partitions: &[i32]) -> i32 {
        let wants = partitions.iter().map(|p| want(*p, 0)).collect();
        let ctx = c.begin(now, (0, 0), wants, &[], true, None).unwrap();
        let states: Vec<_> = partitions.iter().map(|p| (key(*p), quiet(5))).collect();
        let mut n = now.as_ms() as u64 + 41;
        let (id, said) = c.finish(now, &ctx, &states, || {
            n += 1;
            n
        });
        assert!(said.iter().all(|s| *s));
        id
    }

    #[test]
    fn an_incremental_answer_mentions_only_what_changed() {
        let mut c = cache(10);
        let id = open(&mut c, Monotonic::default(), &[0, 1, 2]);
        assert_ne!(id, 0);
        let ctx = c.begin(Monotonic::default(), (id, 1), vec![want(1, 7)], &[key(2)], true, None).unwrap();
        assert_eq!(ctx.partitions().iter().map(|p| p.fetch_offset.0).collect::<Vec<_>>(), [0, 7]);
        let states = [(key(0), quiet(5)), (key(1), quiet(6))];
        assert_eq!(c.finish(Monotonic::default(), &ctx, &states, || 0), (id, vec![false, true]));
        // An error is said again until it has gone, and so is the first answer behind it.
        let failing = PartitionState { has_error: true, ..quiet(5) };
        for (epoch, state, said) in [(2, failing, true), (3, failing, true), (4, quiet(5), true), (5, quiet(5), false)]
        {
            let ctx = c.begin(Monotonic::default(), (id, epoch), vec![], &[], true, None).unwrap();
            assert_eq!(c.finish(Monotonic::default(), &ctx, &[(key(0), state)], || 0).1, [said], "epoch {epoch}");
        }
    }

    #[test]
    fn partitions_with_records_go_to_the_end() {
        let mut c = cache(10);
        let id = open(&mut c, Monotonic::default(), &[0, 1]);
        let ctx = c.begin(Monotonic::default(), (id, 1), vec![], &[], true, None).unwrap();
        let full = PartitionState { has_records: true, ..quiet(5) };
        c.finish(Monotonic::default(), &ctx, &[(key(0), full), (key(1), quiet(5))], || 0);
        let ctx = c.begin(Monotonic::default(), (id, 2), vec![], &[], true, None).unwrap();
        assert_eq!(ctx.partitions().iter().map(|p| p.key.partition).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn wrong_ids_epochs_and_ways_of_naming_are_refused() {
        let mut c = cache(10);
        let id = open(&mut c, Monotonic::default(), &[0]);
        let now = Monotonic::default();
        assert_eq!(c.begin(now, (id + 1, 1), vec![], &[], true, None), Err(SessionError::IdNotFound));
        assert_eq!(c.begin(now, (id, 2), vec![], &[], true, None), Err(SessionError::InvalidEpoch));
        assert_eq!(c.begin(now, (id, 1), vec![], &[], false, None), Err(SessionError::TopicId));
        // Forgetting the last partition closes the session.
        assert!(c.begin(now, (id, 1), vec![], &[key(0)], true, None).unwrap().partitions().is_empty());
        assert!(c.is_empty());
    }

    #[test]
    fn a_full_cache_evicts_the_idle_first() {
        let mut c = cache(2);
        let a = open(&mut c, Monotonic::default().plus_ms(1), &[0]);
        let b = open(&mut c, Monotonic::default().plus_ms(2), &[0]);
        assert_eq!(open(&mut c, Monotonic::default().plus_ms(3), &[0]), 0, "no room");
        let late = Monotonic::default().plus_ms(130_000);
        c.begin(late, (a, 1), vec![], &[], true, None).unwrap();
        assert_ne!(open(&mut c, late, &[0]), 0);
        assert!(c.begin(late, (b, 1), vec![], &[], true, None).is_err(), "b was idle");
    }
}
