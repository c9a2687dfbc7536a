//! What a start makes of what failures have left in the directories.

use std::path::Path;

use logrun_io::disk::SimDisk;
use logrun_io::{Disk, MemoryNet};
use logrun_log::TailCache;
use logrun_model::{NodeId, TimestampMs};
use logrun_record::{BatchBuilder, Compression};

use super::*;

struct World {
    disk: SimDisk,
    io: Io,
    name: TopicPartition,
}

impl World {
    fn new() -> Self {
        let disk = SimDisk::new();
        let io = Io::simulated(1, 0, Arc::new(disk.clone()), MemoryNet::new());
        Self { disk, io, name: TopicPartition::new("t", 0) }
    }

    fn logs(&self) -> Logs {
        let mut dirs = LogDirs::open(&self.io, &[PathBuf::from("/a"), PathBuf::from("/b")]).unwrap().dirs;
        dirs.format(&Str::from("4L6g3nShT-eMCtK--X86sw"), NodeId(1)).unwrap();
        dirs.take_clean_shutdown().unwrap();
        Logs::scan(LogEnv { io: self.io.clone(), tail: TailCache::new(1 << 20) }, dirs, false).unwrap()
    }

    fn open(&self, logs: &Logs, topic_id: Uuid, dir: Option<DirectoryId>) -> Log {
        let id = TopicIdPartition { topic_id, partition: 0 };
        let (rest, _) = logs.take(id, &self.name, dir).unwrap();
        logs.open(id, &self.name, &rest, LogConfig::default(), self.io.clock.read()).unwrap().log
    }

    fn append(&self, log: &mut Log) {
        let mut batch = BatchBuilder::new(Compression::NONE);
        batch.append(TimestampMs(0), None, Some(b"v"), &[]).unwrap();
        log.append(&[batch.prepare().unwrap()], self.io.clock.read()).unwrap();
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let entries = self.disk.list(Path::new(dir)).unwrap().into_iter();
        entries.filter(|e| e.is_dir).map(|e| e.name.split('.').next().unwrap_or_default().to_owned()).collect()
    }
}

fn topic(n: u128) -> Uuid {
    Uuid::from_random(n << 64 | n).unwrap()
}

/// Found by the simulation: a deletion whose rename failed left its records to the next topic of the name.
#[test]
fn a_new_topic_begins_empty_whatever_lies_at_its_place() {
    let world = World::new();
    let logs = world.logs();
    let first = logs.directory_ids()[0];
    let mut log = world.open(&logs, topic(1), Some(first));
    world.append(&mut log);
    drop(log);
    let log = world.open(&logs, topic(2), Some(first));
    assert_eq!((log.log_end_offset(), log.topic_id()), (Offset::ZERO, Some(topic(2))));
    // The new one has no directory before its first record.
    assert_eq!(world.names("/a"), ["t-0"]);
}

/// Found by the simulation: with two directories of one name the wrong one was taken, and the topic was empty.
#[test]
fn of_two_directories_the_topics_own_is_taken() {
    let world = World::new();
    for own in 0..2 {
        let logs = world.logs();
        let ids = logs.directory_ids();
        let mut log = world.open(&logs, topic(1), Some(ids[own]));
        world.append(&mut log);
        // What a creation that failed has left.
        let other = if own == 0 { "/b/t-0" } else { "/a/t-0" };
        world.disk.create_dir_all(Path::new(other)).unwrap();
        drop((log, logs));
        world.disk.kill();
        let logs = world.logs();
        assert_eq!(world.open(&logs, topic(1), None).log_end_offset(), Offset(1));
        logs.set_strays_aside();
        let left = ["/a/t-0", "/b/t-0"].iter().filter(|d| world.disk.info(Path::new(d)).unwrap().is_some());
        assert_eq!(left.count(), 1);
        drop(logs);
        for dir in ["/a/t-0", "/b/t-0"] {
            let _ = world.disk.remove_dir_all(Path::new(dir));
        }
        world.disk.kill();
    }
}
