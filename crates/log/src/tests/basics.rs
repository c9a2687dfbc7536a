//! Appending, reading, rolling, transactions, producers, files: what holds without any fault.

use std::path::Path;

use logrun_io::OpenMode;
use logrun_io::disk::Fault;
use logrun_model::{LeaderEpoch, Offset, ProducerId, TimestampMs};
use logrun_record::BatchHeader;
use proptest::prelude::*;

use super::support::*;
use crate::{Durability, Durable, LogConfig, LogEnv, LogError, OpenState, TailCache, segment_path};

fn filled(world: &World, batches: i64) -> crate::Log {
    let mut log = world.open_small();
    for i in 0..batches {
        log.append(&[batch_at(i * 2, 2, 0)], world.now()).unwrap();
    }
    log
}

#[test]
fn reads_whole_batches_from_memory_and_from_files() {
    for tail_bytes in [0, 16 << 10, 1 << 20] {
        let mut world = World::new(1);
        world.env = LogEnv { tail: TailCache::new(tail_bytes), ..world.env };
        let log = filled(&world, 30);
        let one = batch_at(0, 2, 0).size_in_bytes();
        for from in 0..60 {
            for max_bytes in [0, 1, one, one * 2 + 5, 10_000] {
                for upper in [from, from + 1, from + 7, 60] {
                    for min_one in [false, true] {
                        let plan = log.plan_read(Offset(from), Offset(upper), max_bytes, min_one).unwrap();
                        let got = plan.run().unwrap();
                        assert_eq!(got.bytes, got.slices.iter().map(|s| s.len()).sum::<usize>());
                        let first = from / 2;
                        let by_bound = (upper.min(60) / 2 - first).max(0);
                        let by_bytes = (max_bytes / one).max(usize::from(min_one)) as i64;
                        let n = got.bytes as i64 / one as i64;
                        assert_eq!(got.bytes as i64 % one as i64, 0);
                        assert!(n <= by_bound && n <= by_bytes, "{from} {max_bytes} {upper} {min_one}: {n}");
                        assert!(n >= 1 || by_bound == 0 || by_bytes == 0, "{from} {max_bytes} {upper} {min_one}");
                        let next = if n == 0 { from } else { (first + n) * 2 };
                        assert_eq!(got.next_offset, Offset(next));
                    }
                }
            }
        }
        let all = read_batches(&log, 10_000);
        assert_eq!(all.len(), 30);
        assert_eq!(log.plan_read(Offset(59), Offset(60), 100, true).unwrap().is_in_memory(), tail_bytes > 0);
    }
}

/// A bit flips on the disk: what lies before is served, the batch never, and the report says where it is.
#[test]
fn what_was_not_written_is_not_served() {
    let world = World::new(1);
    drop(filled(&world, 12));
    let mut log = world.reopen_unclean(Offset(0)).0;
    let whole = log.read(Offset(0), Offset(24), 1 << 20, true).unwrap();
    log.release_idle();
    let first = BatchHeader::parse(&joined(&whole.slices)).unwrap().size_in_bytes() as u64;
    let path = segment_path(Path::new(DIR), Offset(0), ".log");
    let file = world.io.disk.open(&path, OpenMode::Write).unwrap();
    let mut byte = [0];
    file.read_at(2 * first - 1, &mut byte).unwrap();
    file.write_all_at(2 * first - 1, &[std::io::IoSlice::new(&[byte[0] ^ 1])]).unwrap();
    let served = log.read(Offset(0), Offset(24), 1 << 20, true).unwrap();
    assert_eq!((served.bytes as u64, served.next_offset), (first, Offset(2)));
    let e = log.read(Offset(2), Offset(24), 1 << 20, true).unwrap_err();
    let LogError::Corrupt { path: at, position, reason } = &e else { panic!("{e}") };
    assert_eq!((at, *position), (&path, first));
    assert!(reason.contains("offsets 2 to 3") && !e.is_storage_failure(), "{e}");
    assert_eq!(log.read(Offset(4), Offset(24), 1 << 20, true).unwrap().next_offset, whole.next_offset);
}

