//! The accumulator against a model of a partition's leader that loses requests, loses answers and forgets leaders: what
//! is acknowledged is there, once, in order, and nothing is left over.

use std::time::Duration;

use logrun_model::{Monotonic, NodeId, ProducerEpoch, ProducerId, TopicPartition};
use logrun_record::Compression;
use logrun_wire::ErrorCode;
use proptest::prelude::*;

use super::*;

const LEADER: NodeId = NodeId(1);

fn settings() -> Settings {
    Settings {
        batch_size: 200,
        buffer_memory: 2_000,
        linger: Duration::from_millis(5),
        delivery_timeout: Duration::from_secs(120),
        max_request_size: 1 << 20,
        max_in_flight: 5,
        retries: u32::MAX,
        compression: Compression::NONE,
        idempotent: true,
    }
}

fn at(ms: i64) -> Monotonic {
    Monotonic::default().plus_ms(ms)
}

fn accumulator(settings: Settings) -> (Accumulator, usize) {
    let mut a = Accumulator::new(settings);
    let queue = a.queue(TopicPartition::new("t", 0));
    a.set_producer(ProducerId(7), ProducerEpoch(0));
    (a, queue)
}

fn drain(a: &mut Accumulator, now: Monotonic) -> Vec<Outgoing> {
    let drained = a.drain(now, |_| Some(LEADER), |_| true, |_| true);
    let mut sent: Vec<Outgoing> = drained.requests.into_iter().flat_map(|(_, batches)| batches).collect();
    for outgoing in &mut sent {
        outgoing.batch.seal(false).expect("records");
    }
    sent
}

/// As the sender does it.
fn tell(a: &mut Accumulator) {
    for (batch, result) in a.take_finished() {
        if batch.completion.finish(batch.part(), result) {
            a.told([batch.number]);
        }
    }
}

fn written() -> Answer {
    Answer::Written(Written { base_offset: Some(0), log_append_time: None })
}

fn refused(code: ErrorCode) -> Answer {
    Answer::Refused(code.into())
}

fn sequence(o: &Outgoing) -> (i16, i32) {
    o.batch.stamp.map(|s| (s.epoch.get(), s.sequence.get())).expect("a number")
}

#[test]
fn a_batch_goes_when_it_is_full_or_old_or_wanted() {
    let (mut a, q) = accumulator(settings());
    let (_, wake) = a.append(q, &Record::to("t").value("v"), 0, at(0)).expect("taken");
    assert!(wake, "the sender has to plan for it");
    assert!(drain(&mut a, at(4)).is_empty());
    assert_eq!(drain(&mut a, at(5)).len(), 1);
    let (_, wake) = a.append(q, &Record::to("t").value(&[0; 150]), 0, at(6)).expect("taken");
    assert!(wake);
    let first = drain(&mut a, at(6));
    assert!(first.is_empty(), "not before the first one is acknowledged");
    a.begin_flush();
    assert!(drain(&mut a, at(6)).is_empty());
}

#[test]
fn memory_runs_out_and_comes_back() {
    let (mut a, q) = accumulator(settings());
    let record = Record::to("t").value(&[0; 150]);
    let taken = (0..).take_while(|_| a.append(q, &record, 0, at(0)).is_ok()).count();
    assert!((5..=10).contains(&taken), "{taken}");
    assert!(matches!(a.append(q, &record, 0, at(0)), Err(NotTaken::Full)));
    let sent = drain(&mut a, at(0)).remove(0);
    a.answer(sent, written(), at(1), Duration::ZERO);
    assert!(a.append(q, &record, 0, at(1)).is_ok());
    let large = vec![0; 2 << 20];
    assert!(matches!(a.append(q, &Record::to("t").value(&large), 0, at(1)), Err(NotTaken::Refused(_))));
}

