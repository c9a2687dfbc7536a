//! [`Records`]: what a poll gives, as views on the bytes that the broker sent. Kafka's `ConsumerRecords`.
//!
//! A record is walked once and never copied; what is kept for each is where its parts lie. Keeping a [`ConsumerRecord`]'s
//! bytes beyond the poll is either [`OwnedRecord`] (a copy) or [`ConsumerRecord::value_bytes`] (shares the fetched buffer).

use std::ops::Range;

use bytes::Bytes;
use logrun_model::{LeaderEpoch, Offset, Str, TimestampMs, TopicPartition};
use logrun_record::{HeaderWalker, TimestampType};

/// Where the parts of one record lie in its batch's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub offset: Offset,
    pub timestamp: TimestampMs,
    pub key: Span,
    pub value: Span,
    pub headers_start: u32,
    pub end: u32,
    pub header_count: u32,
}

/// A range, or nothing (null).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: u32,
    /// -1 is null.
    len: i32,
}

impl Span {
    pub const NULL: Self = Self { start: 0, len: -1 };

    /// Of a range in a body, which is shorter than 2 GiB.
    pub fn of(range: Option<&Range<usize>>) -> Self {
        range.map_or(Self::NULL, |r| Self { start: r.start as u32, len: r.len() as i32 })
    }

    pub fn range(self) -> Option<Range<usize>> {
        let len = usize::try_from(self.len).ok()?;
        Some(self.start as usize..self.start as usize + len)
    }
}

/// Records of one batch.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub tp: TopicPartition,
    pub body: Bytes,
    pub slots: Vec<Slot>,
    pub timestamp_type: TimestampType,
    pub leader_epoch: LeaderEpoch,
}

/// The records of one poll, in the order in which they are to be processed.
#[derive(Clone, Debug, Default)]
pub struct Records {
    parts: Vec<Part>,
    len: usize,
}

impl Records {
    pub(crate) fn of(parts: Vec<Part>) -> Self {
        let len = parts.iter().map(|p| p.slots.len()).sum();
        Self { parts, len }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them. Those of one partition are in the order of their offsets.
    pub fn iter(&self) -> Iter<'_> {
        Iter { parts: self.parts.iter(), current: None }
    }

    /// Those of one partition.
    pub fn of_partition<'a>(&'a self, tp: &'a TopicPartition) -> impl Iterator<Item = ConsumerRecord<'a>> + 'a {
        self.parts
            .iter()
            .filter(move |p| p.tp == *tp)
            .flat_map(|part| part.slots.iter().map(move |slot| ConsumerRecord { part, slot }))
    }

    /// The partitions that they are of, each once.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        let mut list: Vec<TopicPartition> = self.parts.iter().map(|p| p.tp.clone()).collect();
        list.sort();
        list.dedup();
        list
    }

    /// The next offset of each partition in it: what a commit of all these records commits.
    pub fn next_offsets(&self) -> Vec<(TopicPartition, super::OffsetAndMetadata)> {
        let mut list: std::collections::BTreeMap<&TopicPartition, super::OffsetAndMetadata> = Default::default();
        for part in &self.parts {
            if let Some(last) = part.slots.last() {
                let next = super::OffsetAndMetadata {
                    offset: last.offset.next(),
                    leader_epoch: part.leader_epoch,
                    metadata: Str::EMPTY,
                };
                list.insert(&part.tp, next);
            }
        }
        list.into_iter().map(|(tp, o)| (tp.clone(), o)).collect()
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = ConsumerRecord<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// See [`Records::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    parts: std::slice::Iter<'a, Part>,
    current: Option<(&'a Part, std::slice::Iter<'a, Slot>)>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = ConsumerRecord<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((part, slots)) = &mut self.current
                && let Some(slot) = slots.next()
            {
                return Some(ConsumerRecord { part, slot });
            }
            let part = self.parts.next()?;
            self.current = Some((part, part.slots.iter()));
        }
    }
}

