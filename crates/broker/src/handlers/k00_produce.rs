//! Produce (key 0, versions 3–13; KIP-98, KIP-951, KIP-516).
//!
//! | version | what it brought                                             |
//! |---------|-------------------------------------------------------------|
//! | 3–8     | magic 2 batches; 5: log start offset; 7: zstd; 8: record errors |
//! | 9       | flexible                                                    |
//! | 10      | the present leader with NOT_LEADER_OR_FOLLOWER (KIP-951)    |
//! | 13      | topic ids                                                   |
//!
//! Fans out over the partitions; what an append does is the partition's business. With `acks=all` the
//! response waits for the high watermark while the connection's next request begins. With `acks=0`
//! there is no response, and an error closes the connection, so that the client asks for metadata again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use logrun_model::{Offset, TopicIdPartition, is_internal_topic};
use logrun_wire::ErrorCode;
use logrun_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use logrun_wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use tokio::sync::oneshot;

use super::find_topic;
use crate::Broker;
use crate::context::RequestContext;
use crate::dispatch::Reply;
use crate::errors::{Failure, code_of_not_replicated};
use crate::partitions::{Acks, AppendRequest, Appended};
use crate::waiting::NotReplicated;

/// The client id of the tool that may write internal topics.
const ADMIN_CLIENT: &str = "__admin_client";
/// Produce requests up to this version can't know zstd (KIP-110).
const LAST_VERSION_WITHOUT_ZSTD: i16 = 6;

type Commit = oneshot::Receiver<Result<(), NotReplicated>>;

/// A partition's place in the response whose commit is still awaited.
struct Awaited {
    topic: usize,
    partition: usize,
    commit: Commit,
}

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: ProduceRequest) -> Reply<ProduceResponse> {
    let acks = Acks::from_wire(request.acks);
    let mut awaited = Vec::new();
    let mut failed = false;
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for (t, topic) in request.topic_data.into_iter().enumerate() {
        let target = target(broker, context, &topic);
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        let named: Vec<i32> = topic.partition_data.iter().map(|data| data.index).collect();
        let mut all = target.as_ref().ok().map(|topic| || named.iter().map(|index| topic.partition(*index)));
        for (p, data) in topic.partition_data.into_iter().enumerate() {
            let index = data.index;
            let outcome = match (&target, acks) {
                (_, None) => Err(Failure::with(
                    ErrorCode::InvalidRequiredAcks,
                    format!("acks must be -1, 0 or 1; it is {}", request.acks),
                )),
                (Err(failure), _) => Err(failure.clone()),
                (Ok(topic), Some(acks)) => append(broker, context, topic, &mut all, data, acks).await,
            };
            partitions.push(match outcome {
                Ok(appended) => {
                    if let Some(commit) = appended.commit {
                        awaited.push(Awaited { topic: t, partition: p, commit });
                    }
                    PartitionProduceResponse {
                        index,
                        base_offset: appended.base_offset.get(),
                        log_append_time_ms: appended.log_append_time.get(),
                        log_start_offset: appended.log_start_offset.get(),
                        ..Default::default()
                    }
                }
                Err(failure) => {
                    failed = true;
                    refused(index, failure)
                }
            });
        }
        responses.push(TopicProduceResponse {
            // Not as a slice of the request, whose buffer is free again before the response is sent.
            name: topic.name.detached(),
            topic_id: topic.topic_id,
            partition_responses: partitions,
            ..Default::default()
        });
    }
    let mut response = ProduceResponse { responses, ..Default::default() };
    if failed && context.api_version >= 10 {
        super::add_current_leaders_to_produce(broker, context, &mut response);
    }
    match acks {
        Some(Acks::None) => {
            if failed {
                Reply::Close
            } else {
                Reply::Nothing
            }
        }
        _ if awaited.is_empty() => Reply::Now(response),
        _ => {
            let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
            Reply::Later(Box::pin(await_commits(broker.clone(), response, awaited, timeout)))
        }
    }
}

fn target(broker: &Broker, context: &RequestContext, topic: &TopicProduceData) -> Result<super::FoundTopic, Failure> {
    let found = find_topic(&broker.image(), context.api_version >= 13, &topic.name, topic.topic_id)?;
    if is_internal_topic(&found.name) && context.client_id().as_str() != ADMIN_CLIENT {
        return Err(Failure::with(
            ErrorCode::InvalidTopicException,
            format!("clients can't write the internal topic {}", found.name),
        ));
    }
    Ok(found)
}

async fn append<I: Iterator<Item = TopicIdPartition>>(
    broker: &Arc<Broker>,
    context: &RequestContext,
    topic: &super::FoundTopic,
    all: &mut Option<impl FnOnce() -> I>,
    data: PartitionProduceData,
    acks: Acks,
) -> Result<Appended, Failure> {
    let partition = broker.partition_among(topic, data.index, all).await?;
    let records = data
        .records
        .ok_or_else(|| {
            Failure::with(ErrorCode::InvalidRecord, "a produce request must hold a record batch for each partition")
        })?
        .into_bytes();
    partition.append_from_client(
        broker.now(),
        AppendRequest { records, acks, zstd_allowed: context.api_version > LAST_VERSION_WITHOUT_ZSTD },
    )
}

fn refused(index: i32, failure: Failure) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: failure.code.code(),
        base_offset: Offset::NONE.get(),
        log_append_time_ms: -1,
        log_start_offset: failure.log_start_offset.map_or(-1, Offset::get),
        record_errors: failure
            .record_errors
            .iter()
            .map(|e| BatchIndexAndErrorMessage {
                batch_index: e.batch_index,
                batch_index_error_message: e.message.as_deref().map(Into::into),
                ..Default::default()
            })
            .collect(),
        error_message: failure.message.as_deref().map(Into::into),
        current_leader: LeaderIdAndEpoch::default(),
        ..Default::default()
    }
}

async fn await_commits(
    broker: Arc<Broker>,
    mut response: ProduceResponse,
    awaited: Vec<Awaited>,
    timeout: Duration,
) -> ProduceResponse {
    let deadline = broker.io().clock.now().plus(timeout);
    let clock = broker.io().clock.clone();
    let results = join_all(awaited.into_iter().map(|a| {
        let clock = clock.clone();
        async move {
            let code = tokio::select! {
                biased;
                // A sender that has gone is a partition that was dropped.
                result = a.commit => match result.unwrap_or(Err(NotReplicated::NotLeader)) {
                    Ok(()) => ErrorCode::None,
                    Err(reason) => code_of_not_replicated(reason),
                },
                () = clock.sleep_until(deadline) => ErrorCode::RequestTimedOut,
            };
            (a.topic, a.partition, code)
        }
    }))
    .await;
    for (topic, partition, code) in results {
        if !code.is_none() {
            let p = &mut response.responses[topic].partition_responses[partition];
            p.error_code = code.code();
            p.base_offset = Offset::NONE.get();
        }
    }
    response
}
