//! Which partition a record goes to: Kafka's default (murmur2 of the key, sticky without one, KIP-480 and KIP-794), round
//! robin, or the program's own.

use std::fmt::Debug;

use logrun_io::Random;
use logrun_model::partition_for_key;

use super::record::Record;

/// A partitioner of the program's own.
pub trait Partitioner: Send + Sync + Debug {
    /// The partition of `record`, which has none, among `partitions` > 0; `None` leaves it to Kafka's default.
    fn partition(&self, record: &Record<'_>, partitions: i32) -> Option<i32>;
}

/// What is known of a topic when a record without partition comes.
#[derive(Debug, Default)]
pub(super) struct Sticky {
    current: Option<i32>,
    produced: usize,
    next: u32,
}

/// How a record without a partition gets one.
#[derive(Debug)]
pub(super) enum Choice {
    Default { ignore_keys: bool, adaptive: bool },
    RoundRobin,
}

/// A partition's weight for the sticky choice: how many batches wait in it, `None` if it can't be written to.
pub(super) type Waiting = Option<usize>;

impl Sticky {
    /// The partition of `record`. `waiting` has one entry for each partition; `full` says whether the batch that is open
    /// in a partition has no room for the record. `bytes` are the record's, `batch_size` the configured size.
    #[expect(clippy::too_many_arguments, reason = "one caller, which has them all at hand")]
    pub(super) fn choose(
        &mut self,
        choice: &Choice,
        record: &Record<'_>,
        bytes: usize,
        batch_size: usize,
        partitions: usize,
        waiting: impl Fn(usize) -> Waiting,
        full: impl Fn(usize) -> bool,
        random: &Random,
    ) -> i32 {
        let count = i32::try_from(partitions).unwrap_or(i32::MAX).max(1);
        match choice {
            Choice::RoundRobin => {
                for _ in 0..partitions {
                    let at = self.next % count as u32;
                    self.next = self.next.wrapping_add(1);
                    if waiting(at as usize).is_some() {
                        return at as i32;
                    }
                }
                (self.next % count as u32) as i32
            }
            Choice::Default { ignore_keys: false, .. } if record.key.is_some() => {
                partition_for_key(record.key.unwrap_or_default(), count)
            }
            Choice::Default { adaptive, .. } => {
                // A new partition when a batch is full, not in its middle: so batches are whole.
                let stay = self.current.filter(|p| {
                    *p < count
                        && !full(*p as usize)
                        && (self.produced < batch_size
                            || self.produced < 2 * batch_size && waiting(*p as usize) != Some(0))
                });
                let partition = stay.unwrap_or_else(|| {
                    self.produced = 0;
                    pick(partitions, *adaptive, &waiting, random)
                });
                self.produced += bytes;
                self.current = Some(partition);
                partition
            }
        }
    }
}

/// One of the partitions that can be written to, rather one in which little waits if `adaptive`; any if there is none.
fn pick(partitions: usize, adaptive: bool, waiting: &impl Fn(usize) -> Waiting, random: &Random) -> i32 {
    let most = (0..partitions).filter_map(waiting).max();
    let Some(most) = most else { return random.below(partitions.max(1) as u64) as i32 };
    let weight = |p: usize| waiting(p).map_or(0, |w| if adaptive { most - w + 1 } else { 1 });
    let total: usize = (0..partitions).map(weight).sum();
    let mut at = random.below(total.max(1) as u64) as usize;
    for p in 0..partitions {
        let w = weight(p);
        if at < w {
            return p as i32;
        }
        at -= w;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Choice = Choice::Default { ignore_keys: false, adaptive: true };

    #[test]
    fn keys_decide() {
        let random = Random::from_seed(1);
        let record = Record::to("t").key("foobar");
        let p = Sticky::default().choose(&DEFAULT, &record, 10, 100, 7, |_| Some(0), |_| false, &random);
        assert_eq!(p, ((-790332482i32 as u32 & 0x7fff_ffff) % 7) as i32);
    }

    #[test]
    fn without_a_key_a_partition_is_kept_until_its_batch_is_full() {
        let random = Random::from_seed(1);
        let mut sticky = Sticky::default();
        let record = Record::to("t").value("v");
        let first = sticky.choose(&DEFAULT, &record, 10, 100, 50, |_| Some(0), |_| false, &random);
        for _ in 0..9 {
            assert_eq!(sticky.choose(&DEFAULT, &record, 10, 100, 50, |_| Some(1), |_| false, &random), first);
        }
        let changed =
            (0..20).any(|_| sticky.choose(&DEFAULT, &record, 10, 100, 50, |_| Some(1), |_| true, &random) != first);
        assert!(changed);
    }

    #[test]
    fn a_partition_without_a_leader_gets_nothing_and_a_busy_one_less() {
        let random = Random::from_seed(1);
        let waiting = |p: usize| match p {
            0 => None,
            1 => Some(9),
            _ => Some(0),
        };
        let mut counts = [0; 3];
        for _ in 0..1100 {
            counts[pick(3, true, &waiting, &random) as usize] += 1;
        }
        assert_eq!(counts[0], 0);
        assert!((50..160).contains(&counts[1]), "{counts:?}");
        let mut sticky = Sticky::default();
        let robin: Vec<i32> = (0..4)
            .map(|_| sticky.choose(&Choice::RoundRobin, &Record::to("t"), 1, 1, 3, waiting, |_| false, &random))
            .collect();
        assert_eq!(robin, [1, 2, 1, 2]);
    }
}
