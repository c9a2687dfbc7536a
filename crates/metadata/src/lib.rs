//! The cluster's metadata: generated records, the immutable image and its deltas (KIP-500, KIP-631).
//!
//! [`records`] are the log's; [`MetadataImage`] is what they add up to; [`MetadataLoader`] turns committed batches
//! into published images with their [`Changes`]; [`features`] says which versions exist. Absent here: decisions
//! (the controller's), the log itself (raft's), anything that acts on a change (the broker's).

mod delta;
pub mod features;
pub mod image;
mod ordmap;
pub mod records;
mod replay;
mod snapshot;

pub use delta::{MetadataDelta, MetadataLoader, Published};
pub use features::{Feature, MetadataVersion};
pub use image::{
    BrokerRegistration, ClientQuotaEntity, ClusterImage, ConfigMap, ConfigResource, ConfigResourceType,
    ConfigurationsImage, ControllerRegistration, Endpoint, FeatureRange, LeaderRecoveryState, MetadataImage,
    PartitionRegistration, Provenance, TopicImage, TopicsImage,
};
pub use ordmap::OrdMap;
pub use replay::{Changes, ReplayError};
