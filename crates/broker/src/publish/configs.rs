//! Dynamic configs: topics' own, and the brokers' defaults that topics without their own follow.

use std::sync::Arc;

use logrun_metadata::{Changes, ConfigResourceType, MetadataImage};

use super::topics::reconfigure;
use crate::Broker;

/// Puts changed configs in force.
pub fn apply(broker: &Arc<Broker>, image: &Arc<MetadataImage>, changes: &Changes) {
    let mut all = false;
    for resource in &changes.configs {
        match resource.resource_type {
            ConfigResourceType::Topic => {
                if let Some(topic) = image.topics.by_name(&resource.name) {
                    reconfigure(broker, topic);
                    broker.cleaner().wake();
                }
            }
            ConfigResourceType::Broker => {
                all |= resource.is_default() || resource.name == broker.node_id().to_string().as_str();
            }
            _ => {}
        }
    }
    if all {
        broker.reload_dynamic_config(image);
        for topic in image.topics.iter() {
            reconfigure(broker, topic);
        }
    }
}
