//! Batches and records of a segment or of a snapshot of the metadata.

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use logrun_io::OpenMode;
use logrun_log::{Span, WalkError, Walker, parse_dir_name};
use logrun_record::{AnyBatch, Batch, ControlRecordType, Limits, Record, end_txn_marker};

use super::{Row, Show, ShowError, corrupt, io_error, walk_error};
use crate::schema::{CoordinatorLog, Json, control_record, metadata_record};

const CHUNK_BYTES: usize = 1 << 20;

/// Whose records a file holds, by the name of its directory.
enum Meaning {
    Plain,
    Metadata,
    Coordinator(CoordinatorLog),
}

fn meaning(path: &Path) -> Meaning {
    let dir = path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let topic = parse_dir_name(&dir).map(|(tp, _)| tp.topic.as_str().to_owned()).unwrap_or_default();
    if topic == "__cluster_metadata" || path.extension().is_some_and(|e| e == "checkpoint") {
        return Meaning::Metadata;
    }
    CoordinatorLog::of_topic(&topic).map_or(Meaning::Plain, Meaning::Coordinator)
}

impl Show<'_> {
    pub(super) fn batches(&mut self, path: &Path) -> Result<(), ShowError> {
        let what = if self.options.records { "records" } else { "batches" };
        self.sink.section(path, what)?;
        let meaning = meaning(path);
        let file = self.disk.open(path, OpenMode::Read).map_err(io_error(path))?;
        let len = file.len().map_err(io_error(path))?;
        let mut walker = Walker::new(file, 0, len, CHUNK_BYTES);
        while self.left > 0 {
            let span = match walker.next_span() {
                Ok(Some(span)) if span.base_offset >= self.options.to => break,
                Ok(Some(span)) => span,
                Ok(None) => break,
                // What a kill leaves behind the last batch.
                Err(WalkError::NotABatch { position, reason }) => {
                    let rest = (len - position) as i64;
                    self.sink.section(path, "behind the last batch")?;
                    self.sink.row(vec![
                        ("position", (position as i64).into()),
                        ("bytes", rest.into()),
                        ("reason", reason.into()),
                    ])?;
                    break;
                }
                Err(e) => return Err(walk_error(path, e)),
            };
            if span.last_offset < self.options.from {
                continue;
            }
            let batch = walker.batch(&span).map_err(|e| walk_error(path, e))?;
            if self.options.records {
                self.records(path, &batch, &meaning)?;
            } else {
                self.left -= 1;
                self.sink.row(batch_row(&span, &batch))?;
            }
        }
        Ok(())
    }

    fn records(&mut self, path: &Path, batch: &AnyBatch, meaning: &Meaning) -> Result<(), ShowError> {
        let limits = Limits::default();
        let bad = |e| corrupt(path, e);
        match batch {
            AnyBatch::V2(b) => {
                for record in b.records(&limits).map_err(bad)? {
                    self.record(Some(b), &record.map_err(bad)?, meaning)?;
                }
            }
            AnyBatch::Legacy(b) => {
                for record in b.records(&limits).map_err(bad)? {
                    self.record(None, &record, meaning)?;
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, batch: Option<&Batch>, record: &Record, meaning: &Meaning) -> Result<(), ShowError> {
        if record.offset < self.options.from || record.offset >= self.options.to || self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let mut row = vec![("offset", record.offset.get().into()), ("timestamp", record.timestamp.get().into())];
        let control = batch.filter(|b| b.header.is_control());
        row.extend(match (control, meaning) {
            (Some(batch), _) => control_columns(batch, record),
            (None, Meaning::Plain) => plain_columns(batch, record),
            (None, Meaning::Metadata) => match metadata_record(record.value.clone().unwrap_or_default()) {
                Ok((name, version, data)) => {
                    vec![("type", name.into()), ("version", i64::from(version).into()), ("data", data)]
                }
                Err(e) => vec![("type", Json::Null), ("version", Json::Null), ("data", e.to_string().into())],
            },
            (None, Meaning::Coordinator(log)) => {
                match log.show(record.key.clone().unwrap_or_default(), record.value.clone()) {
                    Ok(shown) => {
                        let data = |json: Json| json.get("data").cloned().unwrap_or(Json::Null);
                        let value = shown.value.map_or(Json::Null, data);
                        vec![("type", shown.name.into()), ("key", data(shown.key)), ("value", value)]
                    }
                    Err(e) => vec![("type", Json::Null), ("key", e.to_string().into()), ("value", Json::Null)],
                }
            }
        });
        self.sink.row(row)?;
        Ok(())
    }
}

fn batch_row(span: &Span, batch: &AnyBatch) -> Row {
    let header = batch.v2().map(|b| &b.header);
    let number = |n: Option<i64>| Json::from(n.filter(|n| *n >= 0));
    let codec = match batch {
        AnyBatch::V2(b) => b.header.attributes.compression(),
        AnyBatch::Legacy(b) => b.compression(),
    };
    let kind = match header {
        Some(h) if h.is_control() => "control",
        Some(h) if h.is_transactional() => "transactional",
        _ => "data",
    };
    vec![
        ("baseOffset", span.base_offset.get().into()),
        ("lastOffset", span.last_offset.get().into()),
        ("position", (span.position as i64).into()),
        ("bytes", (span.size as i64).into()),
        ("records", header.map(|h| i64::from(h.records_count)).into()),
        ("codec", codec.map_or("unknown", |codec| codec.name()).into()),
        ("kind", kind.into()),
        ("producerId", number(header.map(|h| h.producer_id.get()))),
        ("baseSequence", number(header.map(|h| i64::from(h.base_sequence.get())))),
        ("leaderEpoch", number(Some(i64::from(span.leader_epoch.get())))),
        ("maxTimestamp", span.max_timestamp.get().into()),
        ("crc", if batch.verify_crc().is_ok() { "ok" } else { "WRONG" }.into()),
    ]
}

fn plain_columns(batch: Option<&Batch>, record: &Record) -> Row {
    let text = |bytes: &Option<Bytes>| bytes.as_deref().map(readable).into();
    let headers = record.headers.iter().map(|h| {
        let key = Json::Text(String::from_utf8_lossy(&h.key).into_owned());
        Json::Array(vec![key, text(&h.value)])
    });
    let producer = batch.map(|b| b.header.producer_id.get()).filter(|id| *id >= 0);
    vec![
        ("key", text(&record.key)),
        ("value", text(&record.value)),
        ("headers", Json::Array(headers.collect())),
        ("producerId", producer.into()),
    ]
}

fn control_columns(batch: &Batch, record: &Record) -> Row {
    let kind = ControlRecordType::parse_key(record.key.as_deref()).unwrap_or(ControlRecordType::Unknown(-1));
    let data = match kind {
        ControlRecordType::Commit | ControlRecordType::Abort => {
            let marker = end_txn_marker(batch, &Limits::default()).ok().flatten();
            Json::Object(vec![
                ("producerId", batch.header.producer_id.get().into()),
                ("producerEpoch", i64::from(batch.header.producer_epoch.get()).into()),
                ("coordinatorEpoch", marker.map(|m| i64::from(m.coordinator_epoch.get())).into()),
            ])
        }
        kind => match control_record(kind, record.value.clone().unwrap_or_default()) {
            Ok(json) => json.unwrap_or(Json::Null),
            Err(e) => e.to_string().into(),
        },
    };
    vec![("control", format!("{kind:?}").into()), ("data", data)]
}

/// Text as it is, anything else in Base64.
fn readable(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) => text.into(),
        _ => Json::Object(vec![("base64", BASE64_STANDARD.encode(bytes).into())]),
    }
}
