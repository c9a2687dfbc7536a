//! Topics and partitions: they are placed and deleted, roles change, groups come and go with their partitions.
//!
//! No log is opened here, but for those of coordinators: the others wait for their first use (see [`crate::opening`]).

use std::collections::BTreeMap;
use std::path::PathBuf;
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
use crate::groups::{OFFSETS_TOPIC, RETRY_AFTER};
use crate::partitions::{AtRest, Changed, Hosted, Partition};

/// Brings the partitions of this broker to `image`.
pub async fn apply(broker: &Arc<Broker>, base: &MetadataImage, image: &Arc<MetadataImage>, changes: &Changes) {
    let mut had_files = false;
    for (id, name) in &changes.topics_deleted {
        if let Some(topic) = base.topics.by_id(*id) {
            for index in topic.partitions.keys() {
                had_files |= remove(broker, topic, *index).await;
            }
        }
        info!(topic = name.as_str(), "deleted");
    }
    // Before there is another topic of the name, to which the checkpoints would speak after a crash.
    if had_files {
        let broker = broker.clone();
        let tasks = broker.io().tasks;
        tasks.blocking(move || broker.checkpoint()).await;
    }
    if !changes.topics_deleted.is_empty() {
        let gone: Vec<_> = changes.topics_deleted.iter().map(|(id, name)| (name.clone(), *id)).collect();
        broker.groups().topics_deleted(&gone);
    }
    let mut unassigned = Vec::new();
    for (topic_id, partitions) in &changes.partitions {
        let Some(topic) = image.topics.by_id(*topic_id) else { continue };
        for index in partitions {
            let Some(p) = topic.partition(*index) else { continue };
            if !p.replicas.contains(&broker.node_id()) {
                remove(broker, topic, *index).await;
                continue;
            }
            let id = TopicIdPartition { topic_id: *topic_id, partition: *index };
            match broker.partitions().changed(id) {
                Changed::Online(partition) => register(broker, topic, &partition, p),
                Changed::Later => {}
                Changed::Closed => coordinate(broker, topic, id, p),
                Changed::Absent => {
                    if let Some(directory) = take(broker, topic, id, p)
                        && p.directory(broker.node_id()) != Some(directory)
                    {
                        unassigned.push((id, directory));
                    }
                    coordinate(broker, topic, id, p);
                }
            }
        }
    }
    if !unassigned.is_empty() {
        tell_directories(broker, unassigned);
    }
}

/// Gives a partition that is new here its place. Returns the id of its directory.
fn take(
    broker: &Arc<Broker>,
    topic: &TopicImage,
    id: TopicIdPartition,
    p: &PartitionRegistration,
) -> Option<DirectoryId> {
    let name = TopicPartition::new(topic.name.clone(), id.partition);
    match broker.logs().take(id, &name, p.directory(broker.node_id())) {
        Ok((rest, directory)) => {
            broker.partitions().insert(id, Hosted::Closed(rest));
            Some(directory.id)
        }
        Err(e) => {
            error!(partition = %name, "the log has no place: {e}");
            let unknown = (PathBuf::from(name.to_string()), AtRest { on_disk: true, clean: false, ..AtRest::NEW });
            broker.partitions().insert(id, Hosted::Offline(Box::new(unknown)));
            None
        }
    }
}

/// Opens a closed partition whose groups this broker is to coordinate, beside the caller.
fn coordinate(broker: &Arc<Broker>, topic: &TopicImage, id: TopicIdPartition, p: &PartitionRegistration) {
    if topic.name != OFFSETS_TOPIC || p.leader != broker.node_id() {
        return;
    }
    broker.groups().awaited(id.partition, topic.partition_count());
    let broker = broker.clone();
    let tasks = broker.io().tasks;
    tasks.spawn(async move {
        // Opened, it is told of its leadership, and its groups are loaded.
        while !matches!(broker.open(id).await, Some(Ok(_))) {
            // What failed in passing has left it closed.
            let is_closed = !broker.partitions().closed_among(std::iter::once(id)).is_empty();
            let leads = broker.image().topics.partition(id).is_some_and(|p| p.leader == broker.node_id());
            if !is_closed || !leads || broker.is_closing() {
                broker.groups().resigned(id.partition);
                return;
            }
            broker.io().clock.sleep(RETRY_AFTER).await;
        }
    });
}

/// Tells an open partition what the metadata says of it, and the groups of their partition.
pub fn register(broker: &Arc<Broker>, topic: &TopicImage, partition: &Arc<Partition>, p: &PartitionRegistration) {
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

/// The partition's replica here is gone, if there was one. Returns whether it had files.
async fn remove(broker: &Arc<Broker>, topic: &TopicImage, partition: PartitionIndex) -> bool {
    let id = TopicIdPartition { topic_id: topic.id, partition };
    let hosted = loop {
        match broker.partitions().remove(id) {
            Ok(Some(hosted)) => break hosted,
            Ok(None) => return false,
            // Somebody is opening or closing it.
            Err(done) => drop(done.await),
        }
    };
    if topic.name == OFFSETS_TOPIC {
        broker.groups().resigned(partition);
    }
    broker.moves().cancel(id);
    let name = TopicPartition::new(topic.name.clone(), partition);
    let now = broker.now();
    let (had_files, deleted) = match hosted {
        Hosted::Online(partition) => {
            let delay_ms = partition.settings().log.file_delete_delay_ms;
            (partition.at_rest().on_disk, broker.logs().delete(&partition, now, delay_ms))
        }
        Hosted::Closed(AtRest { on_disk, .. }) => {
            let delay_ms = broker.config().topic_defaults.file_delete_delay_ms;
            (on_disk, broker.logs().delete_at_rest(id, &name, on_disk, now, delay_ms))
        }
        Hosted::Offline(_) | Hosted::Busy(_) => return false,
    };
    if let Err(e) = deleted {
        error!(partition = %name, "the log can't be deleted: {e}");
    }
    had_files
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

/// The topic has other settings: the partitions that are open are told.
pub fn reconfigure(broker: &Arc<Broker>, topic: &TopicImage) {
    let settings = broker.settings_of(&topic.name);
    for index in topic.partitions.keys() {
        let id = TopicIdPartition { topic_id: topic.id, partition: *index };
        if let Changed::Online(partition) = broker.partitions().changed(id) {
            partition.configure(broker.now(), settings.clone());
        }
    }
}
