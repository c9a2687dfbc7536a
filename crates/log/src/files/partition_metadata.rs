//! `partition.metadata`: the id of the topic that a partition's directory belongs to (KIP-516).
//!
//! ```text
//! version: 0
//! topic_id: 4L6g3nShT-eMCtK--X86sw
//! ```

use logrun_model::TopicId;

use super::{MalformedFile, malformed, text};

/// The contents of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    pub topic_id: TopicId,
}

impl PartitionMetadata {
    pub fn encode(&self) -> Vec<u8> {
        // Kafka writes no newline at the end.
        format!("version: 0\ntopic_id: {}", self.topic_id).into_bytes()
    }

    pub fn decode(file: &[u8]) -> Result<Self, MalformedFile> {
        let mut lines = text(file)?.lines();
        match lines.next().and_then(|l| l.strip_prefix("version:")).map(str::trim) {
            Some("0") => {}
            other => return Err(malformed(1, format!("version {other:?} is not known"))),
        }
        let id = lines
            .next()
            .and_then(|l| l.strip_prefix("topic_id:"))
            .ok_or_else(|| malformed(2, "the topic id is missing"))?;
        let topic_id: TopicId = id.trim().parse().map_err(|e| malformed(2, format!("{e}")))?;
        if topic_id.is_zero() {
            return Err(malformed(2, "the topic id is zero"));
        }
        Ok(Self { topic_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_kafkas_text() {
        let text = b"version: 0\ntopic_id: 4L6g3nShT-eMCtK--X86sw";
        let m = PartitionMetadata::decode(text).unwrap();
        assert_eq!(m.encode(), text);
        assert!(PartitionMetadata::decode(b"").is_err());
        assert!(PartitionMetadata::decode(b"version: 1\ntopic_id: 4L6g3nShT-eMCtK--X86sw").is_err());
        assert!(PartitionMetadata::decode(b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA").is_err());
        assert!(PartitionMetadata::decode(b"version: 0\n").is_err());
    }
}
