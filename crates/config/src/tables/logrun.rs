//! Logrun's own options. They are few: whatever Kafka has a word for is said in Kafka's words.

use crate::key::DefaultValue::Text;
use crate::key::Valid::{AtLeast, OneOf};
use crate::key::{ACTIVE, ConfigKey, broker_options, resource_options};

/// When an acknowledged record is safe: see `logrun.durability`.
const DURABILITIES: &[&str] = &["memory", "write", "sync"];

/// What goes to the journal: see `logrun.journal`.
const JOURNALED: &[&str] = &["none", "sync", "all"];

#[rustfmt::skip]
pub(super) static BROKER_OPTIONS: &[ConfigKey] = broker_options![
    ("logrun.durability", String, Text("write"), OneOf(DURABILITIES), High, ClusterWide, ACTIVE,
     "When a record is acknowledged: `memory` once it can be read, `write` once the system has it (a killed process loses nothing), `sync` once the device has it (a power cut loses nothing)."),
    ("logrun.cache.bytes", Long, Text("-1"), AtLeast(-1), High, ReadOnly, ACTIVE,
     "How much memory holds the newest records for those who read at the end of a log; shared between all partitions, and given back when there is nothing to hold. -1 is a quarter of the machine's memory or of the container's limit, but not more than 256 MiB; 0 keeps nothing that the files have."),
    ("logrun.disk.reserve.bytes", Long, Text("-1"), AtLeast(-1), High, ClusterWide, ACTIVE,
     "How much of each file system is kept free of what clients write: below it produce is answered with KAFKA_STORAGE_ERROR, which clients try again, until there is room; committed offsets and metadata may use it. -1 is a hundredth of the file system, at least 16 MiB (but not more than a tenth of it) and at most 1 GiB; 0 keeps nothing."),
    ("logrun.journal", String, Text("sync"), OneOf(JOURNALED), Medium, ReadOnly, ACTIVE,
     "What goes to the journal of each log directory: `sync`, what a power cut must not take (`logrun.durability=sync`, `flush.messages=1`), so that one device flush serves all partitions together; the partitions' files have it as well before it is acknowledged, and the next start after a power cut brings back what they lost. `all`, whatever is produced, and the partitions' files get it later in large writes: an append costs less, but after `kill -9` Logrun must have started once before another program looks at the files. `none` syncs each partition's file. A clean stop leaves no journal."),
    ("logrun.journal.bytes", Long, Text("67108864"), AtLeast(8192), Low, ReadOnly, ACTIVE,
     "The most that the journal of a log directory takes on the disk: eight files, used in turn and made when they are needed. With a small one partitions are synced more often, so that its files can be used again; with a large one the next start after a kill takes longer."),
    ("logrun.write.gather.bytes", Long, Text("65536"), AtLeast(-1), Low, ReadOnly, ACTIVE,
     "From what size on an append is gathered with others of its partition and written beside the connection, in pieces that grow with the load, past the page cache where they are large: it is acknowledged when that is done. Smaller ones are written at once, unless one of their partition is on its way or more than 128 MiB a second are appended to the directory. -1 gathers nothing."),
    ("logrun.partition.idle.close.ms", Long, Text("300000"), AtLeast(1), Low, ReadOnly, ACTIVE,
     "How long a partition must go unused until its log is closed, so that it takes no memory and no descriptor; its next use opens it again."),
];

#[rustfmt::skip]
pub(super) static TOPIC_OPTIONS: &[ConfigKey] = resource_options![
    ("logrun.compact.requested.ms", Long, Text("-1"), AtLeast(-1), [], ACTIVE,
     "Compact now: the records that are there at this time (milliseconds since 1970) are compacted as soon as it comes, whatever `min.cleanable.dirty.ratio` says. The time of setting it is what is usually meant; -1 asks for nothing."),
    ("logrun.durability", String, Text("write"), OneOf(DURABILITIES), ["logrun.durability" * 1], ACTIVE,
     "When a record of this topic is acknowledged: `memory` once it can be read, `write` once the system has it (a killed process loses nothing), `sync` once the device has it (a power cut loses nothing)."),
];
