//! The one table of APIs: which versions are served, on which kind of listener, by which handler.
//!
//! Dispatch and the ApiVersions reply both read it, so a version is advertised exactly when it is served.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use logrun_net::Outcome;
use logrun_wire::{ApiKey, DecodeError, Decoder, Message};

use crate::Broker;
use crate::context::{ListenerKind, RequestContext};
use crate::dispatch::IntoOutcome;
use crate::handlers;

type Handling<'a> = Pin<Box<dyn Future<Output = Result<Outcome, DecodeError>> + Send + 'a>>;

/// One API.
pub struct Api {
    pub key: ApiKey,
    /// The lowest version served.
    pub min: i16,
    /// The highest version served.
    pub max: i16,
    /// The lowest version that ApiVersions names. Below `min` only for Produce: librdkafka up to 2.8
    /// gives up on compression if version 0 is not named (KAFKA-18659).
    pub advertised_min: i16,
    /// Whether it is served on brokers' listeners.
    pub on_broker: bool,
    /// Whether it is served on controllers' listeners.
    pub on_controller: bool,
    /// Whether only the active controller can answer it, so that a broker sends it there (Kafka's `forwardable`).
    pub is_forwarded: bool,
    /// Decodes, handles, encodes.
    pub run: for<'a> fn(&'a Arc<Broker>, RequestContext, Decoder) -> Handling<'a>,
}

