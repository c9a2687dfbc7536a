//! Validation of records before they are appended (Kafka's `LogValidator` and `ProduceRequest.validateRecords`).
//!
//! Walks, and decompresses, every record, as Kafka does: what a consumer can't decode must not get into a log. In the
//! same pass timestamps are checked or set and the codec is changed where the topic asks for it. Offsets and the leader
//! epoch are assigned later ([`crate::PreparedBatch::assign`]); nothing here knows the partition.

use bytes::Bytes;
use logrun_model::{Offset, TimestampMs};
use thiserror::Error;

use crate::TimestampType;
use crate::batch::{Batch, split_batches};
use crate::builder::BatchBuilder;
use crate::compress::{Compression, CompressionType, Limits, compress};
use crate::error::BatchError;
use crate::prepared::PreparedBatch;
use crate::record::{RecordParts, RecordWalker};

/// Who wrote the records that are to be appended: how much is checked depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// Another replica's leader: verbatim, it has validated them.
    Replication,
    /// This node's group or transaction coordinator.
    Coordinator,
    /// A producer: everything is checked.
    Client,
    /// The quorum's leader, for the metadata log: verbatim, the offsets are already assigned.
    RaftLeader,
}

/// The codec that a topic stores (`compression.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TargetCompression {
    /// Whatever the producer chose.
    #[default]
    Producer,
    /// This one; batches that already have the codec keep their level.
    Codec(Compression),
}

/// What a topic demands of the records appended to it.
#[derive(Clone, Copy, Debug)]
pub struct ValidationRules {
    pub origin: AppendOrigin,
    /// Broker time.
    pub now: TimestampMs,
    pub target_compression: TargetCompression,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `max.message.bytes`: of a whole batch, as it is stored.
    pub max_message_bytes: usize,
    /// Whether `cleanup.policy` holds `compact`: every record then needs a key.
    pub compacted: bool,
    /// Produce before version 7 may not send zstd (KIP-110).
    pub zstd_allowed: bool,
    pub limits: Limits,
}

impl ValidationRules {
    /// Kafka's defaults.
    pub fn new(origin: AppendOrigin, now: TimestampMs) -> Self {
        Self {
            origin,
            now,
            target_compression: TargetCompression::Producer,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            max_message_bytes: 1_048_588,
            compacted: false,
            zstd_allowed: true,
            limits: Limits::default(),
        }
    }
}

/// Batches that may be appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validated {
    pub batches: Vec<PreparedBatch>,
    /// The highest timestamp of all records, or none.
    pub max_timestamp: TimestampMs,
    /// How many offsets after the append's first the (first) record with that timestamp lies; -1 for none.
    pub offset_delta_of_max_timestamp: i64,
    pub record_conversion_stats: RecordConversionStats,
}

/// What validation cost, for the broker's metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordConversionStats {
    /// Bytes that were needed besides the request: decompressed and converted records.
    pub temporary_memory_bytes: u64,
    pub num_records_converted: u32,
}

/// So many of a batch's records are named when it is refused. Each costs a message, on the wire too, where a record that is
/// refused may be less than a byte of the request: all of them would be gigabytes for one request of a hundred kilobytes.
const RECORD_ERRORS_MAX: usize = 100;

/// One record that made its batch be refused (KIP-467).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The record's index within the batch.
    pub batch_index: i32,
    pub message: String,
}

/// Why records may not be appended. The name of each variant is Kafka's error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValidationError {
    #[error("{0}")]
    CorruptMessage(BatchError),
    #[error("{message}")]
    InvalidRecord { message: String, record_errors: Vec<RecordError> },
    #[error("{} records were refused because of their timestamps", counted(record_errors))]
    InvalidTimestamp { record_errors: Vec<RecordError> },
    #[error("the record batch has {size} bytes, more than the {max} that the topic takes")]
    MessageTooLarge { size: usize, max: usize },
    #[error("{0}")]
    UnsupportedCompressionType(String),
    #[error("{0}")]
    UnsupportedForMessageFormat(String),
}

/// How many there are, as far as they were counted.
fn counted(errors: &[RecordError]) -> String {
    let or_more = if errors.len() == RECORD_ERRORS_MAX { " or more" } else { "" };
    format!("{}{or_more}", errors.len())
}

