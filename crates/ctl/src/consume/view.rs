//! A record as conditions and formats look at it.

use std::borrow::Cow;
use std::cell::OnceCell;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use logrun_client::consumer::OwnedRecord;
use serde_json::Value;

use super::condition::{Part, Subject};
use crate::output::{Cell, object};
use crate::time::stamp;

/// A record, with its value read as JSON when somebody asks for it.
pub struct View<'r> {
    pub record: &'r OwnedRecord,
    json: OnceCell<Value>,
}

impl<'r> View<'r> {
    pub fn of(record: &'r OwnedRecord) -> Self {
        Self { record, json: OnceCell::new() }
    }

    /// All of it as a JSON object. Bytes that are no text come under another name, in base 64; with `parse` a value that
    /// is JSON comes as what it is and not as text.
    pub fn object(&self, parse: bool) -> String {
        let r = self.record;
        let (key_name, key) = bytes(r.key.as_deref(), "key", "key_base64");
        let (value_name, value) = match &r.value {
            Some(_) if parse && !self.json().is_null() => ("value", self.json().clone()),
            value => bytes(value.as_deref(), "value", "value_base64"),
        };
        let header = |(name, value): &(bytes::Bytes, Option<bytes::Bytes>)| {
            let (value_name, value) = bytes(value.as_deref(), "value", "value_base64");
            serde_json::json!({"name": String::from_utf8_lossy(name), value_name: value})
        };
        let fields = [
            ("topic", Cell::from(&r.topic_partition.topic)),
            ("partition", r.topic_partition.partition.into()),
            ("offset", r.offset.get().into()),
            ("timestamp", r.timestamp.get().into()),
            ("time", stamp(r.timestamp.get()).into()),
            (key_name, key.into()),
            (value_name, value.into()),
            ("headers", Value::Array(r.headers.iter().map(header).collect()).into()),
        ];
        object(&fields)
    }
}

fn bytes(bytes: Option<&[u8]>, text_name: &'static str, bytes_name: &'static str) -> (&'static str, Value) {
    match bytes {
        None => (text_name, Value::Null),
        Some(bytes) => match str::from_utf8(bytes) {
            Ok(text) => (text_name, text.into()),
            Err(_) => (bytes_name, BASE64_STANDARD.encode(bytes).into()),
        },
    }
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

impl Subject for View<'_> {
    fn json(&self) -> &Value {
        self.json.get_or_init(|| {
            let value = self.record.value.as_deref().unwrap_or_default();
            serde_json::from_slice(value).unwrap_or(Value::Null)
        })
    }

    fn part(&self, part: &Part) -> Value {
        let r = self.record;
        let of = |bytes: Option<&[u8]>| bytes.map_or(Value::Null, |b| text(b).into());
        match part {
            Part::Key => of(r.key.as_deref()),
            Part::Value => of(r.value.as_deref()),
            Part::Topic => r.topic_partition.topic.as_str().into(),
            Part::Partition => r.topic_partition.partition.into(),
            Part::Offset => r.offset.get().into(),
            Part::Timestamp => r.timestamp.get().into(),
            // The last one counts, as in Kafka's `Headers.lastHeader`.
            Part::Header(name) => {
                let header = r.headers.iter().rev().find(|(n, _)| n.as_ref() == name.as_bytes());
                header.map_or(Value::Null, |(_, value)| value.as_deref().map_or("".into(), |v| text(v).into()))
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use bytes::Bytes;
    use logrun_client::{Offset, TopicPartition};
    use logrun_model::{LeaderEpoch, TimestampMs};

    use super::*;

    /// A record for tests.
    pub fn record(
        partition: i32,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> OwnedRecord {
        OwnedRecord {
            topic_partition: TopicPartition::new("orders", partition),
            offset: Offset(offset),
            timestamp: TimestampMs(timestamp),
            timestamp_type: logrun_record::TimestampType::CreateTime,
            leader_epoch: LeaderEpoch::NONE,
            key: key.map(Bytes::copy_from_slice),
            value: value.map(Bytes::copy_from_slice),
            headers: vec![(Bytes::from_static(b"h"), Some(Bytes::from_static(b"1"))), (Bytes::from_static(b"h"), None)],
        }
    }

    #[test]
    fn as_json() {
        let text = record(3, 7, 1_709_209_815_250, Some(b"42"), Some(b"{\"a\": 1}"));
        let binary = record(0, 8, 0, None, Some(&[0xff, 0]));
        let lines = [View::of(&text).object(false), View::of(&text).object(true), View::of(&binary).object(true)];
        insta::assert_snapshot!("record_json", lines.join("\n"));
    }

    #[test]
    fn the_last_header_counts() {
        let record = record(0, 0, 0, None, None);
        assert_eq!(View::of(&record).part(&Part::Header("h".to_owned())), Value::from(""));
        assert_eq!(View::of(&record).part(&Part::Header("x".to_owned())), Value::Null);
    }
}
