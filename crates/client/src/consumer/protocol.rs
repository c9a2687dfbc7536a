//! What the members of a classic group of protocol type `consumer` tell each other through the coordinator: Kafka's
//! `ConsumerProtocol`. Two bytes of version, then the message.
//!
//! A version newer than ours is read as our newest: later versions only add at the end.

use std::collections::BTreeMap;

use bytes::Bytes;
use logrun_model::{GenerationId, Str, TopicPartition};
use logrun_wire::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use logrun_wire::messages::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use logrun_wire::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use logrun_wire::{DecodeError, Decoder, EncodeError, Encoder, Message};

use super::assignor::MemberSubscription;

/// `ConsumerProtocol.PROTOCOL_TYPE`.
pub const PROTOCOL_TYPE: Str = Str::from_static("consumer");

fn write<M: Message>(message: &M) -> Result<Bytes, EncodeError> {
    let version = M::VALID_VERSIONS.max;
    let mut e = Encoder::with_capacity(2 + message.encoded_len(version)?);
    e.i16(version);
    message.encode(&mut e, version)?;
    Ok(e.into_bytes())
}

fn read<M: Message>(bytes: &Bytes) -> Result<M, DecodeError> {
    let mut d = Decoder::new(bytes.clone());
    let version = d.i16("version")?;
    // What follows is a later version's business.
    M::decode(&mut d, version.min(M::VALID_VERSIONS.max))
}

fn by_topic<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> BTreeMap<&'a Str, Vec<i32>> {
    let mut topics: BTreeMap<&Str, Vec<i32>> = BTreeMap::new();
    for tp in partitions {
        topics.entry(&tp.topic).or_default().push(tp.partition);
    }
    topics.values_mut().for_each(|p| p.sort_unstable());
    topics
}

/// Writes a subscription, in the newest version.
///
/// # Errors
/// A field that is too long for the protocol.
pub fn write_subscription(s: &MemberSubscription) -> Result<Bytes, EncodeError> {
    let owned = by_topic(&s.owned_partitions)
        .into_iter()
        .map(|(topic, partitions)| OwnedTopic { topic: topic.clone(), partitions })
        .collect();
    let mut topics = s.topics.clone();
    topics.sort();
    write(&ConsumerProtocolSubscription {
        topics,
        user_data: s.user_data.clone(),
        owned_partitions: owned,
        generation_id: s.generation_id.get(),
        rack_id: s.rack_id.clone(),
    })
}

/// Reads a subscription; the instance id is not in it.
///
/// # Errors
/// Bytes that are no subscription.
pub fn read_subscription(bytes: &Bytes) -> Result<MemberSubscription, DecodeError> {
    let s: ConsumerProtocolSubscription = read(bytes)?;
    let owned = s.owned_partitions.into_iter();
    Ok(MemberSubscription {
        topics: s.topics,
        user_data: s.user_data,
        owned_partitions: owned
            .flat_map(|t| {
                t.partitions.into_iter().map(move |p| TopicPartition { topic: t.topic.clone(), partition: p })
            })
            .collect(),
        generation_id: GenerationId(s.generation_id),
        rack_id: s.rack_id,
        group_instance_id: None,
    })
}

/// Writes what a member is assigned.
///
/// # Errors
/// A field that is too long for the protocol.
pub fn write_assignment(partitions: &[TopicPartition]) -> Result<Bytes, EncodeError> {
    let assigned_partitions = by_topic(partitions)
        .into_iter()
        .map(|(topic, partitions)| AssignedTopic { topic: topic.clone(), partitions })
        .collect();
    write(&ConsumerProtocolAssignment { assigned_partitions, ..Default::default() })
}

/// Reads what a member is assigned. No bytes at all are no partitions.
///
/// # Errors
/// Bytes that are no assignment.
pub fn read_assignment(bytes: &Bytes) -> Result<Vec<TopicPartition>, DecodeError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let a: ConsumerProtocolAssignment = read(bytes)?;
    let topics = a.assigned_partitions.into_iter();
    Ok(topics
        .flat_map(|t| t.partitions.into_iter().map(move |p| TopicPartition { topic: t.topic.clone(), partition: p }))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition::new(topic, partition)
    }

    #[test]
    fn subscriptions_and_assignments_come_back() {
        let s = MemberSubscription {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(Bytes::from_static(b"x")),
            owned_partitions: vec![tp("a", 0), tp("a", 3)],
            generation_id: GenerationId(7),
            rack_id: Some("r".into()),
            group_instance_id: None,
        };
        assert_eq!(read_subscription(&write_subscription(&s).unwrap()).unwrap(), s);
        let list = vec![tp("a", 1), tp("b", 0), tp("b", 2)];
        assert_eq!(read_assignment(&write_assignment(&list).unwrap()).unwrap(), list);
        assert_eq!(read_assignment(&Bytes::new()).unwrap(), vec![]);
    }

    #[test]
    fn old_and_future_versions_are_read() {
        // Version 0: one topic `t`, no user data.
        let old = Bytes::from_static(b"\x00\x00\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff");
        let s = read_subscription(&old).unwrap();
        assert_eq!((s.topics, s.generation_id), (vec![Str::from("t")], GenerationId::NONE));
        let mut future = write_subscription(&MemberSubscription::default()).unwrap().to_vec();
        future[1] = 9;
        future.extend(b"more");
        assert_eq!(read_subscription(&future.into()).unwrap(), MemberSubscription::default());
        assert!(read_subscription(&Bytes::from_static(b"\x00")).is_err());
        assert!(read_assignment(&Bytes::from_static(b"\x00\x01\x7f\xff\xff\xff")).is_err());
    }
}