impl ValidationError {
    fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidRecord { message: message.into(), record_errors: Vec::new() }
    }

    fn of_batch(e: BatchError) -> Self {
        match e {
            BatchError::CrcMismatch { .. } => Self::CorruptMessage(e),
            BatchError::UnknownCompression(_) => Self::UnsupportedCompressionType(e.to_string()),
            // A producer that gets this splits the batch and sends it again, which is the remedy here too.
            BatchError::TooLargeDecompressed { limit, .. } => Self::MessageTooLarge { size: limit, max: limit },
            BatchError::TooLargeToBuild(_) => Self::MessageTooLarge { size: i32::MAX as usize, max: i32::MAX as usize },
            e => Self::invalid(e.to_string()),
        }
    }

    /// The records to blame, for the produce response.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::InvalidRecord { record_errors, .. } | Self::InvalidTimestamp { record_errors } => record_errors,
            _ => &[],
        }
    }
}

/// Validates `records` under `rules` and prepares them for append.
///
/// A torn batch behind whole ones is left out, as Kafka trims it.
pub fn validate(records: Bytes, rules: &ValidationRules) -> Result<Validated, ValidationError> {
    let mut out =
        Validated { max_timestamp: TimestampMs::NONE, offset_delta_of_max_timestamp: -1, ..Validated::default() };
    let mut offset_delta = 0i64;
    let batches = split(records, rules)?;
    out.batches.reserve_exact(batches.len());
    for batch in batches {
        let (prepared, max) = match rules.origin {
            AppendOrigin::Replication | AppendOrigin::RaftLeader => verbatim(&batch, rules)?,
            AppendOrigin::Client | AppendOrigin::Coordinator => {
                check_head(&batch, rules)?;
                checked(&batch, rules, &mut out.record_conversion_stats)?
            }
        };
        if let Some((delta, timestamp)) = max
            && timestamp > out.max_timestamp
        {
            out.max_timestamp = timestamp;
            out.offset_delta_of_max_timestamp = offset_delta.saturating_add(delta);
        }
        offset_delta = offset_delta.saturating_add(i64::from(prepared.header().last_offset_delta).saturating_add(1));
        out.batches.push(prepared);
    }
    Ok(out)
}

/// The whole batches in `records`, of magic 2 only; exactly one if a producer sent them.
fn split(records: Bytes, rules: &ValidationRules) -> Result<Vec<Batch>, ValidationError> {
    let mut batches: Vec<Batch> = Vec::new();
    for batch in split_batches(records) {
        match batch {
            Ok(_) if rules.origin == AppendOrigin::Client && !batches.is_empty() => {
                return Err(ValidationError::invalid(
                    "a produce request must have exactly one record batch for a partition",
                ));
            }
            Ok(b) => batches.push(b),
            Err(BatchError::Incomplete { .. }) => break,
            Err(BatchError::UnknownMagic(magic)) => {
                let message = format!("only record batches of magic 2 can be appended, and this one has magic {magic}");
                return Err(match rules.origin {
                    AppendOrigin::Client => ValidationError::invalid(message),
                    _ => ValidationError::UnsupportedForMessageFormat(message),
                });
            }
            Err(e @ BatchError::InvalidLength { .. }) => return Err(ValidationError::CorruptMessage(e)),
            Err(e) => return Err(ValidationError::of_batch(e)),
        }
    }
    if batches.is_empty() && rules.origin == AppendOrigin::Client {
        return Err(ValidationError::invalid("a produce request must have a record batch for each partition"));
    }
    Ok(batches)
}

fn check_size(size: usize, rules: &ValidationRules) -> Result<(), ValidationError> {
    if size > rules.max_message_bytes {
        return Err(ValidationError::MessageTooLarge { size, max: rules.max_message_bytes });
    }
    Ok(())
}

/// A batch whose writer has validated it: only that it arrived whole is checked.
fn verbatim(
    batch: &Batch,
    rules: &ValidationRules,
) -> Result<(PreparedBatch, Option<(i64, TimestampMs)>), ValidationError> {
    if rules.origin == AppendOrigin::RaftLeader {
        check_size(batch.bytes.len(), rules)?;
    }
    batch.verify_crc().map_err(ValidationError::CorruptMessage)?;
    let h = &batch.header;
    // As the log's time index has it: the batch's last offset stands for the record's.
    let max = h.max_timestamp.is_some().then_some((i64::from(h.last_offset_delta), h.max_timestamp));
    Ok((PreparedBatch::from_batch(batch), max))
}

