//! What lies beside the partitions of a log directory, and what only all partitions together can tell.

use std::collections::BTreeMap;

use logrun_log::DirKind;
use logrun_log::{HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, META_PROPERTIES, RECOVERY_POINT_CHECKPOINT};

use super::{Finding, Mend, PartitionReport};
use crate::survey::{CLEANER_CHECKPOINT, LogDirectory};

/// What can be said before any partition is read.
pub fn examine(dir: &LogDirectory) -> Vec<Finding> {
    let mut found = Vec::new();
    let path = dir.path.join(META_PROPERTIES);
    match &dir.meta {
        Some(Ok(meta)) if meta.directory_id.is_none() => {
            found.push(Finding::note(&path, "it has no directory.id", "the next start gives it one"));
        }
        Some(Ok(_)) => {}
        Some(Err(e)) => {
            let remedy = "put right what it says, or bring it back from a copy: it says whose the data is";
            found.push(Finding::error(&path, format!("it can't be understood: {e}"), remedy));
        }
        None => found.push(Finding::note(&path, "it is missing", "the first start of a node formats the directory")),
    }
    if dir.journal {
        let what = "it has a journal: what was appended last may be there and not in the partitions' files";
        let remedy = "start Logrun on the directory once, which brings the files to where the journal ends, before another program uses it";
        found.push(Finding::warning(&dir.path, what, remedy));
    }
    for (file, checkpoint) in &dir.checkpoints {
        if let Err(e) = checkpoint {
            let remedy = match *file {
                RECOVERY_POINT_CHECKPOINT => {
                    "put it away (logrun log repair does): the next start checks every log whole"
                }
                LOG_START_OFFSET_CHECKPOINT => {
                    "put it away (logrun log repair does): records that DeleteRecords has removed may come back"
                }
                HIGH_WATERMARK_CHECKPOINT => "put it away (logrun log repair does): the next start finds out anew",
                _ => "put it away (logrun log repair does): the next compaction begins anew",
            };
            let finding = Finding::error(&dir.path.join(file), format!("it can't be understood: {e}"), remedy);
            found.push(finding.mend(Mend::SetAside));
        }
    }
    for name in &dir.foreign {
        let remedy = "move it out of the log directory: Apache Kafka refuses to start with it";
        found.push(Finding::warning(&dir.path.join(name), "its name is not a partition's", remedy));
    }
    for partition in &dir.partitions {
        let (what, remedy) = match partition.kind {
            DirKind::Current => continue,
            DirKind::Delete => ("it is to be deleted", "the next start removes it"),
            DirKind::Future => {
                ("it is an unfinished copy from another directory (KIP-113)", "the next start goes on with it")
            }
            DirKind::Stray => ("the metadata knew nothing of it", "look at it and delete it if nobody needs it"),
        };
        found.push(Finding::note(&partition.path, what, remedy));
    }
    found
}

/// What the checkpoints say against where the logs begin and end, and whether topics agree about their ids.
pub fn conclude(dir: &LogDirectory, reports: &[PartitionReport]) -> Vec<Finding> {
    let mut found = Vec::new();
    let by_partition: BTreeMap<_, _> = reports.iter().map(|r| (&r.partition, r)).collect();
    for (file, checkpoint) in &dir.checkpoints {
        let Ok(checkpoint) = checkpoint else { continue };
        let path = dir.path.join(file);
        for (partition, offset) in &checkpoint.0 {
            let Some(report) = by_partition.get(partition) else {
                let is_there = dir.partitions.iter().any(|p| p.partition == *partition);
                if !is_there {
                    let what = format!("it tells of {partition}, which is not there");
                    found.push(Finding::note(&path, what, "ordinary for a topic that was deleted or moved"));
                }
                continue;
            };
            if *offset > report.log_end_offset && *file != CLEANER_CHECKPOINT {
                let what = format!("it says {offset} of {partition}, whose log ends at {}", report.log_end_offset);
                let remedy = match *file {
                    HIGH_WATERMARK_CHECKPOINT => {
                        "committed records are missing: bring the log back from a copy or another replica"
                    }
                    LOG_START_OFFSET_CHECKPOINT => "the next start begins the log anew at that offset",
                    _ => {
                        "records that were on the device are missing: bring the log back from a copy or another replica"
                    }
                };
                found.push(if dir.journal {
                    Finding::note(&path, what, "the directory's journal may have the rest: start Logrun on it once")
                } else {
                    Finding::error(&path, what, remedy)
                });
            }
        }
    }
    let mut ids = BTreeMap::new();
    for report in reports {
        let Some(id) = report.topic_id else { continue };
        let (first, known) = ids.entry(&report.partition.topic).or_insert((&report.partition, id));
        if *known != id {
            let what = format!("the id of its topic is {id}, and {first} has {known}");
            let remedy =
                "one of the two is of another topic of that name: kafka-topics --describe tells which id is right";
            found.push(Finding::error(&report.dir, what, remedy));
        }
    }
    found
}
