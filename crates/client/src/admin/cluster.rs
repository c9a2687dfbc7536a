//! The cluster: its nodes, its quorum, its features.

use std::collections::BTreeMap;

use logrun_model::{NodeId, Str, Uuid};
use logrun_wire::messages::add_raft_voter_request::Listener;
use logrun_wire::messages::describe_quorum_request::{PartitionData, TopicData};
use logrun_wire::messages::update_features_request::FeatureUpdateKey;
use logrun_wire::messages::{
    AddRaftVoterRequest, DescribeClusterRequest, DescribeQuorumRequest, RemoveRaftVoterRequest,
    UnregisterBrokerRequest, UpdateFeaturesRequest,
};
use logrun_wire::{ApiKey, VersionRange};

use super::topics::operations;
use super::{Admin, Each};
use crate::client::Target;
use crate::cluster::Broker;
use crate::error::{Error, check};
use crate::versions::Versions;

/// The nodes that serve clients, or the controllers where these were asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: Option<Str>,
    /// The node that serves the controller's calls; of controllers, the active one.
    pub controller: Option<NodeId>,
    /// The nodes.
    pub nodes: Vec<Broker>,
    /// Those of them that are fenced, if they were asked for.
    pub fenced: Vec<NodeId>,
    /// What the caller may do with the cluster, if it was asked for.
    pub authorized_operations: Option<i32>,
}

/// The features of a cluster (KIP-584).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The level of each that is in force.
    pub finalized: BTreeMap<Str, i16>,
    /// The epoch of that, if the broker knows one.
    pub finalized_epoch: Option<i64>,
    /// The lowest and highest level that the broker supports.
    pub supported: BTreeMap<Str, (i16, i16)>,
}

/// How a feature's level may change: `FeatureUpdate.UpgradeType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum UpgradeType {
    /// Up only.
    Upgrade = 1,
    /// Down, if nothing is lost by it.
    SafeDowngrade = 2,
    /// Down, whatever is lost.
    UnsafeDowngrade = 3,
}

/// The state of the metadata quorum.
#[derive(Clone, Debug, PartialEq)]
pub struct Quorum {
    /// The active controller.
    pub leader_id: NodeId,
    /// Its epoch.
    pub leader_epoch: i32,
    /// Up to where the metadata log is committed.
    pub high_watermark: i64,
    /// Those that vote.
    pub voters: Vec<logrun_wire::messages::describe_quorum_response::ReplicaState>,
    /// Those that follow.
    pub observers: Vec<logrun_wire::messages::describe_quorum_response::ReplicaState>,
    /// Where the voters listen, if the broker says.
    pub nodes: BTreeMap<NodeId, Vec<(Str, Str, u16)>>,
}

/// The metadata log's name, and its only partition.
const METADATA_TOPIC: &str = "__cluster_metadata";