/// What the header alone tells.
fn check_head(batch: &Batch, rules: &ValidationRules) -> Result<(), ValidationError> {
    let h = &batch.header;
    if rules.origin == AppendOrigin::Client {
        if h.attributes.compression() == Ok(CompressionType::Zstd) && !rules.zstd_allowed {
            return Err(ValidationError::UnsupportedCompressionType(
                "produce requests before version 7 may not use zstd".to_owned(),
            ));
        }
        if h.base_offset != Offset::ZERO {
            return Err(ValidationError::invalid(format!(
                "the base offset of a produced record batch must be 0, and is {}",
                h.base_offset
            )));
        }
    }
    check_size(batch.bytes.len(), rules)?;
    batch.verify_crc().map_err(ValidationError::CorruptMessage)?;
    h.attributes.compression().map_err(ValidationError::of_batch)?;
    if rules.origin != AppendOrigin::Client {
        return Ok(());
    }
    if h.last_offset_delta < 0 {
        return Err(ValidationError::invalid(format!(
            "the record batch's last offset delta is negative: {}",
            h.last_offset_delta
        )));
    }
    if h.records_count <= 0 {
        return Err(ValidationError::invalid(format!("the record batch declares {} records", h.records_count)));
    }
    if i64::from(h.last_offset_delta) + 1 != i64::from(h.records_count) {
        return Err(ValidationError::invalid(format!(
            "the record batch's last offset delta {} does not fit its {} records",
            h.last_offset_delta, h.records_count
        )));
    }
    if h.is_control() {
        return Err(ValidationError::invalid("clients may not write control records"));
    }
    if h.has_producer_id() && h.base_sequence.get() < 0 {
        return Err(ValidationError::invalid(format!(
            "the record batch of producer id {} has sequence {}",
            h.producer_id, h.base_sequence
        )));
    }
    Ok(())
}

/// What the walk over a batch's records found.
struct Walk {
    /// The first record with the highest timestamp: its index, and the timestamp.
    max: Option<(i64, TimestampMs)>,
    /// Whether offset deltas are 0, 1, 2 …
    consecutive: bool,
    errors: Vec<RecordError>,
    any_timestamp_error: bool,
}

fn walk(batch: &Batch, body: &[u8], rules: &ValidationRules) -> Result<Walk, ValidationError> {
    #[cfg(test)]
    crate::passes::count(|p| p.walks += 1);
    let mut w = Walk { max: None, consecutive: true, errors: Vec::new(), any_timestamp_error: false };
    let mut max = TimestampMs::NONE;
    for (index, parts) in (0i32..).zip(RecordWalker::new(body, batch.header.records_count)) {
        let parts = parts.map_err(ValidationError::of_batch)?;
        let timestamp = timestamp_of(batch, &parts);
        if let Some(error) = check_record(batch, &parts, timestamp, rules) {
            w.any_timestamp_error |= matches!(error, Fault::Timestamp(_));
            let (Fault::Key(message) | Fault::Timestamp(message)) = error;
            w.errors.push(RecordError { batch_index: index, message });
            if w.errors.len() == RECORD_ERRORS_MAX {
                // The batch is refused whatever the rest is.
                break;
            }
        }
        if timestamp > max {
            max = timestamp;
            w.max = Some((i64::from(index), timestamp));
        }
        w.consecutive &= parts.offset_delta == index;
    }
    Ok(w)
}

fn timestamp_of(batch: &Batch, parts: &RecordParts) -> TimestampMs {
    match batch.header.attributes.timestamp_type() {
        TimestampType::LogAppendTime => batch.header.max_timestamp,
        TimestampType::CreateTime => batch.header.base_timestamp.plus_ms(parts.timestamp_delta),
    }
}

enum Fault {
    Key(String),
    Timestamp(String),
}