#[test]
fn refuses_offsets_out_of_range() {
    let world = World::new(1);
    let mut log = filled(&world, 3);
    assert!(matches!(log.plan_read(Offset(7), Offset(7), 1, true), Err(LogError::OffsetOutOfRange { .. })));
    assert!(log.plan_read(Offset(6), Offset(6), 1, true).is_ok());
    assert!(log.set_log_start_offset(Offset(7)).is_err());
    assert!(log.set_log_start_offset(Offset(3)).unwrap());
    assert!(!log.set_log_start_offset(Offset(2)).unwrap());
    assert!(log.plan_read(Offset(2), Offset(6), 1, true).is_err());
    assert!(matches!(log.append(&[batch_at(5, 1, 0)], world.now()), Err(LogError::UnexpectedAppendOffset { .. })));
}

#[test]
fn rolls_by_size_time_and_index() {
    let world = World::new(1);
    let log = filled(&world, 30);
    assert!(log.segment_count() > 5);
    let big = PreparedOfSize(700).batch();
    let mut log = log;
    assert!(matches!(log.append(&[big], world.now()), Err(LogError::BatchTooLarge { .. })));

    let world = World::with_config(1, LogConfig { segment_ms: 1000, ..LogConfig::default() });
    let mut log = world.open_small();
    for (i, t) in [0, 500, 1000, 1001, 2001].into_iter().enumerate() {
        let rolled = log.append(&[batch_with_time(i as i64, 1, 0, WALL_MS + t)], world.now()).unwrap().rolled;
        assert_eq!(rolled, t == 1001, "{t}");
    }
    assert_eq!(log.segment_count(), 2);

    let config = LogConfig { segment_index_bytes: 24, index_interval_bytes: 0, ..LogConfig::default() };
    let world = World::with_config(1, config);
    let mut log = world.open_small();
    for i in 0..10 {
        log.append(&[batch_at(i, 1, 0)], world.now()).unwrap();
    }
    assert!(log.segment_count() > 3);
    assert_eq!(world.read_all(&mut log).len(), 10);
}

struct PreparedOfSize(usize);

impl PreparedOfSize {
    fn batch(&self) -> logrun_record::PreparedBatch {
        let mut b = logrun_record::BatchBuilder::new(logrun_record::Compression::NONE);
        b.append(TimestampMs(0), None, Some(&vec![0; self.0]), &[]).unwrap();
        let mut p = b.prepare().unwrap();
        p.assign(Offset(60), LeaderEpoch(0));
        p
    }
}

#[test]
fn several_batches_go_at_once() {
    let world = World::new(1);
    let mut log = world.open_small();
    let batches: Vec<_> = (0..20).map(|i| batch_at(i * 3, 3, i as i32 / 7)).collect();
    // The first one makes the files.
    log.append(&batches[..1], world.now()).unwrap();
    let before = world.disk.counts().mutations;
    let appended = log.append(&batches[1..3], world.now()).unwrap();
    assert_eq!(world.disk.counts().mutations - before, 1);
    assert_eq!((appended.first_offset, appended.last_offset), (Offset(3), Offset(8)));
    log.append(&batches[3..], world.now()).unwrap();
    assert!(log.segment_count() > 2);
    assert_eq!(world.read_all(&mut log).len(), 20);
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(0)), (LeaderEpoch(0), Offset(21)));
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(2)), (LeaderEpoch(2), Offset(60)));
}

#[test]
fn gaps_of_compaction_are_passed() {
    let world = World::new(1);
    let mut log = world.open_small();
    for base in [0, 10, 20, 100, 1000, 5000] {
        log.append(&[batch_at(base, 2, 0)], world.now()).unwrap();
    }
    for tail in [true, false] {
        if !tail {
            log.close(world.now()).unwrap();
            log = world.reopen_clean();
        }
        let next = |from| log.read(Offset(from), Offset(5002), 1, true).unwrap().next_offset.get();
        assert_eq!((next(0), next(2), next(11), next(22), next(101)), (2, 12, 12, 102, 102));
        assert_eq!((next(102), next(4999), next(5001)), (1002, 5002, 5002));
    }
}

