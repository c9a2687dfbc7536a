//! Batches that Apache Kafka's own classes wrote (`testdata/batches.txt`, by `testdata/Golden.java`), read and written anew.

use bytes::Bytes;
use logrun_model::{CoordinatorEpoch, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::*;

const T: i64 = 1_700_000_000_000;

fn unhex(hex: &str) -> Bytes {
    let digit = |c: u8| (c as char).to_digit(16).unwrap() as u8;
    hex.as_bytes().chunks(2).map(|d| digit(d[0]) << 4 | digit(d[1])).collect()
}

fn golden(name: &str) -> Bytes {
    let file = include_str!("../testdata/batches.txt");
    let line = file.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    unhex(line.unwrap_or_else(|| panic!("no batch {name}")))
}

fn long_value() -> String {
    "the quick brown fox ".repeat(200)
}

fn append_records(b: &mut BatchBuilder) {
    b.append(TimestampMs(T), Some(b"k0"), Some(b"v0"), &[]).unwrap();
    let headers: [(&[u8], Option<&[u8]>); 2] = [(b"h", Some(b"1")), (b"h", None)];
    b.append(TimestampMs(T + 500), None, Some(long_value().as_bytes()), &headers).unwrap();
    b.append(TimestampMs(T + 100), Some(b"k2"), None, &[]).unwrap();
}

/// The three records of every golden batch.
fn check_records(records: &[Record], timestamps: [i64; 3], headers: bool) {
    let offsets: Vec<i64> = records.iter().map(|r| r.offset.get()).collect();
    assert_eq!(offsets, [40, 41, 42]);
    let found: Vec<i64> = records.iter().map(|r| r.timestamp.get()).collect();
    assert_eq!(found, timestamps);
    assert_eq!(records[0].key.as_deref(), Some(&b"k0"[..]));
    assert_eq!(records[0].value.as_deref(), Some(&b"v0"[..]));
    assert_eq!(records[1].key, None);
    assert_eq!(records[1].value.as_deref(), Some(long_value().as_bytes()));
    assert_eq!(records[2].value, None);
    assert!(records[0].headers.is_empty());
    if headers {
        let h = |value: Option<&'static [u8]>| RecordHeader {
            key: Bytes::from_static(b"h"),
            value: value.map(Bytes::from_static),
        };
        assert_eq!(records[1].headers, [h(Some(b"1")), h(None)]);
    }
}

#[test]
fn reads_every_codec_of_magic_2() {
    for codec in CompressionType::ALL {
        let batch = Batch::parse(&golden(&format!("magic2-{}", codec.name()))).unwrap();
        batch.verify_crc().unwrap();
        assert_eq!(batch.header.attributes.compression(), Ok(codec));
        assert_eq!(batch.header.max_timestamp, TimestampMs(T + 500));
        let records: Vec<Record> = batch.records(&Limits::default()).unwrap().map(Result::unwrap).collect();
        check_records(&records, [T, T + 500, T + 100], true);
    }
}

#[test]
fn reads_magic_0_and_1() {
    for (magic, codec) in [0, 1].into_iter().flat_map(|m| CompressionType::ALL.map(|c| (m, c))) {
        if codec == CompressionType::Zstd {
            continue;
        }
        let mut bytes = golden(&format!("magic{magic}-{}", codec.name()));
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let AnyBatch::Legacy(batch) = AnyBatch::parse(&bytes).unwrap() else { panic!("not legacy") };
            assert_eq!((batch.magic, batch.compression()), (magic, Ok(codec)));
            batch.verify_crc().unwrap();
            let mut part = batch.records(&Limits::default()).unwrap();
            assert_eq!(batch.base_offset(&Limits::default()).unwrap(), part[0].offset);
            assert_eq!(batch.last_offset(), part.last().unwrap().offset);
            records.append(&mut part);
            bytes = bytes.slice(batch.bytes.len()..);
        }
        let timestamps = if magic == 0 { [-1; 3] } else { [T, T + 500, T + 100] };
        check_records(&records, timestamps, false);
    }
    let AnyBatch::Legacy(batch) = AnyBatch::parse(&golden("log-append-time-1")).unwrap() else { panic!("not legacy") };
    assert_eq!(batch.timestamp_type(), TimestampType::LogAppendTime);
    check_records(&batch.records(&Limits::default()).unwrap(), [batch.timestamp.get(); 3], false);
}

