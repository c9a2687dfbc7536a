//! Hostile files of a log directory: indexes, checkpoints, properties. (Segments are batches, see `records.rs`.)

use bolero::check;
use logrun_fuzz::counting::{Counting, peak};
use logrun_log::{
    CleanShutdown, MetaProperties, OffsetCheckpoint, OffsetIndex, PartitionMetadata, TimeIndex, TxnIndex,
};
use logrun_model::{Offset, TimestampMs};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn indexes() {
    check!().with_iterations(20_000).with_type::<(i64, u64, i64, Vec<u8>)>().for_each(|(base, len, at, bytes)| {
        // Only the file is hostile: what is asked of it are offsets of a log.
        let (base, at) = (Offset(base & i64::MAX >> 1), at & i64::MAX);
        let ((), most) = peak(|| {
            let (mut offsets, _) = OffsetIndex::parse(base, bytes, len % (1 << 33));
            let _ = (offsets.lookup(Offset(at)), offsets.last(), offsets.is_full(8));
            offsets.truncate_to(Offset(at));
            let (mut times, _) = TimeIndex::parse(base, bytes);
            let _ = (times.lookup(TimestampMs(at)), times.last(), times.is_full(8));
            times.truncate_to(Offset(at));
            let (mut txns, _) = TxnIndex::parse(base, bytes);
            txns.collect(base, Offset(at), &mut Vec::new());
            txns.truncate_to(Offset(at));
        });
        assert!(most <= 16 * bytes.len() + 4096, "{} bytes took {most}", bytes.len());
    });
}

#[test]
fn checkpoints_and_properties() {
    check!().with_iterations(20_000).with_type::<(bool, Vec<u8>)>().for_each(|(plausible, bytes)| {
        let alphabet = b"0123456789 \n-.=:{}\"abversion";
        let bytes: Vec<u8> = match plausible {
            true => bytes.iter().map(|b| alphabet[usize::from(*b) % alphabet.len()]).collect(),
            false => bytes.clone(),
        };
        for head in ["", "0\n", "0\n1\n", "version: 0\n", "version=1\n", "{\"version\":0,"] {
            let file = [head.as_bytes(), &bytes].concat();
            let ((), most) = peak(|| {
                let _ = OffsetCheckpoint::decode(&file);
                let _ = MetaProperties::decode(&file);
                let _ = PartitionMetadata::decode(&file);
                let _ = CleanShutdown::decode(&file);
            });
            assert!(most <= 64 * file.len() + 4096, "{} bytes took {most}", file.len());
        }
    });
}