#[test]
fn what_was_refused_goes_again_first_and_under_its_number() {
    let (mut a, q) = accumulator(settings());
    let record = Record::to("t").value(&[0; 150]);
    for _ in 0..4 {
        drop(a.append(q, &record, 0, at(0)).expect("taken"));
    }
    let first = drain(&mut a, at(0)).remove(0);
    a.answer(first, written(), at(0), Duration::ZERO);
    let (second, third) = (drain(&mut a, at(0)).remove(0), drain(&mut a, at(0)).remove(0));
    assert_eq!((sequence(&second), sequence(&third)), ((0, 1), (0, 2)));
    assert!(a.answer(second, refused(ErrorCode::NotLeaderOrFollower), at(1), Duration::from_millis(100)));
    a.answer(third, refused(ErrorCode::OutOfOrderSequenceNumber), at(1), Duration::ZERO);
    assert!(drain(&mut a, at(0)).is_empty(), "the back-off of the one holds the other");
    let again = drain(&mut a, at(101)).remove(0);
    assert_eq!(sequence(&again), (0, 1));
    assert!(drain(&mut a, at(101)).is_empty(), "the next one waits for it");
    a.answer(again, refused(ErrorCode::DuplicateSequenceNumber), at(102), Duration::ZERO);
    assert_eq!(sequence(&drain(&mut a, at(102)).remove(0)), (0, 2));
}

#[test]
fn a_hole_raises_the_epoch() {
    let (mut a, q) = accumulator(settings());
    let record = Record::to("t").value(&[0; 150]);
    for _ in 0..3 {
        drop(a.append(q, &record, 0, at(0)).expect("taken"));
    }
    let first = drain(&mut a, at(0)).remove(0);
    a.answer(first, written(), at(0), Duration::ZERO);
    let (second, third) = (drain(&mut a, at(0)).remove(0), drain(&mut a, at(0)).remove(0));
    a.answer(second, refused(ErrorCode::InvalidRecord), at(1), Duration::ZERO);
    assert!(a.failure().is_some());
    a.answer(third, refused(ErrorCode::OutOfOrderSequenceNumber), at(1), Duration::ZERO);
    assert_eq!(sequence(&drain(&mut a, at(1)).remove(0)), (1, 0));
}

/// An accumulator with so many batches, whose first the broker has.
fn begun(batches: usize) -> Accumulator {
    let (mut a, q) = accumulator(settings());
    for _ in 0..batches {
        drop(a.append(q, &Record::to("t").value(&[0; 150]), 0, at(0)).expect("taken"));
    }
    let first = drain(&mut a, at(0)).remove(0);
    a.answer(first, written(), at(0), Duration::ZERO);
    a
}

