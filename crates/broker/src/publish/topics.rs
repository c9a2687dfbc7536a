//! Topics and partitions: logs are opened and deleted, roles change, groups come and go with their partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use logrun_controller::Command;
use logrun_metadata::{Changes, MetadataImage, PartitionRegistration, TopicImage};
use logrun_model::{DirectoryId, PartitionIndex, TopicId, TopicIdPartition, TopicPartition};
use logrun_partition::PartitionRegistration as Registration;
use logrun_wire::messages::assign_replicas_to_dirs_request::{
    AssignReplicasToDirsRequest, DirectoryData, PartitionData, TopicData,
};
use tracing::{error, info, warn};

use crate::Broker;
use crate::groups::OFFSETS_TOPIC;
use crate::partitions::{Hosted, Partition, Settings};

/// Brings the partitions of this broker to `image`.
pub async fn apply(broker: &Arc<Broker>, base: &MetadataImage, image: &Arc<MetadataImage>, changes: &Changes) {
    for (id, name) in &changes.topics_deleted {
        if let Some(topic) = base.topics.by_id(*id) {
            delete(broker, topic);
        }
        info!(topic = name.as_str(), "deleted");
    }
    if !changes.topics_deleted.is_empty() {
        let gone: Vec<_> = changes.topics_deleted.iter().map(|(id, name)| (name.clone(), *id)).collect();
        broker.groups().topics_deleted(&gone);
    }
    let mut starting = Vec::new();
    for (topic_id, partitions) in &changes.partitions {
        let Some(topic) = image.topics.by_id(*topic_id) else { continue };
        for index in partitions {
            let Some(p) = topic.partition(*index) else { continue };
            let id = TopicIdPartition { topic_id: *topic_id, partition: *index };
            let ours = p.replicas.contains(&broker.node_id());
            match broker.partitions().online(id) {
                Some(partition) if ours => register(broker, topic, &partition, p),
                Some(partition) => remove(broker, &partition),
                None if ours => starting.push((topic.clone(), *index, p.clone())),
                None => {}
            }
        }
    }
    if starting.is_empty() {
        return;
    }
    let opening = broker.clone();
    let opened = broker.io().tasks.blocking(move || open(&opening, starting)).await;
    let mut unassigned = Vec::new();
    for (topic, partition, registration) in opened {
        let directory = partition.directory().id;
        if registration.directory(broker.node_id()) != Some(directory) {
            unassigned.push((partition.id, directory));
        }
        broker.partitions().insert(partition.id, Hosted::Online(partition.clone()));
        register(broker, &topic, &partition, &registration);
    }
    if !unassigned.is_empty() {
        tell_directories(broker, unassigned);
    }
}

type Starting = (Arc<TopicImage>, PartitionIndex, Arc<PartitionRegistration>);
type Opened = (Arc<TopicImage>, Arc<Partition>, Arc<PartitionRegistration>);

/// Opens the logs of partitions that begin here. Waits for the disk.
fn open(broker: &Arc<Broker>, starting: Vec<Starting>) -> Vec<Opened> {
    let mut out = Vec::with_capacity(starting.len());
    for (topic, index, registration) in starting {
        let id = TopicIdPartition { topic_id: topic.id, partition: index };
        let name = TopicPartition::new(topic.name.clone(), index);
        let settings = broker.settings_of(&topic.name);
        let preferred = registration.directory(broker.node_id());
        let io = broker.io().clone();
        match broker.logs().open(id, &name, preferred, settings.log.clone(), broker.now()) {
            Ok(opened) => {
                let partition = Partition::new(id, name, io, broker.node_id(), opened, settings);
                out.push((topic, Arc::new(partition), registration));
            }
            Err(e) => {
                error!(partition = %name, "the log can't be opened: {e}");
                if let Some(dir) = broker.logs().directories().iter().find(|d| Some(d.id) == preferred) {
                    dir.saw(&e);
                }
                broker.partitions().insert(id, Hosted::Offline(std::path::PathBuf::from(name.to_string())));
            }
        }
    }
    out
}

/// Tells a partition what the metadata says of it, and the groups of their partition.
fn register(broker: &Arc<Broker>, topic: &TopicImage, partition: &Arc<Partition>, p: &PartitionRegistration) {
    let before = partition.leader_epoch();
    partition.register(
        broker.now(),
        Registration {
            replicas: p.replicas.clone(),
            isr: p.isr.clone(),
            leader: p.leader,
            leader_epoch: p.leader_epoch,
            partition_epoch: p.partition_epoch,
        },
    );
    if topic.name == OFFSETS_TOPIC {
        match partition.leader_epoch() {
            Some(epoch) if before != Some(epoch) => {
                broker.groups().elected(partition.clone(), epoch, topic.partition_count());
            }
            Some(_) => {}
            None => broker.groups().resigned(partition.id.partition),
        }
    }
}

fn delete(broker: &Arc<Broker>, topic: &TopicImage) {
    for (index, _) in topic.partitions.iter() {
        let id = TopicIdPartition { topic_id: topic.id, partition: *index };
        if let Some(partition) = broker.partitions().online(id) {
            if topic.name == OFFSETS_TOPIC {
                broker.groups().resigned(*index);
            }
            remove(broker, &partition);
        } else {
            // What lies in a failed directory is found as a stray if that ever comes back.
            broker.partitions().remove(id);
        }
    }
}

/// The partition's replica here is gone.
fn remove(broker: &Arc<Broker>, partition: &Arc<Partition>) {
    broker.partitions().remove(partition.id);
    broker.moves().cancel(partition.id);
    let delay_ms = partition.settings().log.file_delete_delay_ms;
    if let Err(e) = broker.logs().delete(partition, broker.now(), delay_ms) {
        error!(partition = %partition.name, "the log can't be deleted: {e}");
    }
}

/// Tells the controller which directories partitions were put into (KIP-858). Beside the caller, who holds up the
/// controller's own progress.
pub(crate) fn tell_directories(broker: &Arc<Broker>, placed: Vec<(TopicIdPartition, DirectoryId)>) {
    let mut directories: BTreeMap<DirectoryId, BTreeMap<TopicId, Vec<PartitionIndex>>> = BTreeMap::new();
    for (id, directory) in placed {
        directories.entry(directory).or_default().entry(id.topic_id).or_default().push(id.partition);
    }
    let data = directories.into_iter().map(|(id, topics)| DirectoryData {
        id,
        topics: topics
            .into_iter()
            .map(|(topic_id, partitions)| TopicData {
                topic_id,
                partitions: partitions
                    .into_iter()
                    .map(|partition_index| PartitionData { partition_index, ..Default::default() })
                    .collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    let request = AssignReplicasToDirsRequest {
        broker_id: broker.node_id().get(),
        broker_epoch: broker.epoch().get(),
        directories: data.collect(),
        ..Default::default()
    };
    let broker = broker.clone();
    let tasks = broker.io().tasks;
    tasks.spawn(async move {
        if let Err(failure) = broker.controller().submit(Command::AssignReplicasToDirs { request }).await {
            warn!("the controller was not told of partitions' directories: {}", failure.code);
        }
    });
}

/// The settings of `name` by `image`, for partitions that are here already.
pub fn reconfigure(broker: &Arc<Broker>, topic: &TopicImage, settings: &Arc<Settings>) {
    for (index, _) in topic.partitions.iter() {
        let id = TopicIdPartition { topic_id: topic.id, partition: *index };
        if let Some(partition) = broker.partitions().online(id) {
            partition.configure(broker.now(), settings.clone());
        }
    }
}