#[test]
fn finds_offsets_by_time() {
    let world = World::new(1);
    let mut log = world.open_small();
    let times = [5, 3, 9, 9, 1, 20, 15, 30, 30, 2];
    for (i, t) in times.iter().enumerate() {
        log.append(&[batch_with_time(i as i64, 1, 3, WALL_MS + t)], world.now()).unwrap();
    }
    for reopened in [false, true] {
        if reopened {
            log.close(world.now()).unwrap();
            log = world.reopen_clean();
        }
        for t in 0..=31 {
            let found = log.plan_offset_for_timestamp(TimestampMs(WALL_MS + t)).run().unwrap();
            let expected = times.iter().position(|x| *x >= t);
            assert_eq!(found.map(|f| f.offset.get() as usize), expected, "{t}");
            assert!(found.is_none_or(|f| f.leader_epoch == LeaderEpoch(3)));
        }
        let max = log.plan_max_timestamp().run().unwrap().unwrap();
        assert_eq!((max.offset, max.timestamp), (Offset(7), TimestampMs(WALL_MS + 30)));
        log.set_log_start_offset(Offset(1)).unwrap();
        let found = log.plan_offset_for_timestamp(TimestampMs(WALL_MS + 4)).run().unwrap().unwrap();
        assert_eq!(found.offset, Offset(2));
        log = world.reopen_unclean(Offset(0)).0;
    }
    assert_eq!(World::new(2).open_small().plan_max_timestamp().run().unwrap(), None);
}

#[test]
fn keeps_producers_and_aborted_transactions() {
    let world = World::new(1);
    let mut log = world.open_small();
    let mut at = 0;
    let mut sequence = 0;
    for i in 0..12 {
        log.append(&[producer_batch(at, 2, 7, sequence, true)], world.now()).unwrap();
        log.append(&[producer_batch(at + 2, 1, 8, i, false)], world.now()).unwrap();
        log.append(&[marker(at + 3, 7, i % 3 == 0)], world.now()).unwrap();
        at += 4;
        sequence += 2;
    }
    log.append(&[producer_batch(at, 2, 9, 0, true)], world.now()).unwrap();
    let check = |log: &crate::Log| {
        let aborted = log.aborted_transactions(Offset(0), Offset(at)).unwrap();
        let expected: Vec<i64> = (0..12).filter(|i| i % 3 != 0).map(|i| i * 4).collect();
        assert_eq!(aborted.iter().map(|t| t.first_offset.get()).collect::<Vec<_>>(), expected);
        assert!(aborted.iter().all(|t| t.last_offset.get() == t.first_offset.get() + 3));
        assert_eq!(log.aborted_transactions(Offset(5), Offset(6)).unwrap().len(), 1);
        let p = log.producers();
        assert_eq!(p.entry(ProducerId(7)).unwrap().last_sequence().get(), 23);
        assert_eq!(p.entry(ProducerId(8)).unwrap().last_sequence().get(), 11);
        assert_eq!(p.first_undecided_offset(), Some(Offset(at)));
        assert_eq!(p.map_end_offset(), Offset(at + 2));
    };
    check(&log);
    world.disk.kill();
    let mut log = world.reopen_unclean(Offset(0)).0;
    check(&log);
    log.flush(world.now()).unwrap();
    assert_eq!(log.recovery_point(), Offset(at + 2));
    world.disk.kill();
    let (mut log, report) = world.reopen_unclean(Offset(at + 2));
    assert!(report.checked_bytes < 400, "{report:?}");
    check(&log);
    log.close(world.now()).unwrap();
    let mut log = world.reopen_clean();
    check(&log);
    // A transaction index that is lost or damaged is built again.
    log.close(world.now()).unwrap();
    let victim = world.files().into_iter().find(|f| f.ends_with(".txnindex")).unwrap();
    let path = std::path::Path::new(DIR).join(victim);
    world.io.disk.open(&path, logrun_io::OpenMode::Write).unwrap().set_len(20).unwrap();
    check(&world.reopen_clean());
}

#[test]
fn expects_files_as_kafka_names_them() {
    let world = World::new(1);
    let mut log = filled(&world, 7);
    log.set_topic_id(logrun_model::Uuid::ONE).unwrap();
    log.roll(world.now()).unwrap();
    log.close(world.now()).unwrap();
    let bases: Vec<i64> =
        world.files().iter().filter_map(|f| f.strip_suffix(".log")).map(|f| f.parse().unwrap()).collect();
    let mut expected: Vec<String> = bases
        .iter()
        .flat_map(|b| [".index", ".log", ".snapshot", ".timeindex"].map(|s| format!("{b:020}{s}")))
        // The first segment begins before there is anything to take a snapshot of.
        .filter(|f| f != "00000000000000000000.snapshot")
        .collect();
    expected.extend(["leader-epoch-checkpoint".to_owned(), "partition.metadata".to_owned()]);
    assert_eq!(world.files(), expected);
    assert_eq!(world.reopen_clean().topic_id(), Some(logrun_model::Uuid::ONE));
}

