//! Tests of [`super::validate`]: each of Kafka's rules, and that what passes is read back the same.

use logrun_model::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence};
use proptest::prelude::*;

use super::*;
use crate::{AnyBatch, Record};

const NOW: i64 = 1_700_000_000_000;

fn rules() -> ValidationRules {
    ValidationRules::new(AppendOrigin::Client, TimestampMs(NOW))
}

fn builder(codec: CompressionType, times: &[i64]) -> BatchBuilder {
    let mut b = BatchBuilder::new(Compression::of(codec));
    for t in times {
        b.append(TimestampMs(*t), Some(b"key"), Some(b"value value value value"), &[]).unwrap();
    }
    b
}

fn bytes(codec: CompressionType, times: &[i64]) -> Bytes {
    builder(codec, times).build().unwrap().bytes
}

/// A batch whose header has been changed and sealed again.
fn altered(change: impl FnOnce(&mut crate::BatchHeader)) -> Bytes {
    let batch = builder(CompressionType::None, &[NOW, NOW]).build().unwrap();
    let mut header = batch.header;
    change(&mut header);
    PreparedBatch::from_parts(header, batch.payload()).unwrap().to_bytes()
}

fn invalid(result: Result<Validated, ValidationError>) -> String {
    match result {
        Err(ValidationError::InvalidRecord { message, .. }) => message,
        other => panic!("not INVALID_RECORD: {other:?}"),
    }
}

