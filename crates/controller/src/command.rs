//! What the controller is asked and what it answers: the protocol's own requests and responses, with what only the
//! caller can know beside them (random ids, seeds, liveness).

use logrun_metadata::records::MetadataRecord;
use logrun_model::{BrokerEpoch, NodeId, Str, TopicId};
use logrun_wire::messages as m;

use crate::error::ApiError;

/// A command to the controller.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// The first command after the log is loaded. Ends what a former leader left open; an empty log gets `bootstrap`.
    Activate {
        bootstrap: Vec<MetadataRecord>,
    },
    /// `topic_ids` are random, one for each topic of the request; `seed` mixes the placement of replicas.
    CreateTopics {
        request: m::CreateTopicsRequest,
        topic_ids: Vec<TopicId>,
        seed: u64,
        /// The topics whose configs the caller may see in the reply; `None` for all.
        describable: Option<Vec<Str>>,
    },
    DeleteTopics {
        request: m::DeleteTopicsRequest,
    },
    CreatePartitions {
        request: m::CreatePartitionsRequest,
        seed: u64,
    },
    IncrementalAlterConfigs {
        request: m::IncrementalAlterConfigsRequest,
    },
    AlterConfigs {
        request: m::AlterConfigsRequest,
    },
    /// A process registers as a broker.
    RegisterBroker {
        request: m::BrokerRegistrationRequest,
        /// The caller holds the locks of the directories that it registers, so that whoever was registered with them
        /// before is dead. Kafka has no such knowledge and waits for the session to expire.
        former_self_is_dead: bool,
        /// Whether the former self, if there's one, has sent heartbeats within its session.
        session_is_valid: bool,
    },
    BrokerHeartbeat {
        request: m::BrokerHeartbeatRequest,
        /// Whether the other active brokers know by now that this one is about to stop, so that they have what it led.
        others_caught_up: bool,
    },
    /// A broker's session is over.
    FenceBroker {
        broker_id: NodeId,
        broker_epoch: BrokerEpoch,
    },
    UnregisterBroker {
        request: m::UnregisterBrokerRequest,
    },
    RegisterController {
        request: m::ControllerRegistrationRequest,
    },
    ElectLeaders {
        request: m::ElectLeadersRequest,
    },
    AlterPartitionReassignments {
        request: m::AlterPartitionReassignmentsRequest,
    },
    AlterPartition {
        request: m::AlterPartitionRequest,
    },
    AllocateProducerIds {
        request: m::AllocateProducerIdsRequest,
    },
    UpdateFeatures {
        request: m::UpdateFeaturesRequest,
        /// The level of `kraft.version`, which the quorum keeps: it is no record of the metadata.
        kraft_version: i16,
    },
    AssignReplicasToDirs {
        request: m::AssignReplicasToDirsRequest,
    },
    /// Shows everyone that the quorum lives (`metadata.max.idle.interval.ms`).
    NoOp,
}

/// What the controller answers. A refusal of the whole request is [`Reply::Refused`] where the response has no place
/// for it, else it is in the response.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Done,
    Refused(ApiError),
    CreateTopics(m::CreateTopicsResponse),
    DeleteTopics(m::DeleteTopicsResponse),
    CreatePartitions(m::CreatePartitionsResponse),
    IncrementalAlterConfigs(m::IncrementalAlterConfigsResponse),
    AlterConfigs(m::AlterConfigsResponse),
    RegisterBroker(m::BrokerRegistrationResponse),
    BrokerHeartbeat(m::BrokerHeartbeatResponse),
    UnregisterBroker(m::UnregisterBrokerResponse),
    RegisterController(m::ControllerRegistrationResponse),
    ElectLeaders(m::ElectLeadersResponse),
    AlterPartitionReassignments(m::AlterPartitionReassignmentsResponse),
    AlterPartition(m::AlterPartitionResponse),
    AllocateProducerIds(m::AllocateProducerIdsResponse),
    UpdateFeatures(m::UpdateFeaturesResponse),
    AssignReplicasToDirs(m::AssignReplicasToDirsResponse),
}