#[test]
fn a_lost_index_is_built_again() {
    let world = World::with_config(1, LogConfig { index_interval_bytes: 100, ..LogConfig::default() });
    let mut log = filled(&world, 50);
    log.close(world.now()).unwrap();
    for (suffix, len) in [(".index", None), (".timeindex", None), (".index", Some(13)), (".timeindex", Some(5))] {
        let path = std::path::Path::new(DIR).join(format!("{:020}{suffix}", 0));
        let whole = logrun_io::disk::read_all(&world.disk, &path).unwrap().unwrap();
        match len {
            None => world.io.disk.remove_file(&path).unwrap(),
            Some(n) => world.io.disk.open(&path, logrun_io::OpenMode::Write).unwrap().set_len(n).unwrap(),
        }
        let mut log = world.reopen_clean();
        assert_eq!(log.log_end_offset(), Offset(100));
        assert_eq!(world.read_all(&mut log).len(), 50);
        log.close(world.now()).unwrap();
        assert_eq!(logrun_io::disk::read_all(&world.disk, &path).unwrap().unwrap(), whole, "{suffix}");
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let world = World::new(1);
    let mut log = filled(&world, 3);
    world.disk.set_capacity(Some(world.disk.used() + 30));
    for _ in 0..3 {
        let e = log.append(&[batch_at(6, 2, 0)], world.now()).unwrap_err();
        assert!(e.is_retriable() && !e.is_storage_failure(), "{e}");
    }
    assert_eq!(log.log_end_offset(), Offset(6));
    assert_eq!(world.read_all(&mut log).len(), 3);
    world.disk.set_capacity(None);
    log.append(&[batch_at(6, 2, 0)], world.now()).unwrap();
    assert_eq!(world.read_all(&mut log).len(), 4);
    let (mut log, report) = world.reopen_unclean(Offset(0));
    assert_eq!(report.cut, None);
    assert_eq!(world.read_all(&mut log).len(), 4);
}

#[test]
fn a_torn_write_leaves_nothing_behind() {
    let world = World::new(1);
    let mut log = filled(&world, 2);
    world.disk.fail_mutation(world.disk.counts().mutations + 1, Fault::Torn);
    assert!(log.append(&[batch_at(4, 2, 0), batch_at(6, 2, 0)], world.now()).unwrap_err().is_storage_failure());
    world.disk.kill();
    let (log, report) = world.reopen_unclean(Offset(0));
    assert_eq!((log.log_end_offset(), report.cut), (Offset(4), None));
}

#[test]
fn sync_durability_waits_for_the_device() {
    let world = World::with_config(1, LogConfig { durability: Durability::Sync, ..small_config() });
    let mut log = world.open_small();
    let mut pending = Vec::new();
    for i in 0..20 {
        pending.push(log.append(&[batch_at(i * 2, 2, 0)], world.now()).unwrap().durable);
    }
    let before = world.disk.counts().mutations;
    for d in pending {
        assert!(matches!(d, Durable::Pending(..)));
        block_on(d.wait()).unwrap();
    }
    // One round of syncs for all: the segments' files and two directories.
    assert!(world.disk.counts().mutations - before <= log.segment_count() as u64 + 2);
    world.disk.crash(&world.io.random);
    let (mut log, _) = world.reopen_unclean(Offset(0));
    assert_eq!(log.log_end_offset(), Offset(40));
    let lost = log.append(&[batch_at(40, 2, 0)], world.now()).unwrap().durable;
    log.truncate_to(Offset(30), world.now()).unwrap();
    assert!(matches!(block_on(lost.wait()), Err(LogError::Truncated)));
    let failing = log.append(&[batch_at(30, 2, 0)], world.now()).unwrap().durable;
    world.disk.fail_mutation(world.disk.counts().mutations + 1, Fault::Io);
    assert!(block_on(failing.wait()).unwrap_err().is_storage_failure());
}

#[test]
fn flush_messages_makes_one_append_in_so_many_wait() {
    let world = World::with_config(1, LogConfig { flush_messages: 6, ..LogConfig::default() });
    let mut log = world.open_small();
    let mut waited = Vec::new();
    for i in 0..12 {
        let durable = log.append(&[batch_at(i * 2, 2, 0)], world.now()).unwrap().durable;
        if matches!(durable, Durable::Pending(..)) {
            block_on(durable.wait()).unwrap();
            waited.push(i);
        }
    }
    assert_eq!(waited, [2, 5, 8, 11]);
    log.truncate_to(Offset(4), world.now()).unwrap();
    let durable = log.append(&[batch_at(4, 6, 0)], world.now()).unwrap().durable;
    assert!(matches!(durable, Durable::Pending(..)));
}

#[test]
fn flush_ms_asks_for_a_flush_of_what_waits() {
    let world = World::with_config(1, LogConfig { flush_ms: 100, ..LogConfig::default() });
    let mut log = world.open_small();
    let later = |ms| logrun_model::Now { monotonic: world.now().monotonic.plus_ms(ms), ..world.now() };
    assert!(!log.is_flush_due(later(1_000)));
    log.append(&[batch_at(0, 2, 0)], world.now()).unwrap();
    assert!(!log.is_flush_due(later(99)) && log.is_flush_due(later(100)));
    log.flush(later(100)).unwrap();
    assert!(!log.is_flush_due(later(1_000)));
    // The clock runs from the last flush.
    log.append(&[batch_at(2, 2, 0)], later(150)).unwrap();
    assert!(!log.is_flush_due(later(199)) && log.is_flush_due(later(200)));
}

#[test]
fn segment_jitter_rolls_segments_earlier_by_chance() {
    let config = LogConfig { segment_ms: 10_000, segment_jitter_ms: 4_000, ..LogConfig::default() };
    let world = World::with_config(1, config);
    let mut log = world.open_small();
    let (mut now, mut at) = (world.now(), 0);
    let mut lasted = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let began = now.wall;
        loop {
            now.wall = now.wall.plus_ms(500);
            at += 1;
            if log.append(&[batch_with_time(at - 1, 1, 0, now.wall.get())], now).unwrap().rolled {
                break;
            }
        }
        lasted.insert(now.wall.since_ms(began));
    }
    assert!(lasted.iter().all(|ms| (6_000..=11_000).contains(ms)) && lasted.len() > 3, "{lasted:?}");
}