fn read(p: &PreparedBatch) -> Vec<Record> {
    let batch = p.to_batch();
    batch.verify_crc().unwrap();
    batch.records(&Limits::default()).unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_body_is_not_copied() {
    let frame = bytes(CompressionType::Lz4, &[NOW, NOW + 5, NOW + 5]);
    let v = validate(frame.clone(), &rules()).unwrap();
    let [batch] = &v.batches[..] else { panic!("one batch") };
    assert_eq!(batch.body().as_ptr(), frame[61..].as_ptr());
    assert_eq!((v.max_timestamp, v.offset_delta_of_max_timestamp), (TimestampMs(NOW + 5), 1));
    assert_eq!(batch.to_bytes(), frame);
    let mut placed = batch.clone();
    placed.assign(Offset(77), LeaderEpoch(4));
    let stored = placed.to_batch();
    stored.verify_crc().unwrap();
    assert_eq!((stored.header.base_offset, stored.header.partition_leader_epoch), (Offset(77), LeaderEpoch(4)));
}

#[test]
fn a_producer_sends_exactly_one_batch() {
    let one = bytes(CompressionType::None, &[NOW]);
    let two: Bytes = [&one[..], &one].concat().into();
    invalid(validate(two.clone(), &rules()));
    invalid(validate(Bytes::new(), &rules()));
    invalid(validate(one.slice(..40), &rules()));
    let torn_tail = two.slice(..two.len() - 3);
    assert_eq!(validate(torn_tail, &rules()).unwrap().batches.len(), 1);
    let coordinator = ValidationRules::new(AppendOrigin::Coordinator, TimestampMs(NOW));
    assert_eq!(validate(two, &coordinator).unwrap().batches.len(), 2);
}

#[test]
fn a_producers_header_is_checked() {
    invalid(validate(altered(|h| h.base_offset = Offset(1)), &rules()));
    invalid(validate(altered(|h| h.last_offset_delta = 5), &rules()));
    invalid(validate(altered(|h| h.last_offset_delta = -1), &rules()));
    invalid(validate(altered(|h| h.records_count = 0), &rules()));
    invalid(validate(altered(|h| (h.records_count, h.last_offset_delta) = (3, 2)), &rules()));
    invalid(validate(altered(|h| (h.records_count, h.last_offset_delta) = (1, 0)), &rules()));
    invalid(validate(altered(|h| h.attributes = h.attributes.with_control(true)), &rules()));
    invalid(validate(altered(|h| h.producer_id = ProducerId(4)), &rules()));
    let idempotent = altered(|h| {
        (h.producer_id, h.producer_epoch, h.base_sequence) = (ProducerId(4), ProducerEpoch(0), Sequence(0));
    });
    validate(idempotent, &rules()).unwrap();
    let unknown_codec = altered(|h| h.attributes.0 |= 7);
    assert!(matches!(validate(unknown_codec, &rules()), Err(ValidationError::UnsupportedCompressionType(_))));
}

#[test]
fn damage_and_size_are_told_apart() {
    let mut damaged = bytes(CompressionType::None, &[NOW]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(
        validate(damaged.into(), &rules()),
        Err(ValidationError::CorruptMessage(BatchError::CrcMismatch { .. }))
    ));
    let small = ValidationRules { max_message_bytes: 80, ..rules() };
    assert!(matches!(
        validate(bytes(CompressionType::None, &[NOW]), &small),
        Err(ValidationError::MessageTooLarge { max: 80, .. })
    ));
    let old = ValidationRules { zstd_allowed: false, ..rules() };
    assert!(matches!(
        validate(bytes(CompressionType::Zstd, &[NOW]), &old),
        Err(ValidationError::UnsupportedCompressionType(_))
    ));
    let mut magic_1 = bytes(CompressionType::None, &[NOW]).to_vec();
    magic_1[16] = 1;
    invalid(validate(magic_1.into(), &rules()));
}

#[test]
fn a_bomb_is_too_large() {
    let mut b = BatchBuilder::new(Compression::of(CompressionType::Zstd));
    b.append(TimestampMs(NOW), None, Some(&vec![0; 3_000_000]), &[]).unwrap();
    let limits = Limits { max_decompressed_bytes: 1 << 20, max_ratio: 1 << 20, ratio_exempt_bytes: 0 };
    let result = validate(b.build().unwrap().bytes, &ValidationRules { limits, ..rules() });
    assert!(matches!(result, Err(ValidationError::MessageTooLarge { .. })));
}

#[test]
fn garbage_under_a_right_crc_is_refused() {
    for codec in CompressionType::ALL {
        let garbage = altered(|h| h.attributes = h.attributes.with_compression(codec));
        let result = validate(garbage, &rules());
        match codec {
            CompressionType::None => assert!(result.is_ok()),
            _ => drop(invalid(result)),
        }
    }
}

#[test]
fn timestamps_must_be_near() {
    let r = ValidationRules { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 500, ..rules() };
    validate(bytes(CompressionType::Gzip, &[NOW - 1000, NOW + 500, -1]), &r).unwrap();
    let result = validate(bytes(CompressionType::None, &[NOW, NOW - 1001, NOW, NOW + 501]), &r);
    let Err(e @ ValidationError::InvalidTimestamp { .. }) = result else { panic!("{result:?}") };
    assert_eq!(e.record_errors().iter().map(|r| r.batch_index).collect::<Vec<_>>(), [1, 3]);
    // Hostile extremes neither overflow nor pass.
    let far = altered(|h| h.base_timestamp = TimestampMs(i64::MIN));
    assert!(matches!(validate(far, &r), Err(ValidationError::InvalidTimestamp { .. })));
}

#[test]
fn compacted_topics_need_keys() {
    let mut b = builder(CompressionType::None, &[NOW]);
    b.append(TimestampMs(NOW), None, Some(b"v"), &[]).unwrap();
    let compacted = ValidationRules { compacted: true, ..rules() };
    let Err(e) = validate(b.build().unwrap().bytes, &compacted) else { panic!("accepted") };
    assert!(matches!(e, ValidationError::InvalidRecord { .. }));
    assert_eq!(e.record_errors()[0].batch_index, 1);
}

#[test]
fn log_append_time_stamps_the_batch() {
    let r = ValidationRules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    for codec in CompressionType::ALL {
        let v = validate(bytes(codec, &[1, 2, 3]), &r).unwrap();
        assert_eq!((v.max_timestamp, v.offset_delta_of_max_timestamp), (TimestampMs(NOW), 0));
        assert!(read(&v.batches[0]).iter().all(|r| r.timestamp == TimestampMs(NOW)));
    }
    let by_producer = altered(|h| h.attributes = h.attributes.with_timestamp_type(TimestampType::LogAppendTime));
    assert!(matches!(validate(by_producer, &r), Err(ValidationError::InvalidTimestamp { .. })));
}

/// However a topic wants its records, they are checked against their CRC once and walked over once; they are
/// decompressed only if they came compressed, compressed and given a CRC only if their codec changes.
#[test]
fn no_batch_is_looked_at_twice_without_need() {
    use crate::passes::{Passes, during};
    let head = crate::RECORD_BATCH_OVERHEAD - crate::header::ATTRIBUTES_OFFSET;
    let times: Vec<i64> = (0..200).map(|i| NOW - i).collect();
    for (from, to, append_time) in CompressionType::ALL
        .into_iter()
        .flat_map(|from| [None].into_iter().chain(CompressionType::ALL.map(Some)).map(move |to| (from, to)))
        .flat_map(|(from, to)| [(from, to, false), (from, to, true)])
    {
        let target_compression =
            to.map_or(TargetCompression::Producer, |c| TargetCompression::Codec(Compression::of(c)));
        let timestamp_type = if append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
        let sent = bytes(from, &times);
        let r = ValidationRules { target_compression, timestamp_type, ..rules() };
        let (validated, passes) = during(|| validate(sent.clone(), &r).unwrap());
        let [batch] = &validated.batches[..] else { panic!("one batch") };
        let converts = to.is_some_and(|to| to != from);
        let (came, goes) = (sent.len() - crate::header::ATTRIBUTES_OFFSET, batch.body().len() + head);
        let expected = Passes {
            // Setting the time takes the header only, as it was and as it is.
            crc_bytes: came + if converts { goes } else { 0 } + if append_time { 2 * head } else { 0 },
            walks: 1,
            decompressions: usize::from(from != CompressionType::None),
            compressions: usize::from(converts && to != Some(CompressionType::None)),
        };
        assert_eq!(passes, expected, "{from:?} to {to:?}, append time: {append_time}");
        batch.to_batch().verify_crc().unwrap();
    }
}

#[test]
fn a_wrong_maximum_is_corrected() {
    let v = validate(altered(|h| h.max_timestamp = TimestampMs(5)), &rules()).unwrap();
    let stored = v.batches[0].to_batch();
    stored.verify_crc().unwrap();
    assert_eq!(stored.header.max_timestamp, TimestampMs(NOW));
}

#[test]
fn wrong_offset_deltas_are_numbered_anew() {
    for codec in [CompressionType::None, CompressionType::Snappy] {
        let mut b = BatchBuilder::new(Compression::of(codec));
        b.append_with_offset_delta(3, TimestampMs(NOW), Some(b"a"), None, &[(b"h", None)]).unwrap();
        b.append_with_offset_delta(7, TimestampMs(NOW + 1), None, Some(b"b"), &[]).unwrap();
        let batch = b.build().unwrap();
        let mut header = batch.header;
        header.last_offset_delta = 1;
        let sent = PreparedBatch::from_parts(header, batch.payload()).unwrap().to_bytes();
        let v = validate(sent, &rules()).unwrap();
        assert_eq!(v.record_conversion_stats.num_records_converted, 2);
        let records = read(&v.batches[0]);
        assert_eq!(records.iter().map(|r| r.offset.get()).collect::<Vec<_>>(), [0, 1]);
        assert_eq!((records[0].key.as_deref(), records[0].headers.len()), (Some(&b"a"[..]), 1));
        assert_eq!(records[1].timestamp, TimestampMs(NOW + 1));
    }
}

#[test]
fn replicas_and_the_quorum_append_verbatim() {
    for origin in [AppendOrigin::Replication, AppendOrigin::RaftLeader] {
        let r = ValidationRules { target_compression: TargetCompression::Codec(Compression::NONE), origin, ..rules() };
        // Old timestamps, an offset, a control batch with a gap: as the leader has it.
        let sent = altered(|h| {
            (h.base_offset, h.last_offset_delta, h.base_timestamp) = (Offset(900), 40, TimestampMs(1));
            h.attributes = h.attributes.with_control(true).with_transactional(true);
        });
        let v = validate(sent.clone(), &r).unwrap();
        assert_eq!(v.batches[0].to_bytes(), sent);
        assert!(AnyBatch::parse(&sent).unwrap().last_offset() == Offset(940));
    }
    assert!(
        validate(Bytes::new(), &ValidationRules { origin: AppendOrigin::Replication, ..rules() })
            .unwrap()
            .batches
            .is_empty()
    );
}

/// A request of a hundred kilobytes can hold millions of records.
#[test]
fn only_so_many_refused_records_are_named() {
    let keyless = |records: usize| {
        let mut b = BatchBuilder::new(Compression::of(CompressionType::Zstd));
        for _ in 0..records {
            b.append(TimestampMs(NOW), None, None, &[]).unwrap();
        }
        b.build().unwrap().bytes
    };
    let rules = ValidationRules { compacted: true, ..rules() };
    for (records, named, said) in [(99, 99, "99 records"), (100, 100, "100 or more"), (100_000, 100, "100 or more")] {
        let e = validate(keyless(records), &rules).unwrap_err();
        assert_eq!(e.record_errors().len(), named);
        assert!(e.to_string().contains(said), "{e}");
    }
    let old = ValidationRules { timestamp_before_max_ms: 1, now: TimestampMs(NOW + 9), ..rules };
    let e = validate(bytes(CompressionType::None, &[NOW; 101]), &old).unwrap_err();
    assert!(matches!(&e, ValidationError::InvalidTimestamp { record_errors } if record_errors.len() == 100));
    assert!(e.to_string().starts_with("100 or more records were refused"), "{e}");
}

proptest! {
    #[test]
    fn every_codec_becomes_every_other(
        times in proptest::collection::vec(NOW - 1000..NOW + 1000, 1..30), from in 0u8..5, to in 0u8..5,
        append_time: bool,
    ) {
        let (from, to) = (CompressionType::from_id(from).unwrap(), CompressionType::from_id(to).unwrap());
        let r = ValidationRules {
            target_compression: TargetCompression::Codec(Compression::of(to)),
            timestamp_type: if append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
            ..rules()
        };
        let v = validate(bytes(from, &times), &r).unwrap();
        prop_assert_eq!(v.batches[0].header().attributes.compression(), Ok(to));
        let converted = v.record_conversion_stats.num_records_converted as usize;
        prop_assert_eq!(converted, if from == to { 0 } else { times.len() });
        let records = read(&v.batches[0]);
        prop_assert_eq!(records.len(), times.len());
        let max = times.iter().max().unwrap();
        for (i, record) in records.iter().enumerate() {
            let time = if append_time { NOW } else { times[i] };
            prop_assert_eq!((record.offset.get(), record.timestamp.get()), (i as i64, time));
        }
        if !append_time {
            prop_assert_eq!(v.max_timestamp.get(), *max);
            let at = times.iter().position(|t| t == max).unwrap() as i64;
            prop_assert_eq!(v.offset_delta_of_max_timestamp, at);
        }
    }

    #[test]
    fn hostile_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..200), origin in 0u8..4) {
        let origin = [AppendOrigin::Client, AppendOrigin::Coordinator, AppendOrigin::Replication, AppendOrigin::RaftLeader]
            [usize::from(origin)];
        let _ = validate(Bytes::from(data), &ValidationRules { origin, ..rules() });
    }
}
