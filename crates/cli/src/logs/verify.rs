//! `logrun log verify`: whether every file of log directories is whole, one line for each thing that is not.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use logrun_inspect::schema::Json;
use logrun_inspect::survey::LogDirectory;
use logrun_inspect::verify::{
    Context, Finding, Level, PartitionReport, conclude, examine, segment_bytes, verify_partition,
};
use logrun_io::Disk;
use logrun_log::{DirKind, PartitionDir, RECOVERY_POINT_CHECKPOINT};

use super::survey;
use crate::args::VerifyArgs;
use logrun_ctl::Failure;
use logrun_ctl::output::progress::{Progress, Unit, size};

/// What one directory's check gave.
pub struct Verified {
    pub dir: LogDirectory,
    pub findings: Vec<Finding>,
    reports: Vec<PartitionReport>,
}

/// Checks one directory on all processors.
///
/// # Errors
/// A directory can't be listed.
pub fn verify(disk: &Arc<dyn Disk>, path: &Path, show_progress: bool) -> Result<Verified, Failure> {
    let dir = survey(disk, path)?;
    let cannot =
        |p: &PartitionDir, e: std::io::Error| Failure::new(format!("can't look into {}: {e}", p.path.display()));
    let held = dir.is_held(&**disk).map_err(|e| Failure::new(format!("can't look at {}: {e}", dir.path.display())))?;
    if held {
        eprintln!("logrun: a process runs on {}: what it writes meanwhile may look torn", dir.path.display());
    }
    // What waits for its removal may have any holes.
    let checked: Vec<&PartitionDir> = dir.partitions.iter().filter(|p| p.kind != DirKind::Delete).collect();
    let mut total = 0;
    for partition in &checked {
        total += segment_bytes(&**disk, &partition.path).map_err(|e| cannot(partition, e))?;
    }
    let progress = Progress::new(Unit::Bytes, total, show_progress);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(checked.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(partition) = checked.get(at) else { break };
                    let context = Context {
                        topic: partition.partition.topic.as_str(),
                        clean_shutdown: dir.clean_shutdown && !held,
                        recovery_point: dir.checkpoint(RECOVERY_POINT_CHECKPOINT, &partition.partition),
                        progress: &|bytes| progress.add(bytes),
                    };
                    let report = verify_partition(disk, partition, &context).map_err(|e| cannot(partition, e));
                    if let Ok(mut done) = done.lock() {
                        done.push((at, report));
                    }
                }
            });
        }
    });
    progress.hide();
    let mut done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(at, _)| *at);
    let reports = done.into_iter().map(|(_, report)| report).collect::<Result<Vec<_>, _>>()?;
    let mut findings = examine(&dir);
    findings.extend(reports.iter().flat_map(|r| r.findings.iter().cloned()));
    findings.extend(conclude(&dir, &reports));
    Ok(Verified { dir, findings, reports })
}

/// Runs the command.
///
/// # Errors
/// A directory can't be looked into.
pub fn run(disk: &Arc<dyn Disk>, args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let mut findings = Vec::new();
    let mut sums = [0u64; 5];
    for path in &args.dirs {
        let verified = verify(disk, path, !args.json)?;
        for r in &verified.reports {
            for (sum, n) in sums.iter_mut().zip([1, r.segments as u64, r.batches, r.records, r.bytes]) {
                *sum += n;
            }
        }
        findings.extend(verified.findings);
    }
    let text = if args.json { json(&findings, &sums) } else { lines(&findings, &sums, args.verbose) };
    std::io::stdout().write_all(text.as_bytes()).map_err(|e| Failure::new(format!("can't print: {e}")))?;
    let is_sound = findings.iter().all(|f| f.level == Level::Note);
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lines(findings: &[Finding], sums: &[u64; 5], verbose: bool) -> String {
    let mut text = String::new();
    for f in findings.iter().filter(|f| verbose || f.level > Level::Note) {
        text.push_str(&format!("{}: {}: {}: {}\n", f.level.word(), f.path.display(), f.what, f.remedy));
    }
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let [partitions, segments, batches, records, bytes] = sums;
    text.push_str(&format!(
        "{partitions} partitions, {segments} segments, {batches} batches, {records} records, {}: ",
        size(*bytes)
    ));
    let many = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (count(Level::Error), count(Level::Warning)) {
        (0, 0) => text.push_str("all sound"),
        (errors, warnings) => {
            text.push_str(&format!("{}, {}", many(errors, "error"), many(warnings, "warning")));
        }
    }
    match count(Level::Note) {
        0 => {}
        notes if verbose => text.push_str(&format!(", {}", many(notes, "note"))),
        notes => text.push_str(&format!(" ({}: --verbose shows them)", many(notes, "note"))),
    }
    text.push('\n');
    text
}

fn json(findings: &[Finding], sums: &[u64; 5]) -> String {
    let findings = findings.iter().map(|f| {
        Json::Object(vec![
            ("level", f.level.word().into()),
            ("path", f.path.display().to_string().into()),
            ("what", f.what.as_str().into()),
            ("remedy", f.remedy.as_str().into()),
        ])
    });
    let mut members = vec![("findings", Json::Array(findings.collect()))];
    for (name, n) in ["partitions", "segments", "batches", "records", "bytes"].into_iter().zip(sums) {
        members.push((name, i64::try_from(*n).unwrap_or(i64::MAX).into()));
    }
    format!("{}\n", Json::Object(members))
}