/// One record, as a view on the poll that gave it.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerRecord<'a> {
    part: &'a Part,
    slot: &'a Slot,
}

impl<'a> ConsumerRecord<'a> {
    pub(crate) fn of(part: &'a Part, slot: &'a Slot) -> Self {
        Self { part, slot }
    }

    /// Its topic and partition.
    pub fn topic_partition(&self) -> &'a TopicPartition {
        &self.part.tp
    }

    /// Its topic.
    pub fn topic(&self) -> &'a str {
        &self.part.tp.topic
    }

    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.part.tp.partition
    }

    /// Its offset.
    pub fn offset(&self) -> Offset {
        self.slot.offset
    }

    /// Its time, in milliseconds since the Unix epoch; none in the oldest format.
    pub fn timestamp(&self) -> TimestampMs {
        self.slot.timestamp
    }

    /// Whose clock the time is of.
    pub fn timestamp_type(&self) -> TimestampType {
        self.part.timestamp_type
    }

    /// The epoch of the leader that it was written to, if it is known.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.part.leader_epoch
    }

    /// Its key; `None` is null.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.slot.key.range().map(|r| &self.part.body[r])
    }

    /// Its value; `None` is null.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.slot.value.range().map(|r| &self.part.body[r])
    }

    /// Its key, sharing the fetched buffer, which lives as long as the result.
    pub fn key_bytes(&self) -> Option<Bytes> {
        self.slot.key.range().map(|r| self.part.body.slice(r))
    }

    /// Its value, sharing the fetched buffer, which lives as long as the result.
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.slot.value.range().map(|r| self.part.body.slice(r))
    }

    /// How many headers it has.
    pub fn header_count(&self) -> usize {
        self.slot.header_count as usize
    }

    /// Its headers in the producer's order; a key may occur more than once, and is UTF-8 by convention only.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + 'a {
        let body: &'a [u8] = &self.part.body;
        let s = self.slot;
        HeaderWalker::new(body, s.headers_start as usize, s.end as usize, s.header_count as usize)
            .map(move |(key, value)| (&body[key], value.map(|v| &body[v])))
    }

    /// On its own, sharing the fetched buffer, which lives as long as the result.
    pub fn to_shared(&self) -> OwnedRecord {
        let body = &self.part.body;
        let s = self.slot;
        let headers = HeaderWalker::new(body, s.headers_start as usize, s.end as usize, s.header_count as usize);
        OwnedRecord {
            topic_partition: self.part.tp.clone(),
            offset: self.offset(),
            timestamp: self.timestamp(),
            timestamp_type: self.timestamp_type(),
            leader_epoch: self.leader_epoch(),
            key: self.key_bytes(),
            value: self.value_bytes(),
            headers: headers.map(|(k, v)| (body.slice(k), v.map(|v| body.slice(v)))).collect(),
        }
    }

    /// A copy of its own.
    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            topic_partition: self.part.tp.clone(),
            offset: self.offset(),
            timestamp: self.timestamp(),
            timestamp_type: self.timestamp_type(),
            leader_epoch: self.leader_epoch(),
            key: self.key().map(Bytes::copy_from_slice),
            value: self.value().map(Bytes::copy_from_slice),
            headers: self.headers().map(|(k, v)| (Bytes::copy_from_slice(k), v.map(Bytes::copy_from_slice))).collect(),
        }
    }
}

/// A record that stands on its own: a copy, or a share of the buffer that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Its topic and partition.
    pub topic_partition: TopicPartition,
    /// Its offset.
    pub offset: Offset,
    /// Its time, in milliseconds since the Unix epoch.
    pub timestamp: TimestampMs,
    /// Whose clock the time is of.
    pub timestamp_type: TimestampType,
    /// The epoch of the leader that it was written to, if it is known.
    pub leader_epoch: LeaderEpoch,
    /// Its key; `None` is null.
    pub key: Option<Bytes>,
    /// Its value; `None` is null.
    pub value: Option<Bytes>,
    /// Its headers in the producer's order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}
