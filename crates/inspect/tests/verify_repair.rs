//! A directory that Apache Kafka wrote is sound; each kind of damage is found and told of with its remedy, and after the
//! repair the directory is sound again and nothing that was cut is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_inspect::repair::{RepairError, Step, execute, plan};
use logrun_inspect::survey::{LOCK_FILE, LogDirectory};
use logrun_inspect::verify::{Context, Finding, Level, Mend, conclude, examine, verify_partition};
use logrun_io::Disk;
use logrun_io::disk::RealDisk;
use logrun_log::RECOVERY_POINT_CHECKPOINT;

/// A copy of the golden directory that goes with the test.
struct Copy {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Copy {
    fn new(name: &str) -> Self {
        fn copy(from: &Path, to: &Path) {
            fs::create_dir_all(to).expect("a directory");
            for entry in fs::read_dir(from).expect("a directory").flatten() {
                let to = to.join(entry.file_name());
                if entry.path().is_dir() {
                    copy(&entry.path(), &to);
                } else {
                    fs::copy(entry.path(), to).expect("a copy");
                }
            }
        }
        let root = std::env::temp_dir().join(format!("logrun-verify-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        copy(Path::new("tests/kafka-4.3"), &root.join("data"));
        Self { dir: root.join("data"), disk: Arc::new(RealDisk::default()) }
    }

    fn change(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.dir.join(file);
        let mut bytes = fs::read(&path).unwrap_or_default();
        change(&mut bytes);
        fs::write(path, bytes).expect("written");
    }

    fn verify(&self) -> (LogDirectory, Vec<Finding>) {
        let dir = LogDirectory::survey(&*self.disk, &self.dir).expect("a directory");
        let mut findings = examine(&dir);
        let mut reports = Vec::new();
        for partition in &dir.partitions {
            let context = Context {
                topic: partition.partition.topic.as_str(),
                clean_shutdown: dir.clean_shutdown,
                recovery_point: dir.checkpoint(RECOVERY_POINT_CHECKPOINT, &partition.partition),
                progress: &|_| {},
            };
            let report = verify_partition(&self.disk, partition, &context).expect("a directory");
            findings.extend(report.findings.clone());
            reports.push(report);
        }
        findings.extend(conclude(&dir, &reports));
        (dir, findings)
    }

    /// The one finding that there must be.
    fn one(&self) -> Finding {
        let (_, mut findings) = self.verify();
        assert_eq!(findings.len(), 1, "{findings:#?}");
        findings.remove(0)
    }

    fn repair(&self, name: &str) -> Vec<Step> {
        let (dir, findings) = self.verify();
        let steps = plan(&*self.disk, &dir, &findings).expect("a plan");
        execute(&*self.disk, &dir, &steps, &self.dir.with_file_name(name), |_| {}).expect("done");
        steps
    }

    fn backup(&self, name: &str, file: &str) -> Vec<u8> {
        fs::read(self.dir.with_file_name(name).join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
    }

    fn sound_but_for_notes(&self) {
        let (_, findings) = self.verify();
        assert!(findings.iter().all(|f| f.level == Level::Note), "{findings:#?}");
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Some(root) = self.dir.parent() {
            let _ = fs::remove_dir_all(root);
        }
    }
}

const LOG: &str = "codec-none-0/00000000000000000000.log";

#[test]
fn what_apache_kafka_wrote_is_sound() {
    let (dir, findings) = Copy::new("sound").verify();
    assert_eq!(findings, []);
    assert_eq!(dir.partitions.len(), 12);
}

#[test]
fn a_damaged_record_ends_the_log_before_its_batch() {
    let copy = Copy::new("crc");
    let whole = fs::read(copy.dir.join(LOG)).expect("the log");
    copy.change(LOG, |bytes| bytes[1000] ^= 0x40);
    let (_, findings) = copy.verify();
    let finding = &findings[0];
    assert!(finding.level == Level::Error && finding.what.contains("its CRC is"), "{finding:?}");
    let Mend::Cut { position, end_offset, .. } = finding.mend else { panic!("{finding:?}") };
    assert!(position > 0 && end_offset.get() > 0);
    // The checkpoints know that there was more.
    assert!(findings.iter().any(|f| f.what.contains("of codec-none-0, whose log ends at")), "{findings:#?}");

    let steps = copy.repair("backup");
    assert!(steps.iter().any(|s| matches!(s, Step::Checkpoint { .. })), "{steps:?}");
    let kept = fs::read(copy.dir.join(LOG)).expect("the log");
    assert_eq!(kept, whole[..position as usize]);
    let cut = copy.backup("backup", &format!("{LOG}.from-{position}"));
    assert_eq!(cut.len() + kept.len(), whole.len());
    assert!(!copy.dir.join(".kafka_cleanshutdown").exists(), "the next start has to check the log");
    copy.sound_but_for_notes();
}

#[test]
fn damage_in_a_segment_takes_the_later_ones_with_it() {
    let copy = Copy::new("middle");
    copy.change("transactions-0/00000000000000000000.log", |bytes| bytes.truncate(bytes.len() - 10));
    let (_, findings) = copy.verify();
    assert!(findings[0].what.contains("bytes are there of a batch"), "{findings:#?}");
    copy.repair("backup");
    assert!(!copy.dir.join("transactions-0/00000000000000000010.log").exists());
    assert!(!copy.backup("backup", "transactions-0/00000000000000000010.log").is_empty());
    assert!(!copy.backup("backup", "transactions-0/00000000000000000010.txnindex").is_empty());
    copy.sound_but_for_notes();
}

#[test]
fn what_a_kill_leaves_is_ordinary() {
    let copy = Copy::new("kill");
    fs::remove_file(copy.dir.join(".kafka_cleanshutdown")).expect("removed");
    copy.change(LOG, |bytes| bytes.extend_from_within(..40));
    let finding = copy.one();
    assert!(finding.level == Level::Note && finding.mend == Mend::None, "{finding:?}");
    let copy = Copy::new("padding");
    copy.change(LOG, |bytes| bytes.resize(4096, 0));
    let finding = copy.one();
    assert!(finding.level == Level::Note && finding.what.contains("bytes of zeros"), "{finding:?}");
}

#[test]
fn indexes_are_held_against_the_log() {
    let copy = Copy::new("indexes");
    copy.change("codec-none-0/00000000000000000000.index", |bytes| bytes[7] += 1);
    assert!(copy.one().what.contains("no batch begins there"));
    copy.repair("backup");
    assert!(!copy.dir.join("codec-none-0/00000000000000000000.index").exists());
    copy.sound_but_for_notes();

    // A time that is too early: later records would be skipped by a search for it.
    let copy = Copy::new("times");
    copy.change("codec-none-0/00000000000000000000.timeindex", |bytes| bytes[7] -= 1);
    assert!(copy.one().what.contains("promises no later timestamp"));

    // Preallocated, as of a running broker.
    let copy = Copy::new("preallocated");
    copy.change("codec-none-0/00000000000000000000.index", |bytes| bytes.resize(1 << 20, 0));
    copy.change("codec-none-0/00000000000000000000.timeindex", |bytes| bytes.resize(1 << 20, 0));
    assert_eq!(copy.verify().1, []);
}

#[test]
fn a_lost_abort_is_found_and_written_again() {
    let index = "transactions-0/00000000000000000010.txnindex";
    let copy = Copy::new("aborted");
    let before = fs::read(copy.dir.join(index)).expect("the index");
    copy.change(index, |bytes| bytes.truncate(34));
    let finding = copy.one();
    assert!(finding.level == Level::Error && finding.what.contains("aborted at offset 43"), "{finding:?}");
    copy.repair("backup");
    assert_eq!(fs::read(copy.dir.join(index)).expect("the index"), before);
    assert_eq!(copy.verify().1, []);
    // Gone altogether.
    fs::remove_file(copy.dir.join(index)).expect("removed");
    copy.repair("backup2");
    assert_eq!(fs::read(copy.dir.join(index)).expect("the index"), before);
}

#[test]
fn small_files_that_are_nonsense() {
    for (file, level, mended) in [
        ("recovery-point-offset-checkpoint", Level::Error, true),
        ("codec-none-0/leader-epoch-checkpoint", Level::Error, true),
        ("codec-none-0/00000000000000000030.snapshot", Level::Warning, true),
        ("codec-none-0/partition.metadata", Level::Error, false),
        ("meta.properties", Level::Error, false),
        ("__cluster_metadata-0/quorum-state", Level::Error, false),
        ("__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", Level::Error, false),
        ("codec-none-0/what-is-this", Level::Note, false),
    ] {
        let copy = Copy::new("small");
        copy.change(file, |bytes| {
            bytes.insert(0, b'?');
            bytes.truncate(30);
        });
        let finding = copy.one();
        assert_eq!((finding.level, finding.mend == Mend::SetAside), (level, mended), "{file}: {finding:?}");
        assert!(!finding.remedy.is_empty() && finding.path.ends_with(file), "{finding:?}");
        if mended {
            copy.repair("backup");
            assert!(!copy.backup("backup", file).is_empty(), "{file}");
            copy.sound_but_for_notes();
        }
    }
    let copy = Copy::new("foreign");
    fs::create_dir(copy.dir.join("lost+found")).expect("made");
    assert!(copy.one().remedy.contains("refuses to start"));
    let copy = Copy::new("ids");
    fs::create_dir(copy.dir.join("codec-none-1")).expect("made");
    for name in ["00000000000000000000.log", "00000000000000000000.index", "00000000000000000000.timeindex"] {
        fs::copy(copy.dir.join("codec-none-0").join(name), copy.dir.join("codec-none-1").join(name)).expect("a copy");
    }
    fs::copy(copy.dir.join("codec-gzip-0/partition.metadata"), copy.dir.join("codec-none-1/partition.metadata"))
        .expect("a copy");
    assert!(copy.one().what.contains("the id of its topic"), "{:?}", copy.one());
}

#[test]
fn a_held_directory_is_left_alone() {
    let copy = Copy::new("held");
    copy.change(LOG, |bytes| bytes[1000] ^= 1);
    let (dir, findings) = copy.verify();
    let steps = plan(&*copy.disk, &dir, &findings).expect("a plan");
    let lock = copy.disk.lock(&copy.dir.join(LOCK_FILE)).expect("a lock").expect("free");
    let backup = copy.dir.with_file_name("backup");
    let refused = execute(&*copy.disk, &dir, &steps, &backup, |_| {});
    assert!(matches!(refused, Err(RepairError::Held(_))), "{refused:?}");
    assert!(dir.is_held(&*copy.disk).expect("looked"));
    assert!(!backup.exists());
    drop(lock);
    assert!(!dir.is_held(&*copy.disk).expect("looked"));
    fs::create_dir(&backup).expect("made");
    assert!(matches!(execute(&*copy.disk, &dir, &steps, &backup, |_| {}), Err(RepairError::BackupExists(_))));
}
