//! The names of a log's files and directories (Kafka's `LogFileUtils` and `LocalLog.parseTopicPartitionName`).
//!
//! A segment's files carry its base offset in twenty digits; a partition's directory is `topic-partition`,
//! with a suffix while it is being deleted, moved in, or unwanted.

use std::path::{Path, PathBuf};

use logrun_model::{Offset, Str, TopicPartition, Uuid, validate_topic_name};

pub const LOG_SUFFIX: &str = ".log";
pub const INDEX_SUFFIX: &str = ".index";
pub const TIME_INDEX_SUFFIX: &str = ".timeindex";
pub const TXN_INDEX_SUFFIX: &str = ".txnindex";
pub const SNAPSHOT_SUFFIX: &str = ".snapshot";
/// Follows the whole name of a file that waits for its removal.
pub const DELETED_SUFFIX: &str = ".deleted";
/// A segment that compaction is writing.
pub const CLEANED_SUFFIX: &str = ".cleaned";
/// A segment that compaction has written and is putting in place.
pub const SWAP_SUFFIX: &str = ".swap";
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
pub const PARTITION_METADATA: &str = "partition.metadata";

/// The longest name that common file systems allow.
const NAME_BYTES_MAX: usize = 255;

/// The kinds of files that a segment consists of, in the order in which they are removed.
pub(crate) const SEGMENT_SUFFIXES: [&str; 4] = [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX];

/// The path of the file of `suffix` that belongs to `offset`.
pub fn segment_path(dir: &Path, offset: Offset, suffix: &str) -> PathBuf {
    dir.join(format!("{:020}{suffix}", offset.get()))
}

/// The base offset in a file name and what follows it: `00000000000000000042.log` is `(42, ".log")`.
pub fn parse_segment_name(name: &str) -> Option<(Offset, &str)> {
    let dot = name.find('.')?;
    let (digits, suffix) = name.split_at(dot);
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((Offset(digits.parse().ok()?), suffix))
}

/// What a partition's directory is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DirKind {
    /// The partition's log.
    Current,
    /// `-delete`: to be removed.
    Delete,
    /// `-future`: a copy that is to replace the current log in another directory (KIP-113).
    Future,
    /// `-stray`: the metadata knows nothing of it; kept for a person to look at.
    Stray,
}

impl DirKind {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Current => "",
            Self::Delete => "-delete",
            Self::Future => "-future",
            Self::Stray => "-stray",
        }
    }
}

/// Reads the name of a partition's directory; `None` if it is not one.
pub fn parse_dir_name(name: &str) -> Option<(TopicPartition, DirKind)> {
    for kind in [DirKind::Delete, DirKind::Future, DirKind::Stray] {
        // `topic-partition.uniqueId-delete`
        if let Some((partition, unique)) = name.strip_suffix(kind.suffix()).and_then(|rest| rest.rsplit_once('.'))
            && unique.len() == 32
            && unique.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return parse_topic_partition(partition, kind).map(|tp| (tp, kind));
        }
    }
    parse_topic_partition(name, DirKind::Current).map(|tp| (tp, DirKind::Current))
}

fn parse_topic_partition(name: &str, kind: DirKind) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    if partition.is_empty() || !partition.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = partition;
    let partition: i32 = partition.parse().ok()?;
    // A partition has one name: nobody here made `topic-007`.
    if kind == DirKind::Current && digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    // The names of directories to be deleted may have been cut to fit.
    if kind == DirKind::Current {
        validate_topic_name(topic).ok()?;
    }
    Some(TopicPartition::new(Str::from(topic), partition))
}

/// The directory name of a partition; all but the current kind get `unique` into it.
pub fn dir_name(partition: &TopicPartition, kind: DirKind, unique: Uuid) -> String {
    if kind == DirKind::Current {
        return partition.to_string();
    }
    let unique: String = unique.0.iter().map(|b| format!("{b:02x}")).collect();
    let tail = format!("-{}.{unique}{}", partition.partition, kind.suffix());
    // Kafka cuts the topic so that the name fits, for all but future directories, whose topic must stay legible.
    let topic = partition.topic.as_str();
    let room = NAME_BYTES_MAX.saturating_sub(tail.len());
    let topic = if kind == DirKind::Future { topic } else { &topic[..topic.len().min(room)] };
    format!("{topic}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_segment_names() {
        assert_eq!(parse_segment_name("00000000000000000042.log"), Some((Offset(42), ".log")));
        assert_eq!(parse_segment_name("00000000000000000042.log.deleted"), Some((Offset(42), ".log.deleted")));
        assert_eq!(parse_segment_name("42.log"), None);
        assert_eq!(parse_segment_name("99999999999999999999.log"), None);
        assert_eq!(parse_segment_name("leader-epoch-checkpoint"), None);
    }

    #[test]
    fn reads_directory_names() {
        let tp = TopicPartition::new("a-b.c", 3);
        assert_eq!(parse_dir_name("a-b.c-3"), Some((tp.clone(), DirKind::Current)));
        for kind in [DirKind::Delete, DirKind::Future, DirKind::Stray] {
            let name = dir_name(&tp, kind, Uuid([0xab; 16]));
            assert_eq!(parse_dir_name(&name), Some((tp.clone(), kind)), "{name}");
        }
        for no in ["", "lost+found", "topic", "-1", "topic-", "topic-x", "topic--1", "topic-99999999999", "topic-01"] {
            assert!(parse_dir_name(no).is_none_or(|(tp, _)| tp.topic.as_str() == "topic-"), "{no}");
        }
    }

    #[test]
    fn long_topics_fit_when_deleted() {
        let tp = TopicPartition::new("t".repeat(249), 12345);
        assert!(dir_name(&tp, DirKind::Delete, Uuid([1; 16])).len() <= 255);
    }

    proptest! {
        #[test]
        fn any_name_is_read_or_refused(name in "\\PC{0,60}") {
            let _ = parse_dir_name(&name);
            let _ = parse_segment_name(&name);
        }
    }
}