impl Api {
    pub fn serves(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// Whether it is served on a listener of `kind`.
    pub fn is_on(&self, kind: ListenerKind) -> bool {
        match kind {
            ListenerKind::Broker => self.on_broker,
            ListenerKind::Controller => self.on_controller,
        }
    }
}

macro_rules! apis {
    ($($key:ident $request:ident $min:literal..=$max:literal => $module:ident $(advertised from $advertised:literal)? $(also on $controller:ident)? $(answered by $forwarded:ident)? $(only on $only:ident)?;)*) => {
        /// Every API that is served, by key.
        pub static APIS: &[Api] = &[$(Api {
            key: ApiKey::$key,
            min: $min,
            max: $max,
            advertised_min: apis!(@first $($advertised)? $min),
            on_broker: !apis!(@is $($only)?),
            on_controller: apis!(@is $($controller)? $($forwarded)? $($only)?),
            is_forwarded: apis!(@is $($forwarded)?),
            run: |broker, context, mut body| Box::pin(async move {
                // Bytes behind the message are not looked at, as in Apache Kafka: librdkafka 2.16 writes a Metadata
                // request of all topics with an array length of four bytes where one is read.
                let request = logrun_wire::messages::$request::decode(&mut body, context.api_version)?;
                let response = handlers::$module::handle(broker, &context, request).await;
                Ok(response.into_outcome(context))
            }),
        }),*];
    };
    (@first $a:literal $b:literal) => { $a };
    (@first $a:literal) => { $a };
    (@is controller) => { true };
    (@is) => { false };
}

apis! {
    Produce ProduceRequest 3..=13 => k00_produce advertised from 0;
    Fetch FetchRequest 4..=18 => k01_fetch also on controller;
    ListOffsets ListOffsetsRequest 1..=11 => k02_list_offsets;
    Metadata MetadataRequest 0..=13 => k03_metadata;
    OffsetCommit OffsetCommitRequest 2..=10 => k08_offset_commit;
    OffsetFetch OffsetFetchRequest 1..=10 => k09_offset_fetch;
    FindCoordinator FindCoordinatorRequest 0..=6 => k10_find_coordinator;
    JoinGroup JoinGroupRequest 0..=9 => k11_join_group;
    Heartbeat HeartbeatRequest 0..=4 => k12_heartbeat;
    LeaveGroup LeaveGroupRequest 0..=5 => k13_leave_group;
    SyncGroup SyncGroupRequest 0..=5 => k14_sync_group;
    DescribeGroups DescribeGroupsRequest 0..=6 => k15_describe_groups;
    ListGroups ListGroupsRequest 0..=5 => k16_list_groups;
    ApiVersions ApiVersionsRequest 0..=4 => k18_api_versions also on controller;
    CreateTopics CreateTopicsRequest 2..=7 => k19_create_topics answered by controller;
    DeleteTopics DeleteTopicsRequest 1..=6 => k20_delete_topics answered by controller;
    DeleteRecords DeleteRecordsRequest 0..=2 => k21_delete_records;
    InitProducerId InitProducerIdRequest 0..=5 => k22_init_producer_id;
    OffsetForLeaderEpoch OffsetForLeaderEpochRequest 2..=4 => k23_offset_for_leader_epoch;
    DescribeConfigs DescribeConfigsRequest 1..=4 => k32_describe_configs also on controller;
    AlterConfigs AlterConfigsRequest 0..=2 => k33_alter_configs answered by controller;
    AlterReplicaLogDirs AlterReplicaLogDirsRequest 1..=2 => k34_alter_replica_log_dirs;
    DescribeLogDirs DescribeLogDirsRequest 1..=5 => k35_describe_log_dirs;
    CreatePartitions CreatePartitionsRequest 0..=3 => k37_create_partitions answered by controller;
    DeleteGroups DeleteGroupsRequest 0..=2 => k42_delete_groups;
    ElectLeaders ElectLeadersRequest 0..=2 => k43_elect_leaders answered by controller;
    IncrementalAlterConfigs IncrementalAlterConfigsRequest 0..=1 => k44_incremental_alter_configs answered by controller;
    AlterPartitionReassignments AlterPartitionReassignmentsRequest 0..=1 => k45_alter_partition_reassignments answered by controller;
    ListPartitionReassignments ListPartitionReassignmentsRequest 0..=0 => k46_list_partition_reassignments answered by controller;
    OffsetDelete OffsetDeleteRequest 0..=0 => k47_offset_delete;
    DescribeQuorum DescribeQuorumRequest 0..=2 => k55_describe_quorum answered by controller;
    AlterPartition AlterPartitionRequest 2..=3 => k56_alter_partition only on controller;
    UpdateFeatures UpdateFeaturesRequest 0..=2 => k57_update_features answered by controller;
    Envelope EnvelopeRequest 0..=0 => k58_envelope only on controller;
    FetchSnapshot FetchSnapshotRequest 0..=1 => k59_fetch_snapshot only on controller;
    DescribeCluster DescribeClusterRequest 0..=2 => k60_describe_cluster also on controller;
    DescribeProducers DescribeProducersRequest 0..=0 => k61_describe_producers;
    BrokerRegistration BrokerRegistrationRequest 0..=4 => k62_broker_registration only on controller;
    BrokerHeartbeat BrokerHeartbeatRequest 0..=2 => k63_broker_heartbeat only on controller;
    UnregisterBroker UnregisterBrokerRequest 0..=0 => k64_unregister_broker answered by controller;
    AllocateProducerIds AllocateProducerIdsRequest 0..=0 => k67_allocate_producer_ids only on controller;
    ControllerRegistration ControllerRegistrationRequest 0..=0 => k70_controller_registration only on controller;
    AssignReplicasToDirs AssignReplicasToDirsRequest 0..=0 => k73_assign_replicas_to_dirs only on controller;
    ListConfigResources ListConfigResourcesRequest 0..=1 => k74_list_config_resources;
    DescribeTopicPartitions DescribeTopicPartitionsRequest 0..=0 => k75_describe_topic_partitions;
}

/// The API of `key` on a listener of `kind`, if it is served there.
pub fn find(key: ApiKey, kind: ListenerKind) -> Option<&'static Api> {
    APIS.iter().find(|a| a.key == key && a.is_on(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_within_the_schema() {
        assert!(APIS.windows(2).all(|w| w[0].key < w[1].key));
        assert!(APIS.iter().all(|a| a.on_broker || a.on_controller));
        assert!(APIS.iter().filter(|a| a.is_forwarded).all(|a| a.on_broker && a.on_controller));
    }
}
