//! Fetch sessions as the client keeps them, one for each broker (KIP-227): only what changes is sent again. Kafka's
//! `FetchSessionHandler`.
//!
//! Reactive without timers: [`Session::next`] makes the next request's part from what is to be fetched,
//! [`Session::answered`] takes what came back. It never looks at records.

use std::collections::BTreeMap;

use logrun_model::{LeaderEpoch, Offset, Str, TopicPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::FetchRequest;
use logrun_wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};

/// The epoch of a request that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request outside any session, which also ends the one it names.
const FINAL_EPOCH: i32 = -1;

/// What is asked of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The life of the position that it is asked for.
    pub incarnation: u64,
    /// Zero if it is not known: the request then goes by names.
    pub topic_id: Uuid,
    pub offset: Offset,
    pub max_bytes: i32,
    pub leader_epoch: LeaderEpoch,
}

/// The session with one broker.
#[derive(Debug)]
pub(crate) struct Session {
    id: i32,
    epoch: i32,
    /// What the broker has been told.
    told: BTreeMap<TopicPartition, Wanted>,
}

impl Session {
    pub fn new() -> Self {
        Self { id: 0, epoch: INITIAL_EPOCH, told: BTreeMap::new() }
    }

    /// Fills the session's part of a request: everything if a session is opened, else the difference.
    pub fn next(&mut self, wanted: &BTreeMap<TopicPartition, Wanted>, request: &mut FetchRequest) {
        request.session_id = self.id;
        request.session_epoch = self.epoch;
        let full = self.epoch == INITIAL_EPOCH || self.epoch == FINAL_EPOCH;
        let mut topics = Topics::default();
        for (tp, w) in wanted {
            if full || self.told.get(tp) != Some(w) {
                topics.add(tp, w);
            }
        }
        request.topics = topics.0;
        if !full {
            let mut forgotten: Vec<ForgottenTopic> = Vec::new();
            // A topic that was made anew is another one: the old id is forgotten.
            let gone = self.told.iter().filter(|(tp, t)| wanted.get(*tp).is_none_or(|w| w.topic_id != t.topic_id));
            for (tp, told) in gone {
                match forgotten.last_mut() {
                    Some(t) if t.topic == tp.topic && t.topic_id == told.topic_id => t.partitions.push(tp.partition),
                    _ => forgotten.push(ForgottenTopic {
                        topic: tp.topic.clone(),
                        topic_id: told.topic_id,
                        partitions: vec![tp.partition],
                        ..Default::default()
                    }),
                }
            }
            request.forgotten_topics_data = forgotten;
        }
        self.told.clone_from(wanted);
    }

    /// What was asked last of this partition.
    pub fn asked(&self, tp: &TopicPartition) -> Option<&Wanted> {
        self.told.get(tp)
    }

    /// The names of the topics that were asked for last, by id: a response may have nothing but ids.
    pub fn names(&self) -> BTreeMap<Uuid, Str> {
        self.told.iter().map(|(tp, w)| (w.topic_id, tp.topic.clone())).collect()
    }

    /// Takes the session's part of a response. False if it is of no use because the session is unknown to the broker;
    /// the next request then opens another.
    pub fn answered(&mut self, error: ErrorCode, session_id: i32) -> bool {
        match error {
            ErrorCode::None => {
                if session_id == 0 {
                    // The broker keeps no session for us.
                    self.id = 0;
                    self.epoch = INITIAL_EPOCH;
                } else if self.id != session_id {
                    self.id = session_id;
                    self.epoch = 1;
                } else {
                    self.epoch = self.epoch.checked_add(1).unwrap_or(1);
                }
                true
            }
            ErrorCode::FetchSessionIdNotFound => {
                *self = Self::new();
                false
            }
            _ => {
                self.failed();
                false
            }
        }
    }

    /// The request's fate is not known, or it was refused: the session, if it is still there, is replaced.
    pub fn failed(&mut self) {
        self.epoch = INITIAL_EPOCH;
        self.told.clear();
    }

    /// A request that ends the session, if there is one.
    pub fn close(&mut self) -> Option<FetchRequest> {
        let id = std::mem::take(&mut self.id);
        self.epoch = INITIAL_EPOCH;
        self.told.clear();
        (id != 0).then(|| FetchRequest { session_id: id, session_epoch: FINAL_EPOCH, ..Default::default() })
    }
}

/// Partitions grouped by topic, in order.
#[derive(Default)]
struct Topics(Vec<FetchTopic>);

impl Topics {
    fn add(&mut self, tp: &TopicPartition, w: &Wanted) {
        let partition = FetchPartition {
            partition: tp.partition,
            current_leader_epoch: w.leader_epoch.get(),
            fetch_offset: w.offset.get(),
            partition_max_bytes: w.max_bytes,
            ..Default::default()
        };
        match self.0.last_mut() {
            Some(t) if t.topic == tp.topic => t.partitions.push(partition),
            _ => self.0.push(FetchTopic {
                topic: tp.topic.clone(),
                topic_id: w.topic_id,
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(list: &[(i32, i64)]) -> BTreeMap<TopicPartition, Wanted> {
        let w = |offset| Wanted {
            incarnation: 1,
            topic_id: Uuid::ZERO,
            offset: Offset(offset),
            max_bytes: 10,
            leader_epoch: LeaderEpoch(1),
        };
        list.iter().map(|(p, o)| (TopicPartition::new("t", *p), w(*o))).collect()
    }

    fn sent(s: &mut Session, list: &[(i32, i64)]) -> (i32, i32, Vec<i32>, Vec<i32>) {
        let mut r = FetchRequest::default();
        s.next(&wanted(list), &mut r);
        let added = r.topics.iter().flat_map(|t| t.partitions.iter().map(|p| p.partition)).collect();
        let gone = r.forgotten_topics_data.iter().flat_map(|t| t.partitions.clone()).collect();
        (r.session_id, r.session_epoch, added, gone)
    }

    #[test]
    fn only_the_difference_is_sent() {
        let mut s = Session::new();
        assert_eq!(sent(&mut s, &[(0, 0), (1, 0)]), (0, 0, vec![0, 1], vec![]));
        assert!(s.answered(ErrorCode::None, 77));
        assert_eq!(sent(&mut s, &[(0, 5), (1, 0)]), (77, 1, vec![0], vec![]));
        assert!(s.answered(ErrorCode::None, 77));
        assert_eq!(sent(&mut s, &[(1, 0), (2, 0)]), (77, 2, vec![2], vec![0]));
        // A lost response: the whole again, in place of the session.
        s.failed();
        assert_eq!(sent(&mut s, &[(1, 0)]), (77, 0, vec![1], vec![]));
        assert!(s.answered(ErrorCode::None, 78));
        assert_eq!(sent(&mut s, &[(1, 0)]), (78, 1, vec![], vec![]));
    }

    #[test]
    fn an_unknown_session_is_opened_anew() {
        let mut s = Session::new();
        sent(&mut s, &[(0, 0)]);
        s.answered(ErrorCode::None, 5);
        sent(&mut s, &[(0, 0)]);
        assert!(!s.answered(ErrorCode::FetchSessionIdNotFound, 0));
        assert_eq!(sent(&mut s, &[(0, 0)]), (0, 0, vec![0], vec![]));
        // A broker whose sessions are all taken answers with none.
        assert!(s.answered(ErrorCode::None, 0));
        assert_eq!(sent(&mut s, &[(0, 0)]), (0, 0, vec![0], vec![]));
        assert!(s.close().is_none());
    }
}