#[test]
fn a_deleted_partition_can_be_read_to_the_end() {
    let world = World::new(1);
    let mut log = filled(&world, 10);
    log.close(world.now()).unwrap();
    let mut log = world.reopen_clean();
    let plan = log.plan_read(Offset(0), Offset(20), 10_000, true).unwrap();
    let name =
        crate::dir_name(&logrun_model::TopicPartition::new("t", 0), crate::DirKind::Delete, world.io.random.uuid());
    let removal = log.delete(&name).unwrap();
    assert!(plan.run().unwrap().bytes > 0);
    assert!(matches!(log.append(&[batch_at(20, 1, 0)], world.now()), Err(LogError::Offline { .. })));
    removal.run().unwrap();
    assert_eq!(world.io.disk.list(std::path::Path::new("/data")).unwrap(), []);
    assert_eq!(world.open(OpenState::NEW).0.log_end_offset(), Offset(0));
}

#[test]
fn the_tail_keeps_to_its_budget() {
    let mut world = World::new(1);
    let budget = 4 * logrun_io::SMALL_CHUNK_BYTES;
    world.env = LogEnv { tail: TailCache::new(budget), ..world.env };
    let log = filled(&world, 100);
    let used = world.env.tail.used_bytes();
    assert!(used <= budget && used > budget / 2);
    assert!(log.plan_read(Offset(198), Offset(200), 100, true).unwrap().is_in_memory());
    assert!(!log.plan_read(Offset(10), Offset(200), 100, true).unwrap().is_in_memory());
    // A log that is idle keeps what it has while another one, which holds more, fills the cache.
    world.env.tail = TailCache::new(budget);
    let (mut idle, mut busy) = (world.open_at("/data/idle-0"), world.open_at("/data/busy-0"));
    idle.append(&[batch_at(0, 2, 0)], world.now()).unwrap();
    for i in 0..200 {
        busy.append(&[batch_at(i * 2, 2, 0)], world.now()).unwrap();
    }
    assert!(idle.plan_read(Offset(0), Offset(2), 100, true).unwrap().is_in_memory());
    assert!(!busy.plan_read(Offset(0), Offset(2), 100, true).unwrap().is_in_memory());
    drop((log, idle, busy));
    assert_eq!(world.env.tail.used_bytes(), 0);
}

