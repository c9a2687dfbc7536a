//! Hostile frames: request headers, and every message at every version.

use std::path::Path;

use bolero::check;
use bytes::Bytes;
use logrun_codegen::build::{load_wire, schema_dir};
use logrun_codegen::values::{Rng, Shape, random_message};
use logrun_fuzz::counting::{Counting, peak};
use logrun_wire::messages::INFOS;
use logrun_wire::{MessageInfo, frame};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What decoding and encoding again may hold: vectors reserve a little before their first element, once a level, and an
/// element of a few bytes becomes a struct of a few hundred.
const fn most_for(bytes: usize) -> usize {
    (1 << 20) + 1024 * bytes
}

fn version(info: &MessageInfo, n: u8) -> i16 {
    info.versions.min + i16::from(n) % (info.versions.max - info.versions.min + 1)
}

fn transcode(info: &MessageInfo, version: i16, bytes: &Bytes) {
    let (result, most) = peak(|| (info.transcode)(bytes.clone(), version, version));
    assert!(most <= most_for(bytes.len()), "{} v{version}: {} bytes took {most}", info.name, bytes.len());
    if let Ok(once) = result {
        let again = (info.transcode)(once.clone(), version, version);
        assert_eq!(again.as_ref(), Ok(&once), "{} v{version} is not stable", info.name);
    }
}

#[test]
fn noise_as_messages() {
    let with_versions: Vec<&MessageInfo> = INFOS.iter().filter(|i| !i.versions.is_empty()).collect();
    check!().with_iterations(60_000).with_type::<(u16, u8, Vec<u8>)>().for_each(|(which, v, bytes)| {
        let info = with_versions[usize::from(*which) % with_versions.len()];
        transcode(info, version(info, *v), &Bytes::from(bytes.clone()));
    });
}

#[test]
fn damaged_messages() {
    let dir = schema_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("schema/ lies in the repository");
    let specs = load_wire(&dir).expect("the schema reads");
    type Damage = Vec<(u32, u8)>;
    check!().with_iterations(30_000).with_type::<(u16, u8, u64, Damage)>().for_each(|(which, v, seed, damage)| {
        let spec = &specs[usize::from(*which) % specs.len()];
        // Messages of which no version is left have no type.
        let Some(info) = INFOS.iter().find(|i| i.name == spec.name && !i.versions.is_empty()) else { return };
        let version = version(info, *v);
        let mut bytes = random_message(spec, version, Shape::Mixed, &mut Rng::new(*seed));
        for (at, value) in damage.iter().take(if bytes.is_empty() { 0 } else { 6 }) {
            let at = *at as usize % bytes.len();
            bytes[at] = *value;
        }
        transcode(info, version, &Bytes::from(bytes));
    });
}

#[test]
fn noise_as_request_frames() {
    check!().with_iterations(60_000).with_type::<(u8, u8, Vec<u8>)>().for_each(|(key, version, rest)| {
        let mut bytes = vec![0, key % 96, 0, version % 24];
        bytes.extend_from_slice(rest);
        let bytes = Bytes::from(bytes);
        let (_, most) = peak(|| frame::decode_request_header(bytes.clone()).map(|(header, ..)| header));
        assert!(most <= most_for(bytes.len()), "took {most}");
    });
}