#[test]
fn the_broker_still_remembers_what_comes_again() {
    let mut a = begun(8);
    let mut sent: VecDeque<Outgoing> = (0..5).flat_map(|_| drain(&mut a, at(0))).collect();
    assert_eq!(sent.iter().map(|o| sequence(o).1).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let lost = sent.pop_front().expect("a batch");
    a.answer(lost, refused(ErrorCode::RequestTimedOut), at(1), Duration::ZERO);
    for o in sent {
        a.answer(o, written(), at(1), Duration::ZERO);
    }
    let again = drain(&mut a, at(1)).remove(0);
    assert_eq!(sequence(&again), (0, 1));
    assert!(drain(&mut a, at(1)).is_empty(), "a sixth one would push it out of what the broker remembers");
    a.answer(again, refused(ErrorCode::DuplicateSequenceNumber), at(2), Duration::ZERO);
    assert_eq!(sequence(&drain(&mut a, at(2)).remove(0)), (0, 6));
}

#[test]
fn what_follows_a_batch_in_doubt_keeps_its_number() {
    for was_written in [true, false] {
        let mut a = begun(4);
        let (second, third) = (drain(&mut a, at(0)).remove(0), drain(&mut a, at(0)).remove(0));
        a.answer(second, refused(ErrorCode::RequestTimedOut), at(120_000), Duration::ZERO);
        assert!(drain(&mut a, at(120_000)).is_empty(), "nothing new while the fate of the second is unknown");
        assert_eq!(sequence(&third), (0, 2));
        let next = if was_written {
            a.answer(third, written(), at(120_000), Duration::ZERO);
            (0, 3)
        } else {
            a.answer(third, refused(ErrorCode::OutOfOrderSequenceNumber), at(119_000), Duration::ZERO);
            (1, 0)
        };
        assert_eq!(sequence(&drain(&mut a, at(120_000)).remove(0)), next);
    }
}

#[test]
fn what_may_be_written_keeps_its_id_when_there_is_a_new_one() {
    let mut a = begun(4);
    let (second, third) = (drain(&mut a, at(0)).remove(0), drain(&mut a, at(0)).remove(0));
    a.set_producer(ProducerId(8), ProducerEpoch(0));
    a.answer(second, refused(ErrorCode::RequestTimedOut), at(1), Duration::ZERO);
    a.answer(third, refused(ErrorCode::RequestTimedOut), at(1), Duration::ZERO);
    for number in [1, 2] {
        let again = drain(&mut a, at(1)).remove(0);
        assert_eq!((again.batch.stamp.map(|s| s.id), sequence(&again)), (Some(ProducerId(7)), (0, number)));
        a.answer(again, refused(ErrorCode::DuplicateSequenceNumber), at(1), Duration::ZERO);
    }
    let new = drain(&mut a, at(1)).remove(0);
    assert_eq!((new.batch.stamp.map(|s| s.id), sequence(&new)), (Some(ProducerId(8)), (0, 0)));
}

/// What Kafka's producer does (`TransactionManager.canRetry` of 4.3.1): nothing fails, though it may be there twice.
#[test]
fn what_the_broker_has_forgotten_goes_again_under_the_next_epoch() {
    let (mut a, q) = accumulator(settings());
    let record = Record::to("t").value(&[0; 150]);
    let mut deliveries = Vec::new();
    let mut append = |a: &mut Accumulator, ms| deliveries.push(a.append(q, &record, 0, at(ms)).expect("taken").0);
    append(&mut a, 0);
    let first = drain(&mut a, at(10)).remove(0);
    a.answer(first, written(), at(11), Duration::ZERO);
    append(&mut a, 11);
    append(&mut a, 11);
    let two: Vec<Outgoing> = (0..2).flat_map(|_| drain(&mut a, at(20))).collect();
    assert_eq!(two.iter().map(sequence).collect::<Vec<_>>(), [(0, 1), (0, 2)]);
    append(&mut a, 21);
    // Both are written, the answers are lost, and the broker that starts again knows but the second.
    for outgoing in two {
        let gone = Error::Disconnected { address: String::new(), reason: String::new() };
        a.answer(outgoing, Answer::Refused(gone), at(30), Duration::ZERO);
    }
    let again = drain(&mut a, at(40)).remove(0);
    assert_eq!(sequence(&again), (0, 1));
    a.answer(again, refused(ErrorCode::OutOfOrderSequenceNumber), at(41), Duration::ZERO);
    // Until a broker has taken the first one of the new epoch, the others wait.
    let mut next = 0;
    for ms in [50, 52, 54] {
        let mut out = drain(&mut a, at(ms));
        let one = out.remove(0);
        assert_eq!((sequence(&one), out.len()), ((1, next), 0));
        next += one.batch.count;
        a.answer(one, written(), at(ms + 1), Duration::ZERO);
    }
    tell(&mut a);
    for delivery in deliveries {
        assert!(futures_util::FutureExt::now_or_never(delivery).expect("known").is_ok());
    }
}

#[test]
fn what_waits_too_long_is_given_up() {
    let (mut a, q) = accumulator(settings());
    let (delivery, _) = a.append(q, &Record::to("t").value("v"), 0, at(0)).expect("taken");
    assert_eq!(a.expire(at(119_999)), Some(at(120_000)));
    a.expire(at(120_000));
    assert_eq!((a.incomplete(), a.memory()), (1, 0), "not told yet");
    tell(&mut a);
    assert_eq!((a.incomplete(), a.memory()), (0, 0));
    let result = futures_util::FutureExt::now_or_never(delivery).expect("known");
    assert!(matches!(result, Err(Error::TimedOut { .. })));
}

/// The halves of a batch have its numbers, and each record its own fate.
#[test]
fn what_is_too_large_goes_again_in_halves() {
    let mut a = begun(1);
    let record = Record::to("t").value(&[0; 25]);
    let deliveries: Vec<Delivery> = (0..6).map(|_| a.append(0, &record, 0, at(0)).expect("taken").0).collect();
    let large = drain(&mut a, at(5)).remove(0);
    let behind = drain(&mut a, at(5)).remove(0);
    assert_eq!((sequence(&large), large.batch.count, sequence(&behind)), ((0, 1), 3, (0, 4)));
    a.answer(large, refused(ErrorCode::MessageTooLarge), at(6), Duration::from_millis(100));
    a.answer(behind, refused(ErrorCode::OutOfOrderSequenceNumber), at(6), Duration::ZERO);

    let one = drain(&mut a, at(6)).remove(0);
    assert_eq!((sequence(&one), one.batch.count), ((0, 1), 1));
    assert!(drain(&mut a, at(6)).is_empty(), "the other half waits for it");
    a.answer(one, written(), at(7), Duration::ZERO);
    let two = drain(&mut a, at(7)).remove(0);
    assert_eq!((sequence(&two), two.batch.count), ((0, 2), 2));
    a.answer(two, refused(ErrorCode::MessageTooLarge), at(8), Duration::ZERO);
    a.begin_flush();
    for (offset, number) in [(20, 2), (30, 3)] {
        let half = drain(&mut a, at(8)).remove(0);
        assert_eq!((sequence(&half), half.batch.count), ((0, number), 1));
        let answer = Written { base_offset: Some(offset), log_append_time: None };
        a.answer(half, Answer::Written(answer), at(8), Duration::ZERO);
        assert_eq!(a.incomplete(), 3);
    }
    let behind = drain(&mut a, at(8)).remove(0);
    assert_eq!(sequence(&behind), (0, 4));
    a.answer(behind, refused(ErrorCode::MessageTooLarge), at(8), Duration::ZERO);
    // The last record is too large by itself.
    for (number, answer) in [
        (4, written()),
        (5, refused(ErrorCode::MessageTooLarge)),
        (5, written()),
        (6, refused(ErrorCode::MessageTooLarge)),
    ] {
        let half = drain(&mut a, at(9)).remove(0);
        assert_eq!(sequence(&half), (0, number));
        a.answer(half, answer, at(9), Duration::ZERO);
    }
    tell(&mut a);
    assert_eq!((a.incomplete(), a.memory()), (0, 0));
    let fates: Vec<Option<i64>> = deliveries
        .into_iter()
        .map(|d| futures_util::FutureExt::now_or_never(d).expect("known").ok().map(|m| m.offset.expect("known")))
        .collect();
    assert_eq!(fates, [Some(0), Some(20), Some(30), Some(0), Some(0), None]);
}

/// A leader that checks sequence numbers as a broker does.
#[derive(Default)]
struct Leader {
    /// More records than this in one batch are too large.
    limit: i32,
    epoch: i16,
    next: i32,
    known: bool,
    /// Epochs and records.
    log: Vec<(i16, u64, u32)>,
    last: Vec<(i16, i32)>,
}

impl Leader {
    fn append(&mut self, o: &Outgoing) -> Result<(), ErrorCode> {
        let (epoch, sequence) = sequence(o);
        if o.batch.count > self.limit {
            return Err(ErrorCode::MessageTooLarge);
        }
        if self.last.contains(&(epoch, sequence)) {
            return Err(ErrorCode::DuplicateSequenceNumber);
        }
        if self.known && epoch < self.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        // A broker that doesn't know the producer takes any number.
        let expected = if self.known && epoch == self.epoch { Some(self.next) } else { self.known.then_some(0) };
        if expected.is_some_and(|e| e != sequence) {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        self.known = true;
        self.epoch = epoch;
        self.next = sequence + o.batch.count;
        self.last.push((epoch, sequence));
        if self.last.len() > 5 {
            self.last.remove(0);
        }
        self.log.extend(o.batch.part().map(|record| (epoch, o.batch.number, record)));
        Ok(())
    }

    /// Starts again: what is written down of a producer is its last batch.
    fn restart(&mut self) {
        self.last.drain(..self.last.len().saturating_sub(1));
    }
}

proptest! {
    #[test]
    fn every_record_arrives_once_and_in_order(
        steps in proptest::collection::vec(0u8..10, 1..400),
        in_time in any::<bool>(),
        restarts in any::<bool>(),
        max_in_flight in 1usize..=5,
        limit in 1..=3,
    ) {
        let delivery_timeout = if in_time { Duration::from_secs(120) } else { Duration::from_millis(40) };
        let (mut a, q) = accumulator(Settings { delivery_timeout, max_in_flight, ..settings() });
        let mut leader = Leader { limit, ..Leader::default() };
        let mut under_way: VecDeque<Outgoing> = VecDeque::new();
        let record = Record::to("t").value(&[0; 25]);
        let mut now = 0;
        let mut taken = 0;
        let answer = |a: &mut Accumulator, leader: &mut Leader, o: Outgoing, what: u8, now| {
            let answer = match what {
                // The request was lost, or the leader was another.
                0 => refused(ErrorCode::NotLeaderOrFollower),
                // The answer was lost.
                1 => {
                    let _ = leader.append(&o);
                    Answer::Refused(Error::Disconnected { address: String::new(), reason: String::new() })
                }
                _ => match leader.append(&o) {
                    Ok(()) => written(),
                    Err(code) => refused(code),
                },
            };
            a.answer(o, answer, at(now), Duration::from_millis(1));
        };
        for step in steps {
            now += 1;
            a.expire(at(now));
            match step {
                0..3 => taken += usize::from(a.append(q, &record, 0, at(now)).is_ok()),
                3 if restarts => leader.restart(),
                3 => taken += usize::from(a.append(q, &record, 0, at(now)).is_ok()),
                4..7 => under_way.extend(drain(&mut a, at(now))),
                what => {
                    if let Some(o) = under_way.pop_front() {
                        answer(&mut a, &mut leader, o, what - 7, now);
                    }
                }
            }
        }
        a.begin_flush();
        for _ in 0..1000 {
            now += 10;
            a.expire(at(now));
            under_way.extend(drain(&mut a, at(now)));
            if let Some(o) = under_way.pop_front() {
                answer(&mut a, &mut leader, o, 9, now);
            }
        }
        tell(&mut a);
        prop_assert_eq!((a.incomplete(), a.memory()), (0, 0));
        // Under one epoch each is there once, in order.
        prop_assert!(leader.log.is_sorted_by(|a, b| a < b), "{:?}", leader.log);
        let mut all: Vec<(u64, u32)> = leader.log.iter().map(|(_, number, record)| (*number, *record)).collect();
        if restarts && max_in_flight > 1 {
            // A broker that has forgotten a batch may get it again under the next epoch.
            all.sort_unstable();
            all.dedup();
        }
        prop_assert!(all.is_sorted_by(|a, b| a < b), "{:?}", leader.log);
        // What was given up may be missing.
        if in_time {
            prop_assert_eq!(all.len(), taken);
        }
    }
}
