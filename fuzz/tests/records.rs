//! Hostile record batches, bombs in every codec, and the files of producer state and leader epochs.

use bolero::check;
use bytes::Bytes;
use logrun_fuzz::counting::{Counting, peak};
use logrun_model::{Offset, TimestampMs};
use logrun_partition::{EpochCache, ProducerStateManager, decode_snapshot};
use logrun_record::{
    AnyBatch, AppendOrigin, BatchBuilder, Compression, CompressionType, EntryHead, Limits, PreparedBatch, RecordWalker,
    ValidationRules, compress, decompress, end_txn_marker, split_batches, validate,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { max_decompressed_bytes: 1 << 20, max_ratio: 1024, ratio_exempt_bytes: 1 << 16 };
/// Buffers that grow hold the old and the new at once; contexts of the codecs are small and constant.
const MOST: usize = 4 << 20;

/// Changes to a valid value: where, and to what.
type Damage = Vec<(u32, u8)>;

fn apply(bytes: &mut [u8], damage: &Damage, from: usize) {
    for (at, value) in damage.iter().take(8) {
        let room = bytes.len() - from;
        bytes[from + *at as usize % room] = *value;
    }
}

fn codec(n: u8) -> CompressionType {
    CompressionType::from_id(n % 5).expect("five codecs")
}

fn batch(codec: CompressionType) -> PreparedBatch {
    let mut b = BatchBuilder::new(Compression::of(codec));
    for i in 0..20i64 {
        let value = format!("value {i} and value {i} and value {i}");
        b.append(TimestampMs(1000 + i), Some(b"key"), Some(value.as_bytes()), &[(b"h", None)]).expect("a small record");
    }
    b.prepare().expect("a small batch")
}

/// Everything that is done with bytes which may be batches.
fn read_all(bytes: &Bytes) {
    let _ = EntryHead::peek(bytes);
    for b in split_batches(bytes.clone()).flatten() {
        let _ = b.verify_crc();
        if let Ok(records) = b.records(&LIMITS) {
            records.take(100_000).for_each(drop);
        }
        let _ = end_txn_marker(&b, &LIMITS);
        let mut producers = ProducerStateManager::new(Offset::ZERO, 1000);
        let _ = producers.replay(&b, &LIMITS);
        let _ = producers.first_unstable_offset();
    }
    if let Ok(any) = AnyBatch::parse(bytes) {
        let _ = any.verify_crc();
        let _ = any.base_offset(&LIMITS);
        let _ = (any.last_offset(), any.max_timestamp(), any.partition_leader_epoch());
        if let AnyBatch::Legacy(legacy) = &any {
            let _ = legacy.records(&LIMITS);
        }
    }
    for origin in [AppendOrigin::Client, AppendOrigin::Coordinator, AppendOrigin::Replication, AppendOrigin::RaftLeader]
    {
        let rules = ValidationRules { limits: LIMITS, ..ValidationRules::new(origin, TimestampMs(1000)) };
        let _ = validate(bytes.clone(), &rules);
    }
}

#[test]
fn noise_as_batches() {
    check!().with_iterations(20_000).with_type::<Vec<u8>>().for_each(|bytes| {
        let mut bytes = bytes.clone();
        if bytes.len() > 17 {
            // A plausible magic and length get the noise past the first look.
            bytes[16] %= 3;
            let length = (bytes.len() - 12) as i32;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
        }
        let bytes = Bytes::from(bytes);
        let ((), most) = peak(|| read_all(&bytes));
        assert!(most <= MOST, "{} bytes took {most}", bytes.len());
    });
}

#[test]
fn damaged_batches() {
    let batches: Vec<Bytes> = CompressionType::ALL.iter().map(|c| batch(*c).to_bytes()).collect();
    check!().with_iterations(20_000).with_type::<(u8, Damage)>().for_each(|(n, damage)| {
        let mut bytes = batches[usize::from(n % 5)].to_vec();
        apply(&mut bytes, damage, 0);
        let bytes = Bytes::from(bytes);
        let ((), most) = peak(|| read_all(&bytes));
        assert!(most <= MOST, "took {most}");
    });
}

#[test]
fn damaged_batches_under_a_right_crc() {
    let batches: Vec<PreparedBatch> = CompressionType::ALL.iter().map(|c| batch(*c)).collect();
    check!().with_iterations(20_000).with_type::<(u8, i32, i32, i16, Damage)>().for_each(
        |(n, count, delta, attributes, damage)| {
            let prepared = &batches[usize::from(n % 5)];
            let mut header = *prepared.header();
            if n & 0x40 != 0 {
                (header.records_count, header.last_offset_delta) = (*count, *delta);
            }
            if n & 0x80 != 0 {
                header.attributes.0 = *attributes;
            }
            let mut body = prepared.body().to_vec();
            apply(&mut body, damage, 0);
            let bytes = PreparedBatch::from_parts(header, Bytes::from(body)).expect("a small batch").to_bytes();
            let ((), most) = peak(|| read_all(&bytes));
            assert!(most <= MOST, "took {most}");
        },
    );
}

#[test]
fn noise_as_records() {
    check!().with_iterations(20_000).with_type::<(i32, Vec<u8>)>().for_each(|(count, body)| {
        let (records, most) = peak(|| RecordWalker::new(body, *count).filter(Result::is_ok).count());
        assert!(records <= body.len() && most == 0, "walking took {most}");
    });
}

#[test]
fn bombs() {
    let zeros = vec![0; 16 << 20];
    let bombs: Vec<Vec<u8>> = CompressionType::ALL
        .iter()
        .skip(1)
        .map(|c| compress(Compression::of(*c), &zeros).expect("zeros compress"))
        .collect();
    check!().with_iterations(400).with_type::<(u8, Damage)>().for_each(|(n, damage)| {
        let codec = codec(1 + n % 4);
        let mut bomb = bombs[usize::from(n % 4)].clone();
        apply(&mut bomb, damage, 0);
        let bomb = Bytes::from(bomb);
        let (result, most) = peak(|| decompress(codec, &bomb, &LIMITS));
        assert!(most <= MOST, "{codec:?} took {most}");
        assert!(result.is_err() || result.is_ok_and(|b| b.len() <= 1 << 20));
    });
}

#[test]
fn noise_as_compressed_data() {
    check!().with_iterations(40_000).with_type::<(u8, Vec<u8>)>().for_each(|(n, noise)| {
        let codec = codec(*n);
        let magic: &[u8] = match codec {
            CompressionType::None => &[],
            CompressionType::Gzip => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff],
            CompressionType::Snappy => &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1],
            CompressionType::Lz4 => &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82],
            CompressionType::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
        };
        let data = Bytes::from(if n & 0x80 != 0 { [magic, noise].concat() } else { noise.clone() });
        let (_, most) = peak(|| decompress(codec, &data, &LIMITS));
        assert!(most <= MOST, "{codec:?} took {most} for {} bytes", data.len());
    });
}

