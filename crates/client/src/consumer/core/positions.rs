//! The half of [`Core`] that knows where each partition is read from: it asks for committed offsets, for offsets by the
//! reset policy and for the ends of epochs (KIP-320), and takes the answers, unless somebody has sought meanwhile.

use std::collections::BTreeMap;

use logrun_config::OffsetReset;
use logrun_model::{LeaderEpoch, Monotonic, Now, TimestampMs, TopicPartition};
use logrun_wire::ErrorCode;

use super::{Core, Work};
use crate::consumer::offsets::{EARLIEST, LATEST, OffsetAndMetadata, OffsetAndTimestamp};
use crate::consumer::subscription::{Place, Position};
use crate::error::Error;

impl Core {
    /// Asks for positions that are not known, and for those that are in doubt.
    pub(super) fn find_positions(&mut self, now: Now) {
        let (mut unknown, mut list, mut doubtful) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let has_group = self.settings.group_id.is_some();
        let mut lost = Vec::new();
        for (tp, p) in self.subscription.iter_mut() {
            // A place is found while the application is being told of the partition: it may seek instead.
            match &mut p.place {
                Place::Unknown if has_group => {
                    p.place = Place::Asked;
                    unknown.push(tp.clone());
                }
                Place::Unknown => lost.push(tp.clone()),
                Place::Reset { policy, not_before, asked } if !*asked && *not_before <= now.monotonic => {
                    if self.cluster.leader(&tp.topic, tp.partition).is_none() {
                        self.missing_leader = true;
                        continue;
                    }
                    *asked = true;
                    let time = match policy {
                        OffsetReset::Earliest => EARLIEST,
                        OffsetReset::Latest => LATEST,
                        OffsetReset::ByDuration(ms) => TimestampMs(now.wall.get().saturating_sub(*ms).max(0)),
                    };
                    list.insert(tp.clone(), time);
                }
                Place::Unvalidated { not_before, asked } if !*asked && *not_before <= now.monotonic => {
                    *asked = true;
                    doubtful.insert(tp.clone(), p.position);
                }
                _ => {}
            }
        }
        for tp in lost {
            self.reset_or_fail(&tp);
        }
        if !unknown.is_empty() {
            self.work.push(Work::Committed(unknown));
        }
        if !list.is_empty() {
            let life = |tp: &TopicPartition| Some((tp.clone(), self.subscription.get(tp)?.incarnation));
            let lives = list.keys().filter_map(life).collect();
            self.work.push(Work::List(lives, list));
        }
        if !doubtful.is_empty() {
            self.work.push(Work::Validate(doubtful));
        }
    }

    /// Begins by the policy; without one the application's next poll fails.
    fn reset_or_fail(&mut self, tp: &TopicPartition) {
        if !self.subscription.reset(tp, None)
            && let Some(p) = self.subscription.get_mut(tp)
        {
            p.place = Place::Missing;
        }
    }

    /// Takes committed offsets. Where there is none, the policy says where to begin.
    pub(super) fn committed(
        &mut self,
        asked: Vec<TopicPartition>,
        result: Result<BTreeMap<TopicPartition, OffsetAndMetadata>, Error>,
    ) {
        let mut found = match result {
            Ok(found) => found,
            Err(e) => {
                for tp in &asked {
                    if let Some(p) = self.subscription.get_mut(tp)
                        && p.place == Place::Asked
                    {
                        p.place = Place::Unknown;
                    }
                }
                // A member whose epoch has moved on asks again with the new one.
                let moved = matches!(e.code(), Some(ErrorCode::StaleMemberEpoch | ErrorCode::UnknownMemberId));
                if !e.is_retriable() && !moved {
                    self.errors.push_back(e);
                }
                return;
            }
        };
        for tp in asked {
            if self.subscription.get(&tp).is_none_or(|p| p.place != Place::Asked) {
                continue;
            }
            match found.remove(&tp) {
                Some(o) => {
                    self.subscription.seek(&tp, Position { offset: o.offset, epoch: o.leader_epoch });
                    self.leader_seen(&tp);
                }
                None => self.reset_or_fail(&tp),
            }
        }
    }

    /// A position of an older epoch than the leader's is in doubt.
    pub(super) fn leader_seen(&mut self, tp: &TopicPartition) {
        if let Some(p) = self.cluster.partition(&tp.topic, tp.partition) {
            self.subscription.leader_seen(tp, LeaderEpoch(p.leader_epoch));
        }
    }

    /// Takes offsets that were found by the policy.
    pub(super) fn listed(
        &mut self,
        now: Monotonic,
        lives: &BTreeMap<TopicPartition, u64>,
        results: BTreeMap<TopicPartition, Result<OffsetAndTimestamp, Error>>,
    ) {
        for (tp, result) in results {
            let Some(p) = self.subscription.get_mut(&tp) else { continue };
            // Meanwhile somebody may want another place.
            if lives.get(&tp) != Some(&p.incarnation) {
                continue;
            }
            let Place::Reset { policy, not_before, asked } = &mut p.place else { continue };
            match result {
                Ok(o) if o.offset.is_some() => {
                    self.subscription.seek(&tp, Position { offset: o.offset, epoch: o.leader_epoch });
                    self.leader_seen(&tp);
                }
                // Nothing is as young as that: then only what comes now.
                Ok(_) => {
                    *policy = OffsetReset::Latest;
                    *asked = false;
                }
                Err(e) => {
                    *asked = false;
                    *not_before = now.plus(self.client.backoff(0));
                    if e.is_retriable() || e.is_invalid_metadata() {
                        self.work.push(Work::UpdateMetadata);
                    } else {
                        self.errors.push_back(e);
                    }
                }
            }
        }
    }

    /// Takes the ends of the epochs of positions that were in doubt.
    pub(super) fn validated(
        &mut self,
        now: Monotonic,
        asked: &BTreeMap<TopicPartition, Position>,
        results: BTreeMap<TopicPartition, Result<Position, Error>>,
    ) {
        for (tp, result) in results {
            let Some(p) = self.subscription.get_mut(&tp) else { continue };
            let Place::Unvalidated { not_before, asked: is_asked } = &mut p.place else { continue };
            if asked.get(&tp) != Some(&p.position) {
                *is_asked = false;
                continue;
            }
            let end = match result {
                Ok(end) => end,
                Err(e) => {
                    *is_asked = false;
                    *not_before = now.plus(self.client.backoff(0));
                    match e {
                        // A broker that can't be asked can't contradict.
                        Error::Unsupported { .. } => p.place = Place::Valid,
                        e if e.is_retriable() || e.is_invalid_metadata() => self.work.push(Work::UpdateMetadata),
                        e => self.errors.push_back(e),
                    }
                    continue;
                }
            };
            let position = p.position;
            if end.offset.is_some() && end.offset >= position.offset {
                p.place = Place::Valid;
                continue;
            }
            // The log was cut off before the position: a new leader did not have it all.
            let sentence = format!(
                "{tp} was truncated: the position {} of epoch {} is gone, the log of that epoch ends at {}",
                position.offset, position.epoch, end.offset
            );
            if self.subscription.reset(&tp, None) {
                tracing::warn!("{sentence}");
                if end.offset.is_some() {
                    self.subscription.seek(&tp, end);
                }
            } else {
                self.errors.push_back(Error::NoPosition(sentence));
                self.subscription.seek(&tp, Position { offset: position.offset, epoch: LeaderEpoch::NONE });
            }
        }
    }
}
