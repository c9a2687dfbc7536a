//! The quorum's control records: who leads, who votes, which protocol, where a snapshot begins and ends.
//!
//! Their values are generated messages, written at version 0 as Kafka 4.3 does.

use bytes::Bytes;
use logrun_model::{DirectoryId, NodeId, Str, TimestampMs};
use logrun_record::ControlRecordType;
use logrun_wire::messages::{
    KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
    leader_change_message, voters_record,
};
use logrun_wire::{EncodeError, Message};

/// The quorum protocol's version: 1 has voters in the log, so that the quorum can grow (KIP-853).
pub const KRAFT_VERSION: i16 = 1;

/// Where a voter's controller listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// The listener's name.
    pub name: Str,
    pub host: Str,
    pub port: u16,
}

/// A voter: its key is the node's id together with the id of the directory that holds its metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    pub id: NodeId,
    pub directory_id: DirectoryId,
    pub endpoints: Vec<VoterEndpoint>,
}

/// A control record as a batch takes it.
pub type ControlRecord = (ControlRecordType, Bytes);

/// `voter` leads, elected by itself.
pub fn leader_change(voter: NodeId) -> Result<ControlRecord, EncodeError> {
    let each = || vec![leader_change_message::Voter { voter_id: voter.get(), ..Default::default() }];
    let message = LeaderChangeMessage {
        version: 0,
        leader_id: voter.get(),
        voters: each(),
        granting_voters: each(),
        ..Default::default()
    };
    Ok((ControlRecordType::LeaderChange, message.to_bytes(0)?))
}

/// The protocol's version and the voters, as they stand at a log's and a snapshot's beginning.
pub fn quorum(voters: &[Voter]) -> Result<[ControlRecord; 2], EncodeError> {
    let version = KRaftVersionRecord { version: 0, kraft_version: KRAFT_VERSION, ..Default::default() };
    let endpoint = |e: &VoterEndpoint| voters_record::Endpoint {
        name: e.name.clone(),
        host: e.host.clone(),
        port: e.port,
        ..Default::default()
    };
    let voter = |v: &Voter| voters_record::Voter {
        voter_id: v.id.get(),
        voter_directory_id: v.directory_id,
        endpoints: v.endpoints.iter().map(endpoint).collect(),
        kraft_version_feature: voters_record::KRaftVersionFeature {
            min_supported_version: 0,
            max_supported_version: KRAFT_VERSION,
            ..Default::default()
        },
        ..Default::default()
    };
    let voters = VotersRecord { version: 0, voters: voters.iter().map(voter).collect(), ..Default::default() };
    Ok([(ControlRecordType::KRaftVersion, version.to_bytes(0)?), (ControlRecordType::KRaftVoters, voters.to_bytes(0)?)])
}

/// The first record of a snapshot.
pub fn snapshot_header(last_contained: TimestampMs) -> Result<ControlRecord, EncodeError> {
    let header =
        SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: last_contained.get(), ..Default::default() };
    Ok((ControlRecordType::SnapshotHeader, header.to_bytes(0)?))
}

/// The last record of a snapshot: without it the snapshot is not whole.
pub fn snapshot_footer() -> Result<ControlRecord, EncodeError> {
    let footer = SnapshotFooterRecord { version: 0, ..Default::default() };
    Ok((ControlRecordType::SnapshotFooter, footer.to_bytes(0)?))
}

/// The voters of a voters record's value.
pub fn voters(value: Bytes) -> Result<Vec<Voter>, logrun_wire::DecodeError> {
    let record = VotersRecord::decode_exact(value, 0)?;
    let endpoint =
        |e: &voters_record::Endpoint| VoterEndpoint { name: e.name.detached(), host: e.host.detached(), port: e.port };
    let voter = |v: &voters_record::Voter| Voter {
        id: NodeId(v.voter_id),
        directory_id: v.voter_directory_id,
        endpoints: v.endpoints.iter().map(endpoint).collect(),
    };
    Ok(record.voters.iter().map(voter).collect())
}
