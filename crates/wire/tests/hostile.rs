//! Hostile bytes: every message at every version, cut short, lengthened and damaged. Never a panic, never a
//! cut message taken for a whole one, and what is accepted is written again in a stable form.

use std::path::Path;

use bytes::Bytes;
use logrun_codegen::build::{load_wire, schema_dir};
use logrun_codegen::values::{Rng, Shape, random_message};
use logrun_wire::messages::{INFOS, ProduceRequest};
use logrun_wire::{CodecError, DecodeErrorKind, Message, MessageInfo};

/// Calls `check` with a random valid encoding of each message at each version.
fn for_each_value(shape: Shape, mut check: impl FnMut(&MessageInfo, i16, &[u8], &mut Rng)) {
    let dir = schema_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("schema/ lies in the repository");
    for spec in load_wire(&dir).expect("the schema reads") {
        for version in spec.versions.iter() {
            let info = INFOS.iter().find(|i| i.name == spec.name).expect("every message has a type");
            let mut rng = Rng::new(u64::from(spec.api_key.unwrap_or(999).unsigned_abs()) << 16 | version as u64);
            let bytes = random_message(&spec, version, shape, &mut rng);
            check(info, version, &bytes, &mut rng);
        }
    }
}

#[test]
fn a_message_that_is_cut_short_is_refused() {
    for_each_value(Shape::Mixed, |info, version, bytes, _| {
        for length in 0..bytes.len() {
            let result = (info.transcode)(Bytes::copy_from_slice(&bytes[..length]), version, version);
            let Err(CodecError::Decode(e)) = result else {
                panic!("{} v{version} takes {length} of {} bytes: {result:?}", info.name, bytes.len());
            };
            assert_eq!(e.message(), info.name, "{e}");
        }
    });
}

#[test]
fn bytes_behind_a_message_are_refused() {
    for_each_value(Shape::Full, |info, version, bytes, _| {
        let longer = Bytes::from([bytes, &[0]].concat());
        match (info.transcode)(longer, version, version) {
            Err(CodecError::Decode(e)) => assert_eq!(e.kind(), &DecodeErrorKind::TrailingBytes { count: 1 }),
            other => panic!("{} v{version}: {other:?}", info.name),
        }
    });
}

#[test]
fn damage_never_panics_and_what_is_accepted_is_stable() {
    for shape in [Shape::Empty, Shape::Mixed, Shape::Full] {
        for_each_value(shape, |info, version, bytes, rng| {
            for _ in 0..40 {
                let mut damaged = bytes.to_vec();
                for _ in 0..=rng.below(3) {
                    if damaged.is_empty() {
                        break;
                    }
                    let at = rng.below(damaged.len() as u64) as usize;
                    damaged[at] = match rng.below(4) {
                        0 => 0xff,
                        1 => 0x7f,
                        2 => 0,
                        _ => rng.next_u64() as u8,
                    };
                }
                if let Ok(once) = (info.transcode)(Bytes::from(damaged), version, version) {
                    assert_eq!((info.transcode)(once.clone(), version, version), Ok(once));
                }
            }
        });
    }
}

#[test]
fn noise_never_panics() {
    let mut rng = Rng::new(7);
    for info in INFOS {
        for version in info.versions.min..=info.versions.max {
            for _ in 0..20 {
                let length = rng.below(64);
                let noise: Bytes = (0..length).map(|_| rng.next_u64() as u8).collect();
                let _ = (info.transcode)(noise, version, version);
            }
        }
    }
}

#[test]
fn a_claimed_array_is_refused_before_it_is_allocated() {
    // acks -1, timeout 0, then two thousand million topics in no bytes.
    let bytes = Bytes::from_static(b"\xff\xff\xff\xff\0\0\0\0\x7f\xff\xff\xff");
    let e = ProduceRequest::decode_exact(bytes, 3).unwrap_err();
    let text = "ProduceRequest v3: topic_data: 2147483647 elements can't be in the 0 bytes that are left";
    assert_eq!(e.to_string(), text);
}

#[test]
fn an_error_names_message_version_and_field() {
    // One topic `t` with two partitions, the second of which breaks off.
    let bytes = b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x05\0\0\0\0\0\0\0\x06\0\0\0\x09z";
    let e = ProduceRequest::decode_exact(Bytes::from_static(bytes), 3).unwrap_err();
    let text = "ProduceRequest v3: topic_data[0].partition_data[1].records: 9 bytes are needed, 1 are left";
    assert_eq!(e.to_string(), text);
}