#[test]
fn writes_the_same_bytes() {
    let mut b = BatchBuilder::new(Compression::NONE).base_offset(Offset(40));
    append_records(&mut b);
    assert_eq!(b.build().unwrap().bytes, golden("magic2-none"));

    let mut b = BatchBuilder::new(Compression::NONE)
        .base_offset(Offset(40))
        .partition_leader_epoch(LeaderEpoch(9))
        .producer(ProducerId(7000), ProducerEpoch(3), Sequence(i32::MAX - 1))
        .transactional(true);
    append_records(&mut b);
    let batch = b.build().unwrap();
    assert_eq!(batch.bytes, golden("transactional"));
    assert_eq!(batch.header.last_sequence(), Sequence(0));
    let sequences: Vec<i32> = batch.records(&Limits::default()).unwrap().map(|r| r.unwrap().sequence.get()).collect();
    assert_eq!(sequences, [i32::MAX - 1, i32::MAX, 0]);

    let mut b = BatchBuilder::new(Compression::NONE)
        .base_offset(Offset(60))
        .partition_leader_epoch(LeaderEpoch(4))
        .delete_horizon(TimestampMs(1_800_000_000_000));
    b.append_with_offset_delta(1, TimestampMs(T), Some(b"k"), None, &[]).unwrap();
    b.append_with_offset_delta(5, TimestampMs(T + 1), Some(b"l"), None, &[]).unwrap();
    b.last_offset_delta(10);
    let batch = b.build().unwrap();
    assert_eq!(batch.bytes, golden("delete-horizon"));
    assert_eq!(batch.header.delete_horizon(), Some(TimestampMs(1_800_000_000_000)));
    assert_eq!(batch.header.next_offset(), Offset(71));
    let first = batch.records(&Limits::default()).unwrap().next().unwrap().unwrap();
    assert_eq!((first.offset, first.timestamp), (Offset(61), TimestampMs(T)));
}

#[test]
fn control_batches_are_kafkas() {
    for commit in [true, false] {
        let marker = EndTxnMarker { commit, coordinator_epoch: CoordinatorEpoch(12), timestamp: TimestampMs(T) };
        let batch = build_end_txn_marker(ProducerId(7000), ProducerEpoch(3), marker).unwrap();
        let mut placed = PreparedBatch::from_batch(&batch);
        placed.assign(Offset(50), LeaderEpoch(9));
        assert_eq!(placed.to_bytes(), golden(if commit { "end-txn-commit" } else { "end-txn-abort" }));
        assert_eq!(end_txn_marker(&placed.to_batch(), &Limits::default()).unwrap(), Some(marker));
    }
    // KRaftVersionRecord: version 0, feature level 1, no tagged fields.
    let value = Bytes::from_static(&[0, 0, 0, 1, 0]);
    let records = [(ControlRecordType::KRaftVersion, value)];
    let batch = build_control_batch(Offset(3), LeaderEpoch(1), TimestampMs(T), &records).unwrap();
    assert_eq!(batch.bytes, golden("kraft-version"));
    assert_eq!(end_txn_marker(&batch, &Limits::default()).unwrap(), None);
}

/// Writes our batches for `Golden.java` to read, to the file that `LOGRUN_WRITE_BATCHES` names.
#[test]
fn writes_batches_for_kafka_to_read() {
    let Some(path) = std::env::var_os("LOGRUN_WRITE_BATCHES") else { return };
    let mut out = String::new();
    for codec in CompressionType::ALL {
        let mut b = BatchBuilder::new(Compression::of(codec)).base_offset(Offset(40)).producer(
            ProducerId(7000),
            ProducerEpoch(3),
            Sequence(5),
        );
        append_records(&mut b);
        for i in 0..5000 {
            b.append(TimestampMs(T + i), None, Some(format!("value {i} {}", i * i).as_bytes()), &[]).unwrap();
        }
        let bytes = b.build().unwrap().bytes;
        out += &format!("{} ", codec.name());
        out.extend(bytes.iter().map(|b| format!("{b:02x}")));
        out.push('\n');
    }
    std::fs::write(path, out).unwrap();
}
