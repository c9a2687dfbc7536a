//! Partitions that move between the directories of the node while they are written (AlterReplicaLogDirs).

use logrun_model::{Str, TopicPartition};
use logrun_wire::ErrorCode;
use logrun_wire::messages::AlterReplicaLogDirsRequest;
use logrun_wire::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};

use super::{Link, Lost, error, is_disk_trouble, is_not_ready};
use crate::model::Violation;

const TIMEOUT_MS: u64 = 20_000;

/// Asks for a move of `tp` to a random directory, which may be where it is.
pub async fn alter(link: &mut Link, tp: TopicPartition) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let dirs = &phase.run.plan.log_dirs;
    let path = Str::from(dirs[phase.run.random.below(dirs.len() as u64) as usize]);
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: path.clone(),
            topics: vec![AlterReplicaLogDirTopic {
                name: tp.topic.clone(),
                partitions: vec![tp.partition],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    phase.note(format_args!("admin moves {tp} to {path}"));
    let response = link.call(1 + phase.run.random.below(2) as i16, &request, TIMEOUT_MS).await?;
    let result = response.results.first().and_then(|t| t.partitions.first());
    match error(result.map_or(ErrorCode::UnknownServerError.code(), |p| p.error_code)) {
        ErrorCode::None => {
            phase.run.stats.borrow_mut().add("moves", 1);
            Ok(())
        }
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e => {
            phase.fail(Violation::new("errors", format!("AlterReplicaLogDirs of {tp} to {path}: {e}")));
            Err(Lost)
        }
    }
}
