//! `quorum-state`: the epoch, its leader, and this voter's vote, as JSON (Kafka's `FileQuorumStateStore`).
//!
//! An epoch that was once seen must never be forgotten: the file is on the device before anything of a new
//! epoch is written.

use std::path::Path;

use logrun_io::disk::{Disk, read_all, replace};
use logrun_model::{NodeId, RaftEpoch, Uuid};
use serde_json::{Value, json};

use crate::RaftError;

const FILE: &str = "quorum-state";

/// What a voter has to remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumState {
    pub leader_epoch: RaftEpoch,
    /// `NodeId::NONE` if unknown.
    pub leader_id: NodeId,
    /// For whom this voter voted in the epoch; `NodeId::NONE` for nobody.
    pub voted_id: NodeId,
    pub voted_directory_id: Uuid,
}

impl QuorumState {
    /// A voter that has seen no epoch.
    pub const NEW: Self = Self {
        leader_epoch: RaftEpoch(0),
        leader_id: NodeId::NONE,
        voted_id: NodeId::NONE,
        voted_directory_id: Uuid::ZERO,
    };

    /// Reads the state of the metadata log in `dir`; a voter that has none yet is new.
    pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, RaftError> {
        let path = dir.join(FILE);
        let bytes =
            read_all(disk, &path).map_err(|source| RaftError::Io { action: "read", path: path.clone(), source })?;
        let Some(bytes) = bytes else { return Ok(Self::NEW) };
        Self::decode(&bytes).map_err(|reason| RaftError::QuorumState { path, reason })
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let number = |name: &str, default: Option<i64>| match value.get(name) {
            Some(v) => {
                let n = v.as_i64().and_then(|n| i32::try_from(n).ok());
                n.ok_or_else(|| format!("`{name}` is not a 32-bit number"))
            }
            None => default.and_then(|d| i32::try_from(d).ok()).ok_or_else(|| format!("`{name}` is missing")),
        };
        match number("data_version", None)? {
            0 | 1 => {}
            v => return Err(format!("data_version {v} is newer than this program knows")),
        }
        let epoch = number("leaderEpoch", None)?;
        if epoch < 0 {
            return Err(format!("`leaderEpoch` is {epoch}"));
        }
        let directory = match value.get("votedDirectoryId").and_then(Value::as_str) {
            Some(text) => text.parse().map_err(|e: logrun_model::InvalidUuid| e.to_string())?,
            None => Uuid::ZERO,
        };
        Ok(Self {
            leader_epoch: RaftEpoch(epoch),
            leader_id: NodeId(number("leaderId", Some(-1))?),
            voted_id: NodeId(number("votedId", Some(-1))?),
            voted_directory_id: directory,
        })
    }

    /// Writes the state; on the device when this returns.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), RaftError> {
        let path = dir.join(FILE);
        let text = json!({
            "leaderId": self.leader_id.get(),
            "leaderEpoch": self.leader_epoch.get(),
            "votedId": self.voted_id.get(),
            "votedDirectoryId": self.voted_directory_id.to_string(),
            "data_version": 1,
        });
        replace(disk, &path, text.to_string().as_bytes()).map_err(|source| RaftError::Io {
            action: "write",
            path,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kafka_writes() {
        let kafkas = br#"{"leaderId":1,"leaderEpoch":7,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;
        let state = QuorumState::decode(kafkas).unwrap();
        assert_eq!((state.leader_epoch, state.leader_id), (RaftEpoch(7), NodeId(1)));
        let older = br#"{"clusterId":"","leaderId":1,"leaderEpoch":3,"votedId":1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#;
        assert_eq!(QuorumState::decode(older).unwrap().voted_id, NodeId(1));
        assert!(QuorumState::decode(b"{}").is_err());
        assert!(QuorumState::decode(br#"{"leaderEpoch":99999999999,"data_version":1}"#).is_err());
        assert!(QuorumState::decode(br#"{"leaderEpoch":1,"data_version":9}"#).is_err());
    }
}
