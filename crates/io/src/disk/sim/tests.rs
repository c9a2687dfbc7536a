//! What the simulated disk keeps and forgets: deaths, power cuts, faults, and that a seed replays.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::disk::{read_all, replace};

fn write(disk: &SimDisk, path: &str, at: u64, bytes: &[u8]) -> Arc<dyn File> {
    let f = disk.open(Path::new(path), OpenMode::Create).unwrap();
    f.write_all_at(at, &[IoSlice::new(bytes)]).unwrap();
    f
}

fn contents(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    read_all(disk, Path::new(path)).unwrap()
}

#[test]
fn a_kill_keeps_what_was_written_and_frees_locks() {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/d")).unwrap();
    let f = write(&disk, "/d/a", 0, b"hello");
    let held = disk.lock(Path::new("/d/.lock")).unwrap().unwrap();
    assert!(disk.lock(Path::new("/d/.lock")).unwrap().is_none());
    disk.kill();
    assert!(disk.lock(Path::new("/d/.lock")).unwrap().is_some());
    drop(held);
    assert_eq!(contents(&disk, "/d/a").unwrap(), b"hello");
    assert!(f.write_all_at(0, &[IoSlice::new(b"x")]).is_err());
}

#[test]
fn a_power_cut_keeps_what_was_synced() {
    for seed in 0..200 {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/d")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let f = write(&disk, "/d/a", 0, &[1; 2000]);
        f.sync_data().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        f.write_all_at(2000, &[IoSlice::new(&[2; 2000])]).unwrap();
        write(&disk, "/d/b", 0, b"never synced");
        disk.crash(&Random::from_seed(seed));
        let a = contents(&disk, "/d/a").unwrap();
        assert_eq!(a[..2000], [1; 2000]);
        assert!(a.len() <= 4000 && a[2000..].iter().all(|b| *b == 0 || *b == 2));
    }
}

#[test]
fn a_power_cut_loses_in_some_seed_each_thing_that_was_not_synced() {
    let (mut torn, mut whole, mut gone, mut unnamed) = (0, 0, 0, 0);
    for seed in 0..400 {
        let disk = SimDisk::new();
        write(&disk, "/a", 0, &[7; 4096]);
        disk.crash(&Random::from_seed(seed));
        match contents(&disk, "/a") {
            None => unnamed += 1,
            Some(d) if d.is_empty() => gone += 1,
            Some(d) if d == [7; 4096] => whole += 1,
            Some(_) => torn += 1,
        }
    }
    assert!(torn > 10 && whole > 10 && gone > 10 && unnamed > 10, "{torn} {whole} {gone} {unnamed}");
}

#[test]
fn a_removed_name_can_come_back_until_the_directory_is_synced() {
    let mut came_back = 0;
    for seed in 0..50 {
        let disk = SimDisk::new();
        write(&disk, "/a", 0, b"x").sync_data().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.remove_file(Path::new("/a")).unwrap();
        assert!(contents(&disk, "/a").is_none());
        if seed % 2 == 0 {
            disk.sync_dir(Path::new("/")).unwrap();
        }
        disk.crash(&Random::from_seed(seed));
        if let Some(d) = contents(&disk, "/a") {
            assert!(seed % 2 == 1);
            assert_eq!(d, b"x");
            came_back += 1;
        }
    }
    assert!(came_back > 5);
    assert_eq!(SimDisk::new().used(), 0);
}

#[test]
fn faults_come_where_they_were_put() {
    let disk = SimDisk::new();
    let f = write(&disk, "/a", 0, b"0123");
    disk.fail_mutation(disk.counts().mutations + 1, Fault::Torn);
    assert!(f.write_all_at(4, &[IoSlice::new(b"4567")]).is_err());
    assert_eq!(contents(&disk, "/a").unwrap(), b"012345");
    disk.set_capacity(Some(8));
    let e = f.write_all_at(4, &[IoSlice::new(b"456789")]).unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::StorageFull);
    assert_eq!(contents(&disk, "/a").unwrap(), b"01234567");
    disk.fail_read(disk.counts().reads + 1, Fault::Io);
    assert!(f.read_at(0, &mut [0; 2]).is_err());
    disk.break_dir("/a");
    assert!(f.read_at(0, &mut [0; 2]).is_err());
    disk.mend_dir(Path::new("/a"));
    disk.halt_at(disk.counts().mutations + 1);
    assert!(f.sync_data().is_err());
    assert!(f.read_at(0, &mut [0; 2]).is_err());
    disk.kill();
    assert_eq!(contents(&disk, "/a").unwrap(), b"01234567");
}