#[test]
fn what_was_refused_is_not_counted_in_the_cache() {
    let mut world = World::with_config(1, LogConfig::default());
    let budget = 1 << 20;
    world.env = LogEnv { tail: TailCache::new(budget), ..world.env };
    let mut log = world.open_small();
    log.append(&[large(0, 70_000)], world.now()).unwrap();
    let used = world.env.tail.used_bytes();
    for n in 1..30 {
        world.disk.set_capacity(Some(world.disk.used()));
        // One batch lies in the chunk that is there, or each has one of its own.
        let batches: Vec<_> = (0..n % 4 + 1).map(|i| large(1 + i, 20_000 + n as usize * 3000)).collect();
        assert!(log.append(&batches, world.now()).unwrap_err().is_retriable());
        assert!(world.env.tail.used_bytes() <= used, "{n}: {} of {used}", world.env.tail.used_bytes());
        world.disk.set_capacity(None);
    }
    log.append(&[large(1, 70_000)], world.now()).unwrap();
    let plan = log.plan_read(Offset(0), Offset(2), 1 << 20, true).unwrap();
    assert!(plan.is_in_memory());
    assert_eq!(
        plan.run().unwrap().slices.concat(),
        [large(0, 70_000).to_bytes(), large(1, 70_000).to_bytes()].concat()
    );
    drop(log);
    assert_eq!(world.env.tail.used_bytes(), 0);
}

#[test]
fn an_interrupted_compaction_is_settled() {
    let world = World::new(1);
    let mut log = filled(&world, 24);
    let bases: Vec<Offset> = log.segments.keys().copied().collect();
    log.close(world.now()).unwrap();
    let dir = std::path::Path::new(DIR);
    let disk = &world.io.disk;
    // The cleaner has merged the first two segments into one, and was stopped before the old ones went.
    let merged: Vec<u8> = [batch_at(0, 2, 0), batch_at(bases[2].get() - 2, 2, 0)].map(|b| b.to_bytes()).concat();
    let swap = disk.open(&dir.join(format!("{:020}.log.swap", 0)), logrun_io::OpenMode::Create).unwrap();
    swap.write_all_at(0, &[std::io::IoSlice::new(&merged)]).unwrap();
    disk.open(&dir.join(format!("{:020}.log.cleaned", bases[3].get())), logrun_io::OpenMode::Create).unwrap();
    disk.open(&dir.join(format!("{:020}.log.deleted", 0)), logrun_io::OpenMode::Create).unwrap();
    let mut log = world.reopen_clean();
    assert_eq!(log.segment_count(), bases.len() - 1);
    let read = world.read_all(&mut log);
    assert_eq!(read[1].base_offset, Offset(bases[2].get() - 2));
    assert_eq!(read.last().unwrap().next_offset(), Offset(48));
    let names = world.files();
    assert!(names.iter().all(|n| !n.ends_with(".swap") && !n.ends_with(".cleaned") && !n.ends_with(".deleted")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hostile_files_never_panic(
        log_bytes in proptest::collection::vec(any::<u8>(), 0..300),
        index in proptest::collection::vec(any::<u8>(), 0..64),
        flip in 0usize..400,
        clean: bool,
    ) {
        let world = World::new(1);
        let mut log = filled(&world, 3);
        log.close(world.now()).unwrap();
        let put = |name: &str, at: u64, bytes: &[u8]| {
            let path = std::path::Path::new(DIR).join(name);
            let f = world.io.disk.open(&path, logrun_io::OpenMode::Create).unwrap();
            f.write_all_at(at, &[std::io::IoSlice::new(bytes)]).unwrap();
        };
        put("00000000000000000000.log", flip as u64, &log_bytes);
        put("00000000000000000000.index", 0, &index);
        put("00000000000000000000.timeindex", 0, &index);
        put("00000000000000000000.txnindex", 0, &index);
        put("00000000000000000006.snapshot", 0, &index);
        put("leader-epoch-checkpoint", 0, &index);
        put("partition.metadata", 0, &index);
        let state = OpenState { clean_shutdown: clean, ..OpenState::NEW };
        if let Ok((log, _)) = crate::Log::open(&world.env, std::path::Path::new(DIR), small_config(), state, world.now()) {
            let end = log.log_end_offset();
            let _ = log.read(log.log_start_offset(), end, 1000, true);
            let _ = log.plan_offset_for_timestamp(TimestampMs(WALL_MS)).run();
            let _ = log.plan_max_timestamp().run();
        }
    }
}
