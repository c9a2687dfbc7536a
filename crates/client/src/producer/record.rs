//! What a program hands to a producer, and what it gets back.

use logrun_model::TopicPartition;

/// A record to be sent: borrowed bytes, which are copied once, into the batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition, if the program chooses it.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None` is now.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; without one the record is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers: name and value, in order; a name may come again.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

impl<'a> Record<'a> {
    /// A record without key and value.
    pub fn to(topic: &'a str) -> Self {
        Self { topic, ..Self::default() }
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// Sets the value.
    #[must_use]
    pub fn value(mut self, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.value = Some(value.as_ref());
        self
    }

    /// Sets the partition.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the timestamp.
    #[must_use]
    pub fn timestamp(mut self, ms: i64) -> Self {
        self.timestamp = Some(ms);
        self
    }

    /// Sets the headers.
    #[must_use]
    pub fn headers(mut self, headers: &'a [(&'a [u8], Option<&'a [u8]>)]) -> Self {
        self.headers = headers;
        self
    }

    /// No fewer bytes than the record takes in a batch of its own: `AbstractRecords.estimateSizeInBytesUpperBound`.
    pub(super) fn size_max(&self) -> usize {
        // Attributes, and the longest form of every length, timestamp and offset.
        const AROUND: usize = 1 + 5 + 10 + 5 + 5 + 5 + 5;
        let headers: usize = self.headers.iter().map(|(k, v)| 10 + k.len() + v.map_or(0, <[u8]>::len)).sum();
        AROUND + self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers
    }
}

/// Where a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset; `None` if the broker didn't say (`acks=0`, or a batch that it had already).
    pub offset: Option<i64>,
    /// Milliseconds since 1970: the record's own, or the broker's where the topic says so.
    pub timestamp: i64,
}
