//! Broker options: Compaction.

use crate::key::DefaultValue::Text;
use crate::key::Valid::{Any, AtLeast, Fraction};
use crate::key::{ACTIVE, ConfigKey, broker_options};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("log.cleaner.enable", Boolean, Text("true"), Any, Medium, ReadOnly, ACTIVE,
     "Whether compaction runs."),
    ("log.cleaner.threads", Int, Text("1"), AtLeast(0), Medium, ClusterWide, ACTIVE,
     "How many logs are compacted at a time."),
    ("log.cleaner.backoff.ms", Long, Text("15000"), AtLeast(0), Medium, ClusterWide, ACTIVE,
     "How long compaction rests when there is nothing to do."),
    ("log.cleaner.dedupe.buffer.size", Long, Text("134217728"), Any, Medium, ClusterWide, ACTIVE,
     "Memory for the maps from keys to offsets, of all threads together: 24 bytes for each key that one round can take in."),
    ("log.cleaner.io.buffer.size", Int, Text("524288"), AtLeast(0), Medium, ClusterWide, ACTIVE,
     "Memory for reading and writing while compacting, of all threads together."),
    ("log.cleaner.io.buffer.load.factor", Double, Text("0.9"), Any, Medium, ClusterWide, ACTIVE,
     "How full the map from keys to offsets may become."),
    ("log.cleaner.io.max.bytes.per.second", Double, Text("1.7976931348623157E308"), Any, Medium, ClusterWide, ACTIVE,
     "How many bytes compaction reads and writes in a second at most, all threads together."),
    ("log.cleaner.delete.retention.ms", Long, Text("86400000"), AtLeast(0), Medium, ClusterWide, ACTIVE,
     "How long a tombstone stays after compaction has passed it, so that slow readers see the deletion."),
    ("log.cleaner.min.cleanable.ratio", Double, Text("0.5"), Fraction(0.0, 1.0), Medium, ClusterWide, ACTIVE,
     "Which share of a log must be uncompacted before compaction is worth it."),
    ("log.cleaner.min.compaction.lag.ms", Long, Text("0"), AtLeast(0), Medium, ClusterWide, ACTIVE,
     "How long a record stays uncompacted at least."),
    ("log.cleaner.max.compaction.lag.ms", Long, Text("9223372036854775807"), AtLeast(1), Medium, ClusterWide, ACTIVE,
     "How long a record may wait for compaction at most."),
];