fn check_record(batch: &Batch, parts: &RecordParts, timestamp: TimestampMs, rules: &ValidationRules) -> Option<Fault> {
    if rules.compacted && parts.key.is_none() && !batch.header.is_control() {
        return Some(Fault::Key("a compacted topic takes no record without a key".to_owned()));
    }
    if rules.timestamp_type == TimestampType::CreateTime && timestamp != TimestampMs::NONE {
        let age = rules.now.since_ms(timestamp);
        if age > rules.timestamp_before_max_ms || age.saturating_neg() > rules.timestamp_after_max_ms {
            let least = rules.now.get().saturating_sub(rules.timestamp_before_max_ms);
            let most = rules.now.get().saturating_add(rules.timestamp_after_max_ms);
            return Some(Fault::Timestamp(format!(
                "timestamp {timestamp} is out of range: it must be within [{least}, {most}]"
            )));
        }
    } else if batch.header.attributes.timestamp_type() == TimestampType::LogAppendTime {
        return Some(Fault::Timestamp("producers may not set the timestamp type to LogAppendTime".to_owned()));
    }
    None
}

/// Checks every record of a batch of ours or of a producer's and brings it into the form that the topic stores.
fn checked(
    batch: &Batch,
    rules: &ValidationRules,
    stats: &mut RecordConversionStats,
) -> Result<(PreparedBatch, Option<(i64, TimestampMs)>), ValidationError> {
    let h = &batch.header;
    let source = h.attributes.compression().map_err(ValidationError::of_batch)?;
    let target = match rules.target_compression {
        // Control records stay as they are unless they came compressed.
        TargetCompression::Codec(c) if c.codec != source && !(h.is_control() && source == CompressionType::None) => {
            Some(c)
        }
        _ => None,
    };
    let body = batch.decompressed(&rules.limits).map_err(ValidationError::of_batch)?;
    if source != CompressionType::None {
        stats.temporary_memory_bytes += body.len() as u64;
    }
    let w = walk(batch, &body, rules)?;
    if w.any_timestamp_error {
        return Err(ValidationError::InvalidTimestamp { record_errors: w.errors });
    }
    if !w.errors.is_empty() {
        return Err(ValidationError::InvalidRecord {
            message: format!("{} records were refused: {}", counted(&w.errors), w.errors[0].message),
            record_errors: w.errors,
        });
    }
    let mut prepared = match target {
        None if w.consecutive => PreparedBatch::from_batch(batch),
        _ => {
            let converted = convert(batch, &body, target, w.consecutive, rules).map_err(ValidationError::of_batch)?;
            check_size(converted.size_in_bytes(), rules)?;
            stats.temporary_memory_bytes += converted.size_in_bytes() as u64;
            stats.num_records_converted += h.records_count.unsigned_abs();
            converted
        }
    };
    let max = match rules.timestamp_type {
        // Every record then has the batch's timestamp, so the first is the first with the highest.
        TimestampType::LogAppendTime => Some((0, rules.now)),
        TimestampType::CreateTime => w.max,
    };
    prepared.set_max_timestamp(rules.timestamp_type, max.map_or(TimestampMs::NONE, |(_, t)| t));
    Ok((prepared, max))
}

/// The batch in another codec (`target`, or its own) and with consecutive offset deltas.
fn convert(
    batch: &Batch,
    body: &Bytes,
    target: Option<Compression>,
    consecutive: bool,
    rules: &ValidationRules,
) -> Result<PreparedBatch, BatchError> {
    let h = batch.header;
    let target = match target {
        Some(t) => t,
        None => Compression::of(h.attributes.compression()?),
    };
    if consecutive {
        let mut header = h;
        header.attributes = h.attributes.with_compression(target.codec);
        let body = match target.codec {
            CompressionType::None => body.clone(),
            _ => Bytes::from(compress(target, body)?),
        };
        return PreparedBatch::from_parts(header, body)
            .ok_or(BatchError::TooLargeToBuild("more bytes than a batch's length counts"));
    }
    // Some clients number the records of a batch wrongly; Kafka numbers them anew rather than refuse them.
    let mut builder = BatchBuilder::new(target)
        .producer(h.producer_id, h.producer_epoch, h.base_sequence)
        .transactional(h.is_transactional())
        .control(h.is_control());
    for record in batch.records(&rules.limits)? {
        let record = record?;
        let headers: Vec<_> = record.headers.iter().map(|r| (&r.key[..], r.value.as_deref())).collect();
        builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers)?;
    }
    builder.prepare()
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