impl Admin {
    /// The nodes of the cluster, the fenced ones too if asked for.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn describe_cluster(&self, operations: bool, fenced: bool) -> Result<ClusterDescription, Error> {
        let of_controllers = self.client.metadata().policy().controllers;
        let request = DescribeClusterRequest {
            include_cluster_authorized_operations: operations,
            endpoint_type: if of_controllers { 2 } else { 1 },
            include_fenced_brokers: fenced,
            ..Default::default()
        };
        let check_all =
            |r: &logrun_wire::messages::DescribeClusterResponse| check(r.error_code, r.error_message.as_ref());
        let response = match self.ask(Target::Any, request, check_all).await {
            Ok(response) => response,
            // Metadata says as much, but for what only newer brokers know.
            Err(Error::Unsupported { .. }) if !operations && !fenced && !of_controllers => {
                self.client.refresh().await?;
                let cluster = self.client.known_cluster().await?;
                return Ok(ClusterDescription {
                    cluster_id: cluster.cluster_id.clone(),
                    controller: cluster.controller,
                    nodes: cluster.brokers.values().cloned().collect(),
                    fenced: Vec::new(),
                    authorized_operations: None,
                });
            }
            Err(e) => return Err(e),
        };
        let fenced = response.brokers.iter().filter(|b| b.is_fenced).map(|b| NodeId(b.broker_id)).collect();
        let mut nodes: Vec<Broker> = response
            .brokers
            .into_iter()
            .filter_map(|b| {
                let port = u16::try_from(b.port).ok()?;
                Some(Broker { id: NodeId(b.broker_id), host: b.host, port, rack: b.rack })
            })
            .collect();
        nodes.sort_by_key(|n| n.id);
        Ok(ClusterDescription {
            cluster_id: Some(response.cluster_id),
            controller: (response.controller_id >= 0).then_some(NodeId(response.controller_id)),
            nodes,
            fenced,
            authorized_operations: self::operations(response.cluster_authorized_operations),
        })
    }

    /// What each broker serves (ApiVersions), as each said when it was connected to.
    ///
    /// # Errors
    /// If the brokers are not known.
    pub async fn api_versions(&self) -> Result<Each<NodeId, Versions>, Error> {
        let cluster = self.client.known_cluster().await?;
        let mut result = Each::new();
        for id in cluster.brokers.keys() {
            let connection = self.client.node(*id, crate::Lane::Main).await;
            result.insert(*id, connection.map(|c| c.versions().clone()));
        }
        Ok(result)
    }

    /// The features that are in force and those that the broker, this one or any, supports.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn describe_features(&self, node: Option<NodeId>) -> Result<Features, Error> {
        let request = logrun_wire::messages::ApiVersionsRequest {
            client_software_name: Str::from_static("logrun-client"),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
            ..Default::default()
        };
        let call = self.to(node.map_or(Target::Any, Target::Node)).versions(3, 4);
        let response = self.client.call_with(call, |_| Ok(request.clone()), |_, r| check(r.error_code, None)).await?;
        let versions = Versions::of("", &response);
        Ok(Features {
            finalized: versions.finalized_features,
            finalized_epoch: versions.finalized_features_epoch,
            supported: versions.supported_features,
        })
    }

    /// Changes features' levels, or with `validate_only` says what would come of it. Level 0 disables a feature. A newer
    /// broker gives one result for all.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn update_features(
        &self,
        updates: &BTreeMap<Str, (i16, UpgradeType)>,
        validate_only: bool,
    ) -> Result<Each<Str, ()>, Error> {
        let timeout_ms = self.timeout_ms();
        let build = |version: i16| {
            if version == 0 && validate_only {
                return Err(Error::Invalid("the broker is too old to validate only".to_owned()));
            }
            let update = |(feature, (level, kind)): (&Str, &(i16, UpgradeType))| FeatureUpdateKey {
                feature: feature.clone(),
                max_version_level: *level,
                allow_downgrade: version == 0 && *kind != UpgradeType::Upgrade,
                upgrade_type: if version == 0 { 1 } else { *kind as i8 },
                ..Default::default()
            };
            let feature_updates = updates.iter().map(update).collect();
            Ok(UpdateFeaturesRequest { timeout_ms, feature_updates, validate_only, ..Default::default() })
        };
        let check_all =
            |_, r: &logrun_wire::messages::UpdateFeaturesResponse| check(r.error_code, r.error_message.as_ref());
        let response = self.client.call_with(self.to(Target::Controller), build, check_all).await?;
        let mut results: Each<Str, ()> = updates.keys().map(|feature| (feature.clone(), Ok(()))).collect();
        for r in response.results {
            results.insert(r.feature, check(r.error_code, r.error_message.as_ref()));
        }
        Ok(results)
    }

    /// The state of the metadata quorum.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn describe_quorum(&self) -> Result<Quorum, Error> {
        let topic = TopicData {
            topic_name: Str::from_static(METADATA_TOPIC),
            partitions: vec![PartitionData::default()],
            ..Default::default()
        };
        let request = DescribeQuorumRequest { topics: vec![topic], ..Default::default() };
        let target = if self.client.metadata().policy().controllers { Target::Controller } else { Target::Any };
        let response = self
            .ask(target, request, |r| {
                check(r.error_code, r.error_message.as_ref())?;
                let partition = r.topics.first().and_then(|t| t.partitions.first());
                partition.map_or(Ok(()), |p| check(p.error_code, p.error_message.as_ref()))
            })
            .await?;
        let partition = response.topics.into_iter().flat_map(|t| t.partitions).next();
        let p = partition.ok_or_else(|| Error::Invalid("the broker says nothing of the metadata quorum".to_owned()))?;
        let listeners = |n: logrun_wire::messages::describe_quorum_response::Node| {
            (NodeId(n.node_id), n.listeners.into_iter().map(|l| (l.name, l.host, l.port)).collect())
        };
        Ok(Quorum {
            leader_id: NodeId(p.leader_id),
            leader_epoch: p.leader_epoch,
            high_watermark: p.high_watermark,
            voters: p.current_voters,
            observers: p.observers,
            nodes: response.nodes.into_iter().map(listeners).collect(),
        })
    }

    /// Makes a controller a voter of the quorum (KIP-853); `listeners` are name, host and port.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn add_raft_voter(
        &self,
        voter_id: NodeId,
        voter_directory_id: Uuid,
        listeners: &[(Str, Str, u16)],
        cluster_id: Option<Str>,
    ) -> Result<(), Error> {
        let listener = |(name, host, port): &(Str, Str, u16)| Listener {
            name: name.clone(),
            host: host.clone(),
            port: *port,
            ..Default::default()
        };
        let request = AddRaftVoterRequest {
            cluster_id,
            timeout_ms: self.timeout_ms(),
            voter_id: voter_id.get(),
            voter_directory_id,
            listeners: listeners.iter().map(listener).collect(),
            ..Default::default()
        };
        self.ask(Target::Controller, request, |r| check(r.error_code, r.error_message.as_ref())).await.map(drop)
    }

    /// Takes a voter out of the quorum (KIP-853).
    ///
    /// # Errors
    /// If it is refused.
    pub async fn remove_raft_voter(
        &self,
        voter_id: NodeId,
        voter_directory_id: Uuid,
        cluster_id: Option<Str>,
    ) -> Result<(), Error> {
        let request =
            RemoveRaftVoterRequest { cluster_id, voter_id: voter_id.get(), voter_directory_id, ..Default::default() };
        self.ask(Target::Controller, request, |r| check(r.error_code, r.error_message.as_ref())).await.map(drop)
    }

    /// Forgets a broker that will not come back.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn unregister_broker(&self, id: NodeId) -> Result<(), Error> {
        let request = UnregisterBrokerRequest { broker_id: id.get(), ..Default::default() };
        self.ask(Target::Controller, request, |r| check(r.error_code, r.error_message.as_ref())).await.map(drop)
    }

    /// The versions of an API that the broker asked first serves.
    ///
    /// # Errors
    /// If none can be connected to.
    pub async fn serves(&self, api: ApiKey) -> Result<VersionRange, Error> {
        let deadline = self.client.deadline(self.timeout);
        let connection = self.client.in_time(deadline, "connecting", self.client.any()).await?;
        Ok(connection.versions().of_api(api))
    }
}