#[test]
fn producer_snapshots() {
    check!().with_iterations(20_000).with_type::<(bool, Vec<u8>)>().for_each(|(sealed, bytes)| {
        let mut bytes = bytes.clone();
        if *sealed && bytes.len() >= 6 {
            bytes[..2].copy_from_slice(&1i16.to_be_bytes());
            let crc = crc32c::crc32c(&bytes[6..]);
            bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        let (entries, most) = peak(|| decode_snapshot(&bytes));
        assert!(most <= 16 * bytes.len(), "{} bytes took {most}", bytes.len());
        let mut producers = ProducerStateManager::new(Offset::ZERO, 1000);
        let loaded = producers.load_snapshot(Offset(9), &bytes, TimestampMs(0));
        assert_eq!(loaded.is_ok(), entries.is_ok());
        for e in entries.into_iter().flatten() {
            let _ = e.last_batch().map(|b| (b.first_sequence(), b.first_offset()));
        }
        let _ = (producers.first_unstable_offset(), producers.has_late_transaction(TimestampMs(i64::MAX), i64::MAX));
        producers.remove_expired_producers(TimestampMs(i64::MAX));
    });
}

#[test]
fn epoch_checkpoints() {
    check!().with_iterations(20_000).with_type::<(bool, Vec<u8>)>().for_each(|(plausible, bytes)| {
        let alphabet = b"0123456789 \n-";
        let text: String = match plausible {
            true => bytes.iter().map(|b| char::from(alphabet[usize::from(*b) % alphabet.len()])).collect(),
            false => String::from_utf8_lossy(bytes).into_owned(),
        };
        for text in [text.clone(), format!("0\n1\n{text}"), format!("0\n{text}")] {
            let (cache, most) = peak(|| EpochCache::decode(&text));
            assert!(most <= 16 * text.len() + 256, "took {most}");
            if let Ok(cache) = cache {
                assert_eq!(EpochCache::decode(&cache.encode()), Ok(cache));
            }
        }
    });
}
