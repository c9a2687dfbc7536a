//! Offsets of many partitions in one file (Kafka's `OffsetCheckpointFile`): a log directory's
//! `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint`, `replication-offset-checkpoint` and
//! `cleaner-offset-checkpoint`.
//!
//! ```text
//! 0                     version
//! 2                     number of entries
//! orders 0 1234         topic, partition, offset
//! orders 1 987
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;

use logrun_model::{Offset, Str, TopicPartition};

use super::{MalformedFile, malformed, text};

/// Up to where each partition's log is known to be on the device (exclusive).
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// Where each partition's log starts, if DeleteRecords or retention moved it into a segment.
pub const LOG_START_OFFSET_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// Each partition's high watermark.
pub const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
/// Up to where each log is compacted (exclusive).
pub const CLEANER_OFFSET_CHECKPOINT: &str = "cleaner-offset-checkpoint";

const VERSION: &str = "0";

/// The contents of one checkpoint file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetCheckpoint(pub BTreeMap<TopicPartition, Offset>);

impl OffsetCheckpoint {
    pub fn decode(file: &[u8]) -> Result<Self, MalformedFile> {
        // Kafka makes its checkpoint files empty before it first writes them.
        if file.is_empty() {
            return Ok(Self::default());
        }
        let mut lines = text(file)?.lines().enumerate().map(|(i, l)| (i + 1, l));
        let (n, version) = lines.next().ok_or_else(|| malformed(1, "the version is missing"))?;
        if version.trim() != VERSION {
            return Err(malformed(n, format!("version `{version}` is not known")));
        }
        let (n, count) = lines.next().ok_or_else(|| malformed(2, "the number of entries is missing"))?;
        let count: usize = count.trim().parse().map_err(|_| malformed(n, format!("`{count}` is not a number")))?;
        let mut map = BTreeMap::new();
        for (n, line) in lines.by_ref().take(count) {
            let mut words = line.split_whitespace();
            let (Some(topic), Some(partition), Some(offset), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(malformed(n, format!("`{line}` is not a topic, a partition and an offset")));
            };
            let (Ok(partition), Ok(offset)) = (partition.parse::<i32>(), offset.parse::<i64>()) else {
                return Err(malformed(n, format!("`{line}` has a number that is none")));
            };
            map.insert(TopicPartition { topic: Str::from(topic), partition }, Offset(offset));
        }
        if map.len() < count {
            return Err(malformed(2, format!("{count} entries are announced, {} are there", map.len())));
        }
        Ok(Self(map))
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = format!("{VERSION}\n{}\n", self.0.len());
        for (tp, offset) in &self.0 {
            // Writing to a String can't fail.
            let _ = writeln!(out, "{} {} {offset}", tp.topic, tp.partition);
        }
        out.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_kafka_writes() {
        let c = OffsetCheckpoint::decode(b"0\n2\n__consumer_offsets 22 0\nmy-topic 0 1500\n").unwrap();
        assert_eq!(c.0[&TopicPartition::new("my-topic", 0)], Offset(1500));
        assert_eq!(c.encode(), b"0\n2\n__consumer_offsets 22 0\nmy-topic 0 1500\n");
        assert_eq!(OffsetCheckpoint::decode(b"0\n0\n").unwrap(), OffsetCheckpoint::default());
        assert_eq!(OffsetCheckpoint::decode(b"").unwrap(), OffsetCheckpoint::default());
    }

    #[test]
    fn refuses_what_kafka_does_not_write() {
        for bad in ["1\n0\n", "0\n", "0\nx\n", "0\n2\na 0 1\n", "0\n1\na 0\n", "0\n1\na 0 x\n", "0\n1\na b 0 1\n"] {
            assert!(OffsetCheckpoint::decode(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(map in proptest::collection::btree_map(("[a-zA-Z0-9._-]{1,20}", 0i32..100), 0i64.., 0..20)) {
            let c = OffsetCheckpoint(
                map.into_iter().map(|((t, p), o)| (TopicPartition::new(t, p), Offset(o))).collect(),
            );
            prop_assert_eq!(OffsetCheckpoint::decode(&c.encode()).unwrap(), c);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = OffsetCheckpoint::decode(&bytes);
        }
    }
}
