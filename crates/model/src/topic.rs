//! Topics and partitions by name and by id.

use std::fmt;

use thiserror::Error;

use crate::{Str, Uuid};

/// The id that a topic gets when it is created (KIP-516); never used again for another topic.
pub type TopicId = Uuid;

/// The number of a partition within its topic, from 0.
pub type PartitionIndex = i32;

/// A partition by its topic's name: for the protocol's edge and for messages to people.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Str,
    pub partition: PartitionIndex,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Str>, partition: PartitionIndex) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A partition by its topic's id: the key of everything inside, so that a re-created topic of the same name is another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIdPartition {
    pub topic_id: TopicId,
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicIdPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic_id, self.partition)
    }
}

impl fmt::Debug for TopicIdPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why a name can't be a topic's. The texts are shown to users.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidTopicName {
    #[error("a topic name can't be empty")]
    Empty,
    #[error("a topic name can't be `.` or `..`")]
    Dots,
    #[error("a topic name can't be longer than 249 characters; this one has {0}")]
    TooLong(usize),
    #[error(
        "topic name `{name}` has the character `{character}`; only ASCII letters, digits, `.`, `_` and `-` are allowed"
    )]
    Character { name: String, character: char },
}

/// Checks a topic name by Kafka's rules (`org.apache.kafka.common.internals.Topic`).
pub fn validate_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    if name.is_empty() {
        return Err(InvalidTopicName::Empty);
    }
    if name == "." || name == ".." {
        return Err(InvalidTopicName::Dots);
    }
    if let Some(character) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        return Err(InvalidTopicName::Character { name: name.chars().take(249).collect(), character });
    }
    if name.len() > 249 {
        return Err(InvalidTopicName::TooLong(name.len()));
    }
    Ok(())
}

/// Whether the topic is one of Kafka's own, which clients see marked as internal.
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        assert_eq!(validate_topic_name("orders.v1-x_Y"), Ok(()));
        assert_eq!(validate_topic_name(""), Err(InvalidTopicName::Empty));
        assert_eq!(validate_topic_name(".."), Err(InvalidTopicName::Dots));
        assert!(matches!(validate_topic_name("téma1"), Err(InvalidTopicName::Character { character: 'é', .. })));
        assert_eq!(validate_topic_name(&"a".repeat(250)), Err(InvalidTopicName::TooLong(250)));
        assert_eq!(validate_topic_name(&"a".repeat(249)), Ok(()));
    }
}