#[test]
fn direct_writes_are_aligned_and_as_mortal_as_others() {
    let disk = SimDisk::new();
    write(&disk, "/a", 0, b"0123");
    let direct = disk.open_direct(Path::new("/a")).unwrap().unwrap();
    let mut chunk = crate::Chunks::default().take(3 * DIRECT_ALIGN_BYTES).unwrap();
    chunk.append(&[9; 3 * DIRECT_ALIGN_BYTES]);
    let chunk = chunk.chunk();
    let block = chunk.bytes(DIRECT_ALIGN_BYTES..2 * DIRECT_ALIGN_BYTES);
    for (at, bytes) in [(1, block), (0, &block[1..]), (0, chunk.bytes(1..DIRECT_ALIGN_BYTES + 1))] {
        let e = direct.write_all_at(at, &[IoSlice::new(bytes)]).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::InvalidInput);
    }
    direct.write_all_at(DIRECT_ALIGN_BYTES as u64, &[IoSlice::new(block)]).unwrap();
    disk.kill();
    assert_eq!(contents(&disk, "/a").unwrap().len(), 2 * DIRECT_ALIGN_BYTES);
    let lost = (0..20).filter(|seed| {
        let disk = SimDisk::new();
        write(&disk, "/a", 0, b"").sync_data().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.open_direct(Path::new("/a")).unwrap().unwrap().write_all_at(0, &[IoSlice::new(block)]).unwrap();
        disk.crash(&Random::from_seed(*seed));
        contents(&disk, "/a").unwrap() != block
    });
    assert!(lost.count() > 5);
    disk.refuse_direct(true);
    assert!(disk.open_direct(Path::new("/a")).unwrap().is_none());
}

#[test]
fn replacing_a_file_leaves_the_old_or_the_new() {
    for seed in 0..100 {
        for n in 1..8 {
            let disk = SimDisk::new();
            disk.create_dir_all(Path::new("/d")).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            replace(&disk, Path::new("/d/c"), b"old").unwrap();
            disk.halt_at(disk.counts().mutations + n);
            let done = replace(&disk, Path::new("/d/c"), b"the new").is_ok();
            disk.crash(&Random::from_seed(seed * 8 + n));
            let c = contents(&disk, "/d/c").unwrap();
            assert!(c == b"the new" || (!done && c == b"old"), "{c:?}");
        }
    }
}

proptest! {
    #[test]
    fn the_same_seed_gives_the_same_trace_and_disk(seed: u64) {
        let run = || {
            let random = Random::from_seed(seed);
            let disk = SimDisk::new();
            disk.create_dir_all(Path::new("/d")).unwrap();
            disk.fail_randomly(random.clone(), 1, 10, Fault::Torn);
            for i in 0..50u64 {
                let path = format!("/d/{}", random.below(4));
                let Ok(f) = disk.open(Path::new(&path), OpenMode::Create) else { continue };
                let _ = f.write_all_at(random.below(2000), &[IoSlice::new(&random.u64().to_le_bytes())]);
                if random.chance(1, 5) { let _ = f.sync_data(); }
                if random.chance(1, 5) { let _ = disk.sync_dir(Path::new("/d")); }
                if random.chance(1, 5) { let _ = disk.rename(Path::new(&path), Path::new(&format!("/d/r{i}"))); }
                if random.chance(1, 10) { let _ = disk.remove_file(Path::new(&path)); }
            }
            disk.crash(&random);
            let mut all = Vec::new();
            if disk.info(Path::new("/d")).unwrap().is_some() {
                for e in disk.list(Path::new("/d")).unwrap() {
                    all.push((e.name.clone(), contents(&disk, &format!("/d/{}", e.name))));
                }
            }
            (disk.trace(), all)
        };
        prop_assert_eq!(run(), run());
    }
}
