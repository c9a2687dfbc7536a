//! Brokers come, live and go: registration, heartbeats, fencing, and what each does to the partitions they hold.
//!
//! | broker is | and wants | becomes | partitions |
//! |---|---|---|---|
//! | fenced | to serve, has its own registration's offset | unfenced | those without a leader may get it |
//! | fenced | to stop | free to stop | |
//! | unfenced | to be fenced, or its session is over | fenced | it leaves ISRs and leaderships |
//! | unfenced | to stop, leads something | in controlled shutdown | it leaves ISRs and leaderships |
//! | unfenced | to stop, leads nothing | fenced, free to stop | it leaves ISRs |
//! | in controlled shutdown | to stop, leads nothing, others have caught up | fenced, free to stop | |
//!
//! Kafka's `ClusterControlManager` and `BrokerHeartbeatManager` (KIP-631, KIP-841, KIP-858, KIP-966). A restart is a
//! new incarnation: leader −1 first, then an election, so that leader epochs rise as they do in Kafka.

use std::collections::BTreeSet;

use logrun_coordinator::Decision;
use logrun_metadata::features::{Feature, METADATA_VERSION};
use logrun_metadata::records::register_broker_record::{BrokerEndpoint, BrokerFeature};
use logrun_metadata::records::register_controller_record::{ControllerEndpoint, ControllerFeature};
use logrun_metadata::records::{
    BrokerRegistrationChangeRecord, MetadataRecord, ProducerIdsRecord, RegisterBrokerRecord, RegisterControllerRecord,
    UnregisterBrokerRecord,
};
use logrun_metadata::{BrokerRegistration, PartitionRegistration};
use logrun_model::{BrokerEpoch, DirectoryId, MetadataOffset, NodeId, Str, TopicIdPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;

use crate::command::Reply;
use crate::error::{ApiError, outcome};
use crate::machine::{Controller, Decided};

/// How many producer ids a broker gets at once.
const PRODUCER_ID_BLOCK_SIZE: i32 = 1000;

/// Who leaves and who comes in an update of leaders and ISRs.
#[derive(Clone, Copy, Debug, Default)]
struct Update {
    leaves: Option<NodeId>,
    comes: Option<NodeId>,
    /// Has come back without having shut down cleanly: what it held may be incomplete.
    unclean: Option<NodeId>,
}

impl Controller {
    pub(crate) fn check_broker_epoch(&self, id: i32, epoch: i64) -> Result<(), ApiError> {
        let stale = |message: String| Err(ApiError::new(ErrorCode::StaleBrokerEpoch, message));
        match self.image.cluster.broker(NodeId(id)) {
            None => stale(format!("No broker registration found for broker id {id}")),
            Some(b) if b.epoch.get() != epoch => {
                stale(format!("Expected broker epoch {}, but got broker epoch {epoch}", b.epoch))
            }
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn register_broker(
        &self,
        request: &m::BrokerRegistrationRequest,
        former_self_is_dead: bool,
        session_is_valid: bool,
    ) -> Decided {
        match self.try_register_broker(request, former_self_is_dead, session_is_valid) {
            Ok((records, epoch)) => {
                let response = m::BrokerRegistrationResponse { broker_epoch: epoch.get(), ..Default::default() };
                Decision { records, reply: Reply::RegisterBroker(response) }
            }
            Err(e) if e.message.is_some() && former_self_is_dead => {
                // In process the sentence can be shown; the response has no room for it.
                Decision::reply(Reply::Refused(e))
            }
            Err(e) => {
                let response = m::BrokerRegistrationResponse { error_code: e.code.code(), ..Default::default() };
                Decision::reply(Reply::RegisterBroker(response))
            }
        }
    }

    fn try_register_broker(
        &self,
        request: &m::BrokerRegistrationRequest,
        former_self_is_dead: bool,
        session_is_valid: bool,
    ) -> Result<(Vec<MetadataRecord>, BrokerEpoch), ApiError> {
        let id = NodeId(request.broker_id);
        self.check_registration(request)?;
        let existing = self.image.cluster.broker(id);
        let same_incarnation = existing.is_some_and(|e| e.incarnation_id == request.incarnation_id);
        if let Some(e) = existing {
            let locked = former_self_is_dead && e.directories.iter().all(|d| request.log_dirs.contains(d));
            if session_is_valid && !same_incarnation && !e.fenced && !e.in_controlled_shutdown && !locked {
                let message = "Another broker is registered with that broker id. If the broker was recently restarted, \
                               this ends by itself once the former session expires.";
                return Err(ApiError::new(ErrorCode::DuplicateBrokerRegistration, message));
            }
        }
        let mut record = self.registration_record(request)?;
        let mut records = Vec::new();
        let epoch = match existing.filter(|_| same_incarnation) {
            Some(e) => {
                record.fenced = e.fenced;
                record.in_controlled_shutdown = e.in_controlled_shutdown;
                e.epoch
            }
            None => {
                // The epoch is the first offset of this unit, whatever its records are.
                let clean = existing.is_none_or(|e| e.epoch.get() == request.previous_broker_epoch);
                let update = if clean || !self.elr_enabled() {
                    Update { leaves: Some(id), ..Default::default() }
                } else {
                    Update { unclean: Some(id), ..Default::default() }
                };
                self.update_leaders(update, &mut records, |p| p.isr.contains(&id) || p.elr.contains(&id));
                BrokerEpoch(self.next_offset().get())
            }
        };
        record.broker_epoch = epoch.get();
        records.push(record.into());
        Ok((records, epoch))
    }

    fn check_registration(&self, request: &m::BrokerRegistrationRequest) -> Result<(), ApiError> {
        let bad = |code: ErrorCode, message: String| Err(ApiError::new(code, message));
        if request.cluster_id != self.config.cluster_id {
            let message =
                format!("Expected cluster id {}, but got cluster id {}", self.config.cluster_id, request.cluster_id);
            return bad(ErrorCode::InconsistentClusterId, message);
        }
        if request.is_migrating_zk_broker {
            return bad(ErrorCode::BrokerIdNotRegistered, "ZooKeeper brokers can't be registered.".into());
        }
        if !self.version().has_directory_assignment() {
            return Ok(());
        }
        if request.log_dirs.is_empty() {
            return bad(ErrorCode::InvalidRequest, "No directories specified in request".into());
        }
        // Kafka keeps the first hundred ids for itself.
        let reserved = |d: &Uuid| u128::from_be_bytes(d.0) < 100;
        if request.log_dirs.iter().any(reserved) {
            return bad(ErrorCode::InvalidRequest, "Reserved directory ID in request".into());
        }
        if request.log_dirs.iter().collect::<BTreeSet<_>>().len() != request.log_dirs.len() {
            return bad(ErrorCode::InvalidRequest, "Duplicate directory ID in request".into());
        }
        for other in self.image.cluster.brokers.values().filter(|b| b.id.get() != request.broker_id) {
            if let Some(d) = request.log_dirs.iter().find(|d| other.directories.contains(d)) {
                let message = format!("Broker {} is already registered with directory {d}.", other.id);
                return bad(ErrorCode::InvalidRequest, message);
            }
        }
        Ok(())
    }

    fn registration_record(&self, request: &m::BrokerRegistrationRequest) -> Result<RegisterBrokerRecord, ApiError> {
        let mut features: Vec<BrokerFeature> = Vec::with_capacity(request.features.len());
        for f in &request.features {
            features.push(BrokerFeature {
                name: f.name.detached(),
                min_supported_version: f.min_supported_version,
                max_supported_version: f.max_supported_version,
                ..Default::default()
            });
        }
        for (name, level) in self.image.features.iter() {
            let range = features.iter().find(|f| f.name == *name);
            let (min, max) = match range {
                Some(f) => (f.min_supported_version, f.max_supported_version),
                // Not said means: only the oldest.
                None if *name == METADATA_VERSION => (1, 1),
                None => (0, 0),
            };
            if !(min..=max).contains(level) {
                let message = format!(
                    "Unable to register because the broker does not support finalized version {level} of {name}. The \
                     broker wants a version between {min} and {max}, inclusive."
                );
                return Err(ApiError::new(ErrorCode::UnsupportedVersion, message));
            }
        }
        let end_points = request.listeners.iter().map(|l| BrokerEndpoint {
            name: l.name.detached(),
            host: l.host.detached(),
            port: l.port,
            security_protocol: l.security_protocol,
            ..Default::default()
        });
        let mut log_dirs = request.log_dirs.clone();
        log_dirs.sort();
        Ok(RegisterBrokerRecord {
            broker_id: request.broker_id,
            incarnation_id: request.incarnation_id,
            end_points: end_points.collect(),
            features,
            rack: request.rack.as_ref().map(Str::detached),
            fenced: true,
            log_dirs: if self.version().has_directory_assignment() { log_dirs } else { Vec::new() },
            ..Default::default()
        })
    }

    /// Takes brokers out of and into leaderships and ISRs of the partitions that `affects` picks.
    fn update_leaders(
        &self,
        update: Update,
        records: &mut Vec<MetadataRecord>,
        affects: impl Fn(&PartitionRegistration) -> bool,
    ) {
        let gone: Vec<NodeId> = update.leaves.into_iter().chain(update.unclean).collect();
        for topic in self.image.topics.iter() {
            for (index, partition) in topic.partitions.iter().filter(|(_, p)| affects(p)) {
                let id = TopicIdPartition { topic_id: topic.id, partition: *index };
                let mut change = self.partition_change(partition, &topic.name, id);
                change.remove_from_isr(&gone);
                change.unclean_shutdown = update.unclean.into_iter().collect();
                let acceptable = |b: NodeId| {
                    !gone.contains(&b)
                        && if Some(b) == update.comes {
                            // Its registration still says fenced.
                            let registration = self.image.cluster.broker(b);
                            let online = |d| registration.is_some_and(|r| r.has_online_directory(d));
                            partition.directory(b).is_none_or(online)
                        } else {
                            self.may_lead(partition, b)
                        }
                };
                records.extend(change.build(&acceptable).map(MetadataRecord::from));
            }
        }
    }

    fn leave_all(&self, id: NodeId, records: &mut Vec<MetadataRecord>) {
        self.update_leaders(Update { leaves: Some(id), ..Default::default() }, records, |p| p.isr.contains(&id));
    }

    fn fence(&self, broker: &BrokerRegistration, records: &mut Vec<MetadataRecord>) {
        self.leave_all(broker.id, records);
        records.push(registration_change(broker, |r| r.fenced = 1));
    }

    fn unfence(&self, broker: &BrokerRegistration, records: &mut Vec<MetadataRecord>) {
        records.push(registration_change(broker, |r| r.fenced = -1));
        let update = Update { comes: Some(broker.id), ..Default::default() };
        self.update_leaders(update, records, |p| !p.has_leader());
    }

    fn leads_any(&self, id: NodeId) -> bool {
        self.image.topics.iter().any(|t| t.partitions.values().any(|p| p.leader == id))
    }

    pub(crate) fn broker_heartbeat(&self, request: &m::BrokerHeartbeatRequest, others_caught_up: bool) -> Decided {
        let id = NodeId(request.broker_id);
        if let Err(e) = self.check_broker_epoch(request.broker_id, request.broker_epoch) {
            let response = m::BrokerHeartbeatResponse { error_code: e.code.code(), ..Default::default() };
            return Decision::reply(Reply::BrokerHeartbeat(response));
        }
        let Some(broker) = self.image.cluster.broker(id) else {
            return Decision::reply(Reply::Refused(ErrorCode::BrokerIdNotRegistered.into()));
        };
        let mut records = Vec::new();
        let offset = MetadataOffset(request.current_metadata_offset);
        // The epoch is the offset at which its registration begins.
        let caught_up = offset.get() >= broker.epoch.get();
        let mut response = m::BrokerHeartbeatResponse {
            is_caught_up: caught_up,
            is_fenced: broker.fenced,
            should_shut_down: false,
            ..Default::default()
        };
        if broker.fenced {
            if request.want_shut_down {
                response.should_shut_down = true;
            } else if !request.want_fence && caught_up {
                self.unfence(broker, &mut records);
                response.is_fenced = false;
            }
        } else if request.want_fence {
            self.fence(broker, &mut records);
            response.is_fenced = true;
            response.should_shut_down = request.want_shut_down;
        } else if request.want_shut_down || broker.in_controlled_shutdown {
            let leads = self.leads_any(id);
            if leads || (broker.in_controlled_shutdown && !others_caught_up) {
                if !broker.in_controlled_shutdown {
                    records.push(registration_change(broker, |r| r.in_controlled_shutdown = 1));
                }
                self.leave_all(id, &mut records);
            } else {
                self.fence(broker, &mut records);
                response.is_fenced = true;
                response.should_shut_down = true;
            }
        }
        self.directories_changed(broker, request, &mut records);
        Decision { records, reply: Reply::BrokerHeartbeat(response) }
    }

    /// Directories that have failed take the broker out of what they hold; cordoned ones take nothing new.
    fn directories_changed(
        &self,
        broker: &BrokerRegistration,
        request: &m::BrokerHeartbeatRequest,
        records: &mut Vec<MetadataRecord>,
    ) {
        if !self.version().has_directory_assignment() {
            return;
        }
        let is_offline = |d: &DirectoryId| request.offline_log_dirs.contains(d);
        if broker.directories.iter().any(is_offline) {
            let on_offline = |p: &PartitionRegistration| {
                p.isr.contains(&broker.id) && p.directory(broker.id).is_some_and(|d| is_offline(&d))
            };
            let update = Update { leaves: Some(broker.id), ..Default::default() };
            self.update_leaders(update, records, on_offline);
            let online: Vec<DirectoryId> = broker.directories.iter().filter(|d| !is_offline(d)).copied().collect();
            records.push(registration_change(broker, |r| r.log_dirs = online));
        }
        if self.version().has_cordoned_log_dirs()
            && let Some(cordoned) = &request.cordoned_log_dirs
            && broker.cordoned_directories.as_ref() != Some(cordoned)
        {
            records.push(registration_change(broker, |r| r.cordoned_log_dirs = Some(cordoned.clone())));
        }
    }

    pub(crate) fn fence_broker(&self, id: NodeId, epoch: BrokerEpoch) -> Decided {
        let mut records = Vec::new();
        // Another incarnation may have registered since the session was found to be over.
        if let Some(broker) = self.image.cluster.broker(id).filter(|b| b.epoch == epoch && !b.fenced) {
            self.fence(broker, &mut records);
        }
        Decision { records, reply: Reply::Done }
    }

    pub(crate) fn unregister_broker(&self, request: &m::UnregisterBrokerRequest) -> Decided {
        let id = NodeId(request.broker_id);
        let mut records = Vec::new();
        let result = match self.image.cluster.broker(id) {
            None => Err(ApiError::new(
                ErrorCode::BrokerIdNotRegistered,
                format!("Broker ID {id} is not currently registered"),
            )),
            Some(broker) => {
                self.leave_all(id, &mut records);
                let record = UnregisterBrokerRecord {
                    broker_id: id.get(),
                    broker_epoch: broker.epoch.get(),
                    ..Default::default()
                };
                records.push(record.into());
                Ok(())
            }
        };
        let (error_code, error_message) = outcome(&result);
        let response = m::UnregisterBrokerResponse { error_code, error_message, ..Default::default() };
        Decision { records, reply: Reply::UnregisterBroker(response) }
    }

    pub(crate) fn register_controller(&self, request: &m::ControllerRegistrationRequest) -> Decided {
        if !self.version().has_controller_registration() {
            let message = "The cluster's metadata.version is too old for controllers to register.";
            let response = m::ControllerRegistrationResponse {
                error_code: ErrorCode::UnsupportedVersion.code(),
                error_message: Some(message.into()),
                ..Default::default()
            };
            return Decision::reply(Reply::RegisterController(response));
        }
        let end_points = request.listeners.iter().map(|l| ControllerEndpoint {
            name: l.name.detached(),
            host: l.host.detached(),
            port: l.port,
            security_protocol: l.security_protocol,
            ..Default::default()
        });
        let features = request.features.iter().map(|f| ControllerFeature {
            name: f.name.detached(),
            min_supported_version: f.min_supported_version,
            max_supported_version: f.max_supported_version,
            ..Default::default()
        });
        let record = RegisterControllerRecord {
            controller_id: request.controller_id,
            incarnation_id: request.incarnation_id,
            zk_migration_ready: request.zk_migration_ready,
            end_points: end_points.collect(),
            features: features.collect(),
            ..Default::default()
        };
        let response = m::ControllerRegistrationResponse::default();
        Decision { records: vec![record.into()], reply: Reply::RegisterController(response) }
    }

    pub(crate) fn allocate_producer_ids(&self, request: &m::AllocateProducerIdsRequest) -> Decided {
        let refuse = |code: ErrorCode| {
            let response = m::AllocateProducerIdsResponse { error_code: code.code(), ..Default::default() };
            Decision::reply(Reply::AllocateProducerIds(response))
        };
        if let Err(e) = self.check_broker_epoch(request.broker_id, request.broker_epoch) {
            return refuse(e.code);
        }
        let first = self.image.next_producer_id.get();
        let Some(next) = first.checked_add(PRODUCER_ID_BLOCK_SIZE.into()) else {
            return refuse(ErrorCode::UnknownServerError);
        };
        let record = ProducerIdsRecord {
            broker_id: request.broker_id,
            broker_epoch: request.broker_epoch,
            next_producer_id: next,
            ..Default::default()
        };
        let response = m::AllocateProducerIdsResponse {
            producer_id_start: first,
            producer_id_len: PRODUCER_ID_BLOCK_SIZE,
            ..Default::default()
        };
        Decision { records: vec![record.into()], reply: Reply::AllocateProducerIds(response) }
    }
}

fn registration_change(
    broker: &BrokerRegistration,
    set: impl FnOnce(&mut BrokerRegistrationChangeRecord),
) -> MetadataRecord {
    let mut record = BrokerRegistrationChangeRecord {
        broker_id: broker.id.get(),
        broker_epoch: broker.epoch.get(),
        ..Default::default()
    };
    set(&mut record);
    record.into()
}

/// The features that this program's brokers and controllers register: all that it understands.
pub fn registered_features() -> impl Iterator<Item = &'static Feature> {
    logrun_metadata::features::FEATURES.iter()
}
