//! Records of several partitions in the order of their time, without reading any of them whole.
//!
//! The earliest of the partitions' first records is next, once every partition that may still have an earlier one has
//! shown its first record. Within a partition the order stays that of the offsets, whatever the times say. A partition
//! that is read to where its end was at the beginning holds nobody up any more.

use std::collections::{BTreeMap, VecDeque};

use logrun_client::TopicPartition;
use logrun_client::consumer::OwnedRecord;

/// A partition with more records than this in hand is paused, so that the others catch up.
const QUEUE_MAX: usize = 2000;
/// With fewer than this it goes on.
const QUEUE_LOW: usize = 500;

#[derive(Debug)]
struct Lane {
    queue: VecDeque<OwnedRecord>,
    /// Where it ended when reading began.
    end: i64,
    /// Whether what lies behind that end is wanted as well.
    follow: bool,
    /// The offset behind what has come.
    position: i64,
    paused: bool,
}

impl Lane {
    fn is_behind(&self) -> bool {
        self.position < self.end
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Merge {
    lanes: BTreeMap<TopicPartition, Lane>,
}

/// What to tell the consumer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pace {
    pub pause: Vec<TopicPartition>,
    pub resume: Vec<TopicPartition>,
}

impl Merge {
    /// Adds a partition that is read from `start` to `end` (exclusive), and on if `follow`.
    pub fn add(&mut self, tp: TopicPartition, start: i64, end: i64, follow: bool) {
        let lane = Lane { queue: VecDeque::new(), end, follow, position: start, paused: false };
        self.lanes.insert(tp, lane);
    }

    /// How many offsets are to be read still, of partitions that end.
    pub fn left(&self) -> u64 {
        let ends = self.lanes.values().filter(|lane| !lane.follow);
        ends.map(|lane| u64::try_from(lane.end - lane.position).unwrap_or(0)).sum()
    }

    /// Takes a record, unless it lies behind what is wanted.
    pub fn push(&mut self, record: OwnedRecord) {
        let Some(lane) = self.lanes.get_mut(&record.topic_partition) else { return };
        let offset = record.offset.get();
        lane.position = lane.position.max(offset.saturating_add(1));
        if lane.follow || offset < lane.end {
            lane.queue.push_back(record);
        }
    }

    /// Everything of the partition before `position` has come, though the last of it were no records.
    pub fn reached(&mut self, tp: &TopicPartition, position: i64) {
        if let Some(lane) = self.lanes.get_mut(tp) {
            lane.position = lane.position.max(position);
        }
    }

    /// The partitions that are not at the end that they had.
    pub fn behind(&self) -> impl Iterator<Item = &TopicPartition> {
        self.lanes.iter().filter(|(_, lane)| lane.is_behind()).map(|(tp, _)| tp)
    }

    /// Whether nothing is to come.
    pub fn is_over(&self) -> bool {
        self.lanes.values().all(|lane| !lane.follow && !lane.is_behind() && lane.queue.is_empty())
    }

    /// The next record; none until more has come.
    pub fn pop(&mut self) -> Option<OwnedRecord> {
        let mut next: Option<(i64, &TopicPartition)> = None;
        for (tp, lane) in &self.lanes {
            match lane.queue.front() {
                Some(record) => {
                    let time = record.timestamp.get();
                    if next.is_none_or(|(earliest, _)| time < earliest) {
                        next = Some((time, tp));
                    }
                }
                None if lane.is_behind() => return None,
                None => {}
            }
        }
        let tp = next?.1.clone();
        self.lanes.get_mut(&tp)?.queue.pop_front()
    }

    /// Who is to wait for the others, and who may go on.
    pub fn pace(&mut self) -> Pace {
        let mut pace = Pace::default();
        for (tp, lane) in &mut self.lanes {
            let is_full = lane.queue.len() > QUEUE_MAX;
            if is_full && !lane.paused {
                lane.paused = true;
                pace.pause.push(tp.clone());
            } else if lane.paused && lane.queue.len() < QUEUE_LOW {
                lane.paused = false;
                pace.resume.push(tp.clone());
            }
        }
        pace
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::record;
    use super::*;

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new("orders", partition)
    }

    fn put(merge: &mut Merge, partition: i32, offset: i64, time: i64) {
        merge.push(record(partition, offset, time, None, None));
    }

    fn drain(merge: &mut Merge) -> Vec<(i32, i64)> {
        std::iter::from_fn(|| merge.pop()).map(|r| (r.topic_partition.partition, r.offset.get())).collect()
    }

    #[test]
    fn in_order_of_time_and_never_too_early() {
        let mut merge = Merge::default();
        merge.add(tp(0), 0, 2, false);
        merge.add(tp(1), 5, 7, false);
        put(&mut merge, 0, 0, 100);
        put(&mut merge, 0, 1, 300);
        assert_eq!(drain(&mut merge), [], "partition 1 may have an earlier one");
        put(&mut merge, 1, 5, 200);
        assert_eq!(drain(&mut merge), [(0, 0), (1, 5)], "and may again");
        assert!(!merge.is_over());
        put(&mut merge, 1, 6, 50);
        assert_eq!(drain(&mut merge), [(1, 6), (0, 1)]);
        assert!(merge.is_over());
    }

    #[test]
    fn an_end_without_a_record_is_an_end() {
        let mut merge = Merge::default();
        merge.add(tp(0), 0, 3, false);
        merge.add(tp(1), 0, 0, false);
        put(&mut merge, 0, 0, 1);
        put(&mut merge, 0, 3, 2);
        assert_eq!(drain(&mut merge), [(0, 0)], "what came later than the beginning is left out");
        assert!(merge.is_over());
        merge.add(tp(0), 0, 3, false);
        assert_eq!(merge.behind().collect::<Vec<_>>(), [&tp(0)]);
        merge.reached(&tp(0), 3);
        assert!(merge.is_over());
    }

    #[test]
    fn following_never_ends_and_waits_for_nobody() {
        let mut merge = Merge::default();
        merge.add(tp(0), 4, 4, true);
        merge.add(tp(1), 0, 0, true);
        put(&mut merge, 0, 4, 1);
        assert_eq!(drain(&mut merge), [(0, 4)]);
        assert!(!merge.is_over());
    }

    #[test]
    fn who_is_ahead_waits() {
        let mut merge = Merge::default();
        merge.add(tp(0), 0, 10_000, false);
        merge.add(tp(1), 0, 1, false);
        for offset in 0..2001 {
            put(&mut merge, 0, offset, offset);
        }
        assert_eq!(merge.pace(), Pace { pause: vec![tp(0)], resume: vec![] });
        assert_eq!(merge.pace(), Pace::default());
        put(&mut merge, 1, 0, 1_000_000);
        assert_eq!(drain(&mut merge).len(), 2001);
        assert_eq!(merge.pace(), Pace { pause: vec![], resume: vec![tp(0)] });
    }
}
