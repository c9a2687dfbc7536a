//! ElectLeaders (key 43, versions 0–2; KIP-183, KIP-460): makes the preferred replica the leader, or any replica that
//! lives where there is no leader (from version 1).
//!
//! The controller decides. A partition that needs no election is ELECTION_NOT_NEEDED where it was named, and left out
//! where all were asked for.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use logrun_wire::messages::elect_leaders_response::{ElectLeadersResponse, PartitionResult, ReplicaElectionResult};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;
use crate::errors::Failure;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let wanted = request.topic_partitions.clone().unwrap_or_default();
    let failure = match broker.controller().submit(Command::ElectLeaders { request }).await {
        Ok(Reply::ElectLeaders(response)) => return response,
        Ok(other) => refused(other),
        Err(failure) => failure,
    };
    failed(context.api_version, wanted, &failure)
}

/// The failure of the whole is told for each partition; version 0 has no other place for it.
fn failed(version: i16, wanted: Vec<TopicPartitions>, failure: &Failure) -> ElectLeadersResponse {
    let each = wanted.into_iter().map(|t| {
        let partition_result = t.partitions.into_iter().map(|partition_id| PartitionResult {
            partition_id,
            error_code: failure.code.code(),
            error_message: failure.message.as_deref().map(Into::into),
            ..Default::default()
        });
        ReplicaElectionResult { topic: t.topic, partition_result: partition_result.collect(), ..Default::default() }
    });
    ElectLeadersResponse {
        error_code: if version >= 1 { failure.code.code() } else { 0 },
        replica_election_results: each.collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_wire::{ErrorCode, Message};

    #[test]
    fn every_version_can_tell_a_failure() {
        let wanted = || vec![TopicPartitions { topic: "t".into(), partitions: vec![3], ..Default::default() }];
        for version in 0..=2 {
            let response = failed(version, wanted(), &Failure::of(ErrorCode::NotController));
            response.to_bytes(version).unwrap();
            assert_eq!(response.replica_election_results[0].partition_result[0].error_code, 41);
        }
    }
}
