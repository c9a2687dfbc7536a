//! One file per API, numbered by its key: versions, what each brought, which errors. A handler parses, fans
//! out, calls one place, and fills in errors; it decides nothing.

pub mod k00_produce;
pub mod k01_fetch;
pub mod k02_list_offsets;
pub mod k03_metadata;
pub mod k08_offset_commit;
pub mod k09_offset_fetch;
pub mod k10_find_coordinator;
pub mod k11_join_group;
pub mod k12_heartbeat;
pub mod k13_leave_group;
pub mod k14_sync_group;
pub mod k15_describe_groups;
pub mod k16_list_groups;
pub mod k18_api_versions;
pub mod k19_create_topics;
pub mod k20_delete_topics;
pub mod k21_delete_records;
pub mod k22_init_producer_id;
pub mod k23_offset_for_leader_epoch;
pub mod k32_describe_configs;
pub mod k33_alter_configs;
pub mod k34_alter_replica_log_dirs;
pub mod k35_describe_log_dirs;
pub mod k37_create_partitions;
pub mod k42_delete_groups;
pub mod k43_elect_leaders;
pub mod k44_incremental_alter_configs;
pub mod k45_alter_partition_reassignments;
pub mod k46_list_partition_reassignments;
pub mod k47_offset_delete;
pub mod k55_describe_quorum;
pub mod k56_alter_partition;
pub mod k57_update_features;
pub mod k58_envelope;
pub mod k59_fetch_snapshot;
pub mod k60_describe_cluster;
pub mod k61_describe_producers;
pub mod k62_broker_registration;
pub mod k63_broker_heartbeat;
pub mod k64_unregister_broker;
pub mod k67_allocate_producer_ids;
pub mod k70_controller_registration;
pub mod k73_assign_replicas_to_dirs;
pub mod k74_list_config_resources;
pub mod k75_describe_topic_partitions;

use logrun_metadata::MetadataImage;
use logrun_model::{NodeId, PartitionIndex, Str, TopicId, TopicIdPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::{fetch_response, produce_response};

use crate::Broker;
use crate::context::RequestContext;
use crate::errors::Failure;

/// The topic whose one partition is the metadata log.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// "Not asked for" in a field of authorized operations.
pub const NO_OPERATIONS: i32 = i32::MIN;
/// All operations on a topic as a bit set (`AclOperation` codes): without an authorizer everybody may everything.
pub const TOPIC_OPERATIONS: i32 =
    bits(&[READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);
/// All operations on the cluster.
pub const CLUSTER_OPERATIONS: i32 =
    bits(&[CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE]);
/// All operations on a group.
pub const GROUP_OPERATIONS: i32 = bits(&[READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);

const READ: u8 = 3;
const WRITE: u8 = 4;
const CREATE: u8 = 5;
const DELETE: u8 = 6;
const ALTER: u8 = 7;
const DESCRIBE: u8 = 8;
const CLUSTER_ACTION: u8 = 9;
const DESCRIBE_CONFIGS: u8 = 10;
const ALTER_CONFIGS: u8 = 11;
const IDEMPOTENT_WRITE: u8 = 12;

const fn bits(operations: &[u8]) -> i32 {
    let (mut out, mut i) = (0, 0);
    while i < operations.len() {
        out |= 1 << operations[i];
        i += 1;
    }
    out
}

/// A topic as a request named it.
#[derive(Clone, Debug)]
pub struct FoundTopic {
    pub id: TopicId,
    pub name: Str,
    partitions: usize,
}

impl FoundTopic {
    pub fn partition(&self, partition: PartitionIndex) -> TopicIdPartition {
        TopicIdPartition { topic_id: self.id, partition }
    }

    pub fn has_partition(&self, index: PartitionIndex) -> bool {
        usize::try_from(index).is_ok_and(|i| i < self.partitions)
    }
}

/// Finds a topic by its id or by its name, as the request's version has it.
pub fn find_topic(image: &MetadataImage, by_id: bool, name: &Str, id: Uuid) -> Result<FoundTopic, Failure> {
    let found = if by_id { image.topics.by_id(id) } else { image.topics.by_name(name) };
    match found {
        Some(t) => Ok(FoundTopic { id: t.id, name: t.name.clone(), partitions: t.partition_count() as usize }),
        None if by_id => Err(Failure::of(ErrorCode::UnknownTopicId)),
        None => Err(Failure::of(ErrorCode::UnknownTopicOrPartition)),
    }
}

/// Whether an error is cured by knowing the present leader (KIP-951).
fn wants_leader(code: i16) -> bool {
    code == ErrorCode::NotLeaderOrFollower.code() || code == ErrorCode::FencedLeaderEpoch.code()
}

/// The present leader of a partition.
struct Leader {
    node: NodeId,
    epoch: i32,
    /// Host and port, if the client can be told any.
    endpoint: Option<(Str, i32)>,
}

/// The present leader of a partition, its epoch and its address.
fn leader_of(
    broker: &Broker,
    context: &RequestContext,
    by_id: bool,
    name: &Str,
    id: Uuid,
    index: PartitionIndex,
) -> Option<Leader> {
    let image = broker.image();
    let topic = if by_id { image.topics.by_id(id) } else { image.topics.by_name(name) }?;
    let partition = topic.partition(index)?;
    let endpoint = broker.endpoint_of(context, partition.leader);
    Some(Leader { node: partition.leader, epoch: partition.leader_epoch.get(), endpoint })
}

/// Adds to each partition that this broker does not lead who does, and the leaders' addresses (KIP-951).
pub fn add_current_leaders_to_produce(
    broker: &Broker,
    context: &RequestContext,
    response: &mut produce_response::ProduceResponse,
) {
    let by_id = context.api_version >= 13;
    for topic in &mut response.responses {
        for p in topic.partition_responses.iter_mut().filter(|p| wants_leader(p.error_code)) {
            let Some(Leader { node, epoch, endpoint }) =
                leader_of(broker, context, by_id, &topic.name, topic.topic_id, p.index)
            else {
                continue;
            };
            p.current_leader.leader_id = node.get();
            p.current_leader.leader_epoch = epoch;
            if let Some((host, port)) = endpoint
                && response.node_endpoints.iter().all(|e| e.node_id != node.get())
            {
                response.node_endpoints.push(produce_response::NodeEndpoint {
                    node_id: node.get(),
                    host,
                    port,
                    ..Default::default()
                });
            }
        }
    }
}

/// The same for a fetch.
pub fn add_current_leaders_to_fetch(
    broker: &Broker,
    context: &RequestContext,
    response: &mut fetch_response::FetchResponse,
) {
    let by_id = context.api_version >= 13;
    for topic in &mut response.responses {
        for p in topic.partitions.iter_mut().filter(|p| wants_leader(p.error_code)) {
            let Some(Leader { node, epoch, endpoint }) =
                leader_of(broker, context, by_id, &topic.topic, topic.topic_id, p.partition_index)
            else {
                continue;
            };
            p.current_leader.leader_id = node.get();
            p.current_leader.leader_epoch = epoch;
            if let Some((host, port)) = endpoint
                && context.api_version >= 16
                && response.node_endpoints.iter().all(|e| e.node_id != node.get())
            {
                response.node_endpoints.push(fetch_response::NodeEndpoint {
                    node_id: node.get(),
                    host,
                    port,
                    ..Default::default()
                });
            }
        }
    }
}
