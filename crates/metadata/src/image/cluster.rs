//! The cluster's nodes: registered brokers (KIP-631) and controllers (KIP-919).
//!
//! A broker's epoch is the offset of its registration; a record of another epoch speaks of a former self.

use logrun_model::{BrokerEpoch, DirectoryId, NodeId, Str, Uuid};
use logrun_wire::RawTaggedField;

use crate::features::MetadataVersion;
use crate::records::register_broker_record::{BrokerEndpoint, BrokerFeature};
use crate::records::register_controller_record::{ControllerEndpoint, ControllerFeature};
use crate::records::{RegisterBrokerRecord, RegisterControllerRecord};

/// An address at which a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub name: Str,
    pub host: Str,
    pub port: u16,
    /// Kafka's number of the security protocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a node supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    pub name: Str,
    pub min: i16,
    pub max: i16,
}

/// A set in the log: Kafka writes it in no particular order.
fn sorted(mut features: Vec<FeatureRange>) -> Vec<FeatureRange> {
    features.sort_by(|a, b| a.name.cmp(&b.name));
    features
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerRegistration {
    pub id: NodeId,
    pub epoch: BrokerEpoch,
    /// The random id of the broker's process.
    pub incarnation_id: Uuid,
    pub listeners: Vec<Endpoint>,
    pub features: Vec<FeatureRange>,
    pub rack: Option<Str>,
    /// Not (yet) fit to lead or to be in an ISR.
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    pub is_migrating_zk_broker: bool,
    /// The log directories that are online, in order.
    pub directories: Vec<DirectoryId>,
    /// Those of them that take no new partitions; `None` if the broker does not say.
    pub cordoned_directories: Option<Vec<DirectoryId>>,
    /// Tagged fields of a later Kafka, kept for the snapshot.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

impl BrokerRegistration {
    pub fn from_record(r: &RegisterBrokerRecord) -> Self {
        let listeners = r.end_points.iter().map(|e| Endpoint {
            name: e.name.detached(),
            host: e.host.detached(),
            port: e.port,
            security_protocol: e.security_protocol,
        });
        let features = r.features.iter().map(|f| FeatureRange {
            name: f.name.detached(),
            min: f.min_supported_version,
            max: f.max_supported_version,
        });
        let mut directories = r.log_dirs.clone();
        directories.sort();
        Self {
            id: NodeId(r.broker_id),
            epoch: BrokerEpoch(r.broker_epoch),
            incarnation_id: r.incarnation_id,
            listeners: listeners.collect(),
            features: sorted(features.collect()),
            rack: r.rack.as_ref().map(Str::detached),
            fenced: r.fenced,
            in_controlled_shutdown: r.in_controlled_shutdown,
            is_migrating_zk_broker: r.is_migrating_zk_broker,
            directories,
            cordoned_directories: r.cordoned_log_dirs.clone(),
            unknown_tagged_fields: r.unknown_tagged_fields.clone(),
        }
    }

    /// The record that makes this registration, with the fields that `version` has.
    pub fn to_record(&self, version: MetadataVersion) -> RegisterBrokerRecord {
        let end_points = self.listeners.iter().map(|e| BrokerEndpoint {
            name: e.name.clone(),
            host: e.host.clone(),
            port: e.port,
            security_protocol: e.security_protocol,
            ..Default::default()
        });
        let features = self.features.iter().map(|f| BrokerFeature {
            name: f.name.clone(),
            min_supported_version: f.min,
            max_supported_version: f.max,
            ..Default::default()
        });
        RegisterBrokerRecord {
            broker_id: self.id.get(),
            is_migrating_zk_broker: self.is_migrating_zk_broker && version.0 >= 8,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch.get(),
            end_points: end_points.collect(),
            features: features.collect(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: if version.has_directory_assignment() { self.directories.clone() } else { Vec::new() },
            cordoned_log_dirs: self.cordoned_directories.clone().filter(|_| version.has_cordoned_log_dirs()),
            unknown_tagged_fields: self.unknown_tagged_fields.clone(),
        }
    }

    /// The address of the listener of that name.
    pub fn listener(&self, name: &str) -> Option<&Endpoint> {
        self.listeners.iter().find(|e| e.name == name)
    }

    /// Fit to lead and to be in an ISR.
    pub const fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    pub fn has_online_directory(&self, directory: DirectoryId) -> bool {
        // A replica that names no directory yet is wherever the broker will put it.
        directory == Uuid::UNASSIGNED_DIR
            || directory == Uuid::MIGRATING_DIR
            || self.directories.is_empty()
            || self.directories.contains(&directory)
    }

    /// Where a new replica goes: the one directory that takes any, or unassigned if there's a choice.
    pub fn default_directory(&self) -> DirectoryId {
        match self.directories.as_slice() {
            [one] => *one,
            _ => Uuid::UNASSIGNED_DIR,
        }
    }

    /// Whether every directory refuses new partitions.
    pub fn all_directories_cordoned(&self) -> bool {
        let cordoned = self.cordoned_directories.as_deref().unwrap_or_default();
        !self.directories.is_empty() && self.directories.iter().all(|d| cordoned.contains(d))
    }
}

/// A registered controller.
#[derive(Clone, Debug, PartialEq)]
pub struct ControllerRegistration {
    pub id: NodeId,
    pub incarnation_id: Uuid,
    pub zk_migration_ready: bool,
    pub listeners: Vec<Endpoint>,
    pub features: Vec<FeatureRange>,
    /// Tagged fields of a later Kafka, kept for the snapshot.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

impl ControllerRegistration {
    pub fn from_record(r: &RegisterControllerRecord) -> Self {
        let listeners = r.end_points.iter().map(|e| Endpoint {
            name: e.name.detached(),
            host: e.host.detached(),
            port: e.port,
            security_protocol: e.security_protocol,
        });
        let features = r.features.iter().map(|f| FeatureRange {
            name: f.name.detached(),
            min: f.min_supported_version,
            max: f.max_supported_version,
        });
        Self {
            id: NodeId(r.controller_id),
            incarnation_id: r.incarnation_id,
            zk_migration_ready: r.zk_migration_ready,
            listeners: listeners.collect(),
            features: sorted(features.collect()),
            unknown_tagged_fields: r.unknown_tagged_fields.clone(),
        }
    }

    pub fn to_record(&self) -> RegisterControllerRecord {
        let end_points = self.listeners.iter().map(|e| ControllerEndpoint {
            name: e.name.clone(),
            host: e.host.clone(),
            port: e.port,
            security_protocol: e.security_protocol,
            ..Default::default()
        });
        let features = self.features.iter().map(|f| ControllerFeature {
            name: f.name.clone(),
            min_supported_version: f.min,
            max_supported_version: f.max,
            ..Default::default()
        });
        RegisterControllerRecord {
            controller_id: self.id.get(),
            incarnation_id: self.incarnation_id,
            zk_migration_ready: self.zk_migration_ready,
            end_points: end_points.collect(),
            features: features.collect(),
            unknown_tagged_fields: self.unknown_tagged_fields.clone(),
        }
    }
}
