//! Tests of what is given out of fetched batches.

use logrun_model::{CoordinatorEpoch, ProducerEpoch, Sequence};
use logrun_record::{BatchBuilder, Compression, CompressionType, EndTxnMarker, build_end_txn_marker};
use proptest::prelude::*;

use super::*;

const MANNER: Manner = Manner { check_crcs: true, read_committed: false };

fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn start(offset: i64) -> Position {
    Position { offset: Offset(offset), epoch: LeaderEpoch::NONE }
}

/// A batch at `base` with records `(offset delta, value)`.
fn batch(codec: CompressionType, base: i64, records: &[(i32, Vec<u8>)]) -> Bytes {
    let mut b =
        BatchBuilder::new(Compression::of(codec)).base_offset(Offset(base)).partition_leader_epoch(LeaderEpoch(3));
    for (delta, value) in records {
        b.append_with_offset_delta(*delta, TimestampMs(5), None, Some(value), &[]).unwrap();
    }
    b.build().unwrap().bytes
}

fn of_producer(id: i64, base: i64, value: &str) -> Bytes {
    let b = BatchBuilder::new(Compression::NONE).base_offset(Offset(base));
    let mut b = b.producer(ProducerId(id), ProducerEpoch(0), Sequence(0)).transactional(true);
    b.append(TimestampMs(5), None, Some(value.as_bytes()), &[]).unwrap();
    b.build().unwrap().bytes
}

fn marker(id: i64, base: i64, commit: bool) -> Bytes {
    let m = EndTxnMarker { commit, coordinator_epoch: CoordinatorEpoch(0), timestamp: TimestampMs(5) };
    let mut bytes = build_end_txn_marker(ProducerId(id), ProducerEpoch(0), m).unwrap().bytes.to_vec();
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes.into()
}

fn fetched(from: i64, bytes: &[Bytes], aborted: &[(i64, i64)]) -> Fetched {
    let aborted = aborted.iter().map(|(offset, id)| (Offset(*offset), ProducerId(*id)));
    Fetched::new(tp(), 1, Offset(from), bytes.concat().into(), aborted).unwrap().unwrap()
}

fn values(parts: &[Part]) -> Vec<(i64, String)> {
    let slots = parts.iter().flat_map(|p| p.slots.iter().map(move |s| (p, s)));
    slots
        .map(|(p, s)| (s.offset.get(), String::from_utf8_lossy(&p.body[s.value.range().unwrap()]).into_owned()))
        .collect()
}

#[test]
fn aborted_transactions_and_markers_are_passed_over() {
    let log = [
        of_producer(1, 0, "a"),
        of_producer(2, 1, "b"),
        marker(1, 2, false),
        of_producer(1, 3, "c"),
        marker(2, 4, true),
        marker(1, 5, true),
    ];
    for (read_committed, expected) in [(true, "b c"), (false, "a b c")] {
        let mut f = fetched(0, &log, &[(0, 1)]);
        assert_eq!(f.next_fetch, Offset(6));
        let (mut position, mut parts) = (start(0), Vec::new());
        f.take(&mut position, 100, Manner { read_committed, ..MANNER }, &mut parts).unwrap();
        let got: Vec<String> = values(&parts).into_iter().map(|(_, v)| v).collect();
        assert_eq!(got.join(" "), expected);
        assert!(f.is_done() && position.offset == Offset(6), "the markers are behind the position: {position:?}");
    }
}

#[test]
fn damage_is_met_when_its_turn_comes_and_again() {
    let good = batch(CompressionType::None, 0, &[(0, b"x".to_vec())]);
    let mut bad = batch(CompressionType::None, 1, &[(0, b"y".to_vec())]).to_vec();
    *bad.last_mut().unwrap() ^= 1;
    *bad.get_mut(66).unwrap() ^= 1;
    let mut f = fetched(0, &[good, bad.into()], &[]);
    let (mut position, mut parts) = (start(0), Vec::new());
    assert!(f.take(&mut position, 100, MANNER, &mut parts).is_err());
    assert_eq!((values(&parts).len(), position.offset), (1, Offset(1)));
    assert!(f.take(&mut position, 100, MANNER, &mut parts).is_err());
}

proptest! {
    /// However it is cut into polls: every record from the position on, once, in order, and the position behind each.
    #[test]
    fn everything_is_given_out_once(
        sizes in proptest::collection::vec(1usize..8, 1..6), gaps in any::<u64>(), from in 0i64..12,
        max in 1usize..5, codec in 0u8..5, cut in 0usize..40,
    ) {
        let codec = CompressionType::from_id(codec).unwrap();
        let (mut bytes, mut all, mut base, mut gaps) = (Vec::new(), Vec::new(), 0i64, gaps);
        for n in sizes {
            let mut records = Vec::new();
            let mut delta = 0;
            for _ in 0..n {
                // Compaction leaves holes.
                delta += (gaps & 1) as i32;
                gaps >>= 1;
                records.push((delta, format!("{}", base + i64::from(delta)).into_bytes()));
                all.push(base + i64::from(delta));
                delta += 1;
            }
            bytes.extend_from_slice(&batch(codec, base, &records));
            base += i64::from(delta);
        }
        let whole = bytes.len();
        // A batch of which the broker sent only the beginning.
        bytes.extend_from_slice(&batch(codec, base, &[(0, b"torn".to_vec())])[..cut]);
        let mut f = Fetched::new(tp(), 1, Offset(from), bytes.into(), []).unwrap().unwrap();
        prop_assert_eq!(f.rest.len(), whole);
        prop_assert_eq!(f.next_fetch, Offset(base.max(from)));
        let (mut position, mut got) = (start(from), Vec::new());
        while !f.is_done() {
            let mut parts = Vec::new();
            f.take(&mut position, max, MANNER, &mut parts).unwrap();
            let values = values(&parts);
            prop_assert!(values.len() <= max);
            for (offset, value) in &values {
                prop_assert_eq!(&offset.to_string(), value);
            }
            if let Some((last, _)) = values.last() {
                prop_assert!(position.offset > Offset(*last));
            }
            got.extend(values.into_iter().map(|(o, _)| o));
        }
        all.retain(|o| *o >= from);
        prop_assert_eq!(got, all);
        prop_assert_eq!(position.offset, Offset(base.max(from)));
    }

    #[test]
    fn hostile_bytes_never_panic(at in any::<usize>(), flip in 1u8.., codec in 0u8..5, from in any::<i64>(), crc in any::<bool>()) {
        let codec = CompressionType::from_id(codec).unwrap();
        let mut bytes = batch(codec, 7, &[(0, b"abc".to_vec()), (1, vec![9; 50])]).to_vec();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(Some(mut f)) = Fetched::new(tp(), 1, Offset(from.max(0)), bytes.into(), [(Offset(0), ProducerId(0))]) {
            let (mut position, mut parts) = (start(from.max(0)), Vec::new());
            let _ = f.take(&mut position, 10, Manner { check_crcs: crc, read_committed: true }, &mut parts);
            for p in &parts {
                for s in &p.slots {
                    let _ = (s.key.range().map(|r| &p.body[r]), s.value.range().map(|r| &p.body[r]));
                }
            }
        }
    }
}
