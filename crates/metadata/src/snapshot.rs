//! An image as records: what a snapshot of the metadata holds. Replaying them gives the image back.
//!
//! The order is that of Kafka's `MetadataImage.write`: features first, so that every later record's version is known.

use logrun_model::{BrokerEpoch, ProducerId};

use crate::features::METADATA_VERSION;
use crate::image::MetadataImage;
use crate::records::client_quota_record::EntityData;
use crate::records::{
    ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, TopicRecord,
};

impl MetadataImage {
    /// The records that make this image, at its own `metadata.version`.
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut out = Vec::new();
        self.put_features(&mut out);
        let version = self.metadata_version();
        out.extend(self.cluster.brokers.values().map(|b| b.to_record(version).into()));
        if version.has_controller_registration() {
            out.extend(self.cluster.controllers.values().map(|c| c.to_record().into()));
        }
        for topic in self.topics.iter() {
            out.push(
                TopicRecord {
                    name: topic.name.clone(),
                    topic_id: topic.id,
                    unknown_tagged_fields: topic.unknown_tagged_fields.clone(),
                }
                .into(),
            );
            out.extend(topic.partitions.iter().map(|(i, p)| p.to_record(topic.id, *i, version).into()));
        }
        self.put_configs(&mut out);
        self.put_client_quotas(&mut out);
        if self.next_producer_id != ProducerId(0) {
            // The broker that got the last block is not in the image.
            let record = ProducerIdsRecord {
                broker_id: -1,
                broker_epoch: BrokerEpoch::NONE.get(),
                next_producer_id: self.next_producer_id.get(),
                ..Default::default()
            };
            out.push(record.into());
        }
        out.extend(self.acls.values().map(|r| (**r).clone().into()));
        out.extend(self.scram.values().map(|r| (**r).clone().into()));
        out.extend(self.delegation_tokens.values().map(|r| (**r).clone().into()));
        out
    }

    fn put_features(&self, out: &mut Vec<MetadataRecord>) {
        let first = self.features.iter().filter(|(name, _)| **name == METADATA_VERSION);
        let others = self.features.iter().filter(|(name, _)| **name != METADATA_VERSION);
        out.extend(first.chain(others).map(|(name, level)| {
            FeatureLevelRecord { name: name.clone(), feature_level: *level, ..Default::default() }.into()
        }));
    }

    fn put_configs(&self, out: &mut Vec<MetadataRecord>) {
        for (resource, configs) in self.configs.iter() {
            out.extend(configs.iter().map(|(name, value)| {
                ConfigRecord {
                    resource_type: resource.resource_type.id(),
                    resource_name: resource.name.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                    ..Default::default()
                }
                .into()
            }));
        }
    }

    fn put_client_quotas(&self, out: &mut Vec<MetadataRecord>) {
        for (entity, quotas) in self.client_quotas.iter() {
            let part = |(t, n): &(logrun_model::Str, Option<logrun_model::Str>)| EntityData {
                entity_type: t.clone(),
                entity_name: n.clone(),
                ..Default::default()
            };
            out.extend(quotas.iter().map(|(key, value)| {
                ClientQuotaRecord {
                    entity: entity.iter().map(part).collect(),
                    key: key.clone(),
                    value: *value,
                    remove: false,
                    ..Default::default()
                }
                .into()
            }));
        }
    }
}
