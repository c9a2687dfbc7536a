//! An administrator: makes, writes and deletes topics that come and go, deletes records of the data topics, changes their
//! settings while they are written.

use std::collections::BTreeSet;
use std::rc::Rc;

use logrun_model::{Str, TopicPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use logrun_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use logrun_wire::messages::delete_topics_request::DeleteTopicState;
use logrun_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use logrun_wire::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest,
};

use super::{Link, Lost, error, is_disk_trouble, is_not_ready, moves, scratch};
use crate::model::topics::Known;
use crate::model::{Violation, log_start};
use crate::phase::{Phase, data_topic};
use crate::plan::Durability;

const TIMEOUT_MS: u64 = 20_000;
/// How many topics come and go.
const SCRATCH_TOPICS: u64 = 3;
/// `ConfigResource.Type.TOPIC`.
const TOPIC_RESOURCE: i8 = 2;
/// `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// Administers for as long as the phase lasts.
pub async fn work(phase: Rc<Phase>) {
    let mut link = Link::new(&phase, "admin");
    // A request whose answer was lost may be acted upon later: the topic is left alone.
    let mut in_doubt: BTreeSet<Str> = BTreeSet::new();
    while !phase.is_over() {
        let r = &phase.run.random;
        let passing = Str::from(format!("scratch-{}", r.below(SCRATCH_TOPICS)));
        // What fails is tried again, in time, by chance.
        let _ = match r.below(8) {
            0..3 if !in_doubt.contains(&passing) => {
                let made = match phase.run.model.borrow().topics.get(&passing) {
                    Known::Exists(id) => Some(id),
                    _ => None,
                };
                let done = match made {
                    None => create(&mut link, &passing, 1 + r.below(2) as i32, &[]).await,
                    Some(id) if r.chance(1, 6) => scratch::delete_records(&mut link, &passing, id).await.or(Ok(())),
                    Some(id) if r.chance(2, 3) => {
                        if scratch::write(&mut link, &passing, id).await.is_ok() {
                            let _ = scratch::read(&mut link, &passing, id).await;
                        }
                        // The topic itself is not in doubt by this.
                        Ok(())
                    }
                    Some(id) => delete(&mut link, &passing, id).await,
                };
                if done.is_err() {
                    in_doubt.insert(passing);
                }
                done
            }
            3 | 4 => delete_records(&mut link).await,
            5 if r.chance(1, 2) => alter_config(&mut link).await,
            5 => alter_durability(&mut link).await,
            6 if r.chance(1, 3) => moves::alter(&mut link, TopicPartition::new("__consumer_offsets", 0)).await,
            6 => moves::alter(&mut link, phase.any_partition()).await,
            _ => Ok(()),
        };
        phase.pause(phase.pace_ms).await;
    }
}

/// Creates a topic. Also how the data topics come to be.
pub async fn create(link: &mut Link, name: &Str, partitions: i32, configs: &[(&str, &str)]) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let segment_bytes = phase.run.plan.segment_bytes.to_string();
    let configs = configs.iter().copied().chain([("internal.segment.bytes", segment_bytes.as_str())]);
    let configs = configs.map(|(name, value)| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    });
    let topic = CreatableTopic {
        name: name.clone(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
    let before = phase.run.model.borrow().topics.get(name);
    phase.run.model.borrow_mut().topics.unknown(name);
    let response = link.call(7, &request, TIMEOUT_MS).await?;
    let Some(result) = response.topics.into_iter().next() else {
        phase.fail(Violation::new("answered", "a response to CreateTopics has no topic"));
        return Err(Lost);
    };
    match error(result.error_code) {
        ErrorCode::None => {
            phase.check(|m| {
                if let Known::Exists(_) = before {
                    return Err(Violation::new("topics", format!("{name} was created though it existed")));
                }
                m.topics.created(name, result.topic_id, partitions)
            });
            phase.run.stats.borrow_mut().add("topics created", 1);
            Ok(())
        }
        ErrorCode::TopicAlreadyExists => {
            if before == Known::Absent {
                phase.check(|m| m.topics.seen_absent(name).and_then(|()| m.topics.exists_already(name)));
            }
            Err(Lost)
        }
        // A broker that is being stopped is fenced, and there is no other.
        ErrorCode::InvalidReplicationFactor if !phase.calm.get() => Err(Lost),
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e => {
            phase.fail(Violation::new("errors", format!("CreateTopics of {name}: {e}")));
            Err(Lost)
        }
    }
}

async fn delete(link: &mut Link, name: &Str, id: Uuid) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let version = [1, 4, 5, 6][phase.run.random.below(4) as usize];
    let mut request = DeleteTopicsRequest { timeout_ms: 5_000, ..Default::default() };
    if version < 6 {
        request.topic_names = vec![name.clone()];
    } else {
        request.topics = vec![match phase.run.random.chance(1, 2) {
            true => DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::ZERO, ..Default::default() },
            false => DeleteTopicState { name: None, topic_id: id, ..Default::default() },
        }];
    }
    phase.run.model.borrow_mut().topics.unknown(name);
    let response = link.call(version, &request, TIMEOUT_MS).await?;
    let code = response.responses.first().map_or(ErrorCode::UnknownServerError.code(), |r| r.error_code);
    match error(code) {
        ErrorCode::None => {
            phase.check(|m| m.topics.deleted(name));
            phase.run.stats.borrow_mut().add("topics deleted", 1);
            Ok(())
        }
        e @ (ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId) => {
            phase.fail(Violation::new("topics", format!("{name} existed; deleting it: {e}")));
            Err(Lost)
        }
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e => {
            phase.fail(Violation::new("errors", format!("DeleteTopics of {name}: {e}")));
            Err(Lost)
        }
    }
}

async fn delete_records(link: &mut Link) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let tp = phase.any_partition();
    let (offset, floor) = {
        let mut model = phase.run.model.borrow_mut();
        let p = model.partition(&tp);
        let room = (p.high_watermark - p.log_start).max(0) as u64;
        let offset = p.log_start + phase.run.random.below(room / 2 + 1) as i64;
        p.delete_asked = p.delete_asked.max(offset);
        (offset, p.log_start)
    };
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: tp.topic.clone(),
            partitions: vec![DeleteRecordsPartition { partition_index: tp.partition, offset, ..Default::default() }],
            ..Default::default()
        }],
        timeout_ms: 5_000,
        ..Default::default()
    };
    phase.note(format_args!("admin deletes {}-{} up to {offset}", tp.topic, tp.partition));
    let response = link.call(phase.run.random.below(3) as i16, &request, TIMEOUT_MS).await?;
    let Some(result) = response.topics.first().and_then(|t| t.partitions.first()) else {
        phase.fail(Violation::new("answered", "a response to DeleteRecords has no partition"));
        return Err(Lost);
    };
    match error(result.error_code) {
        ErrorCode::None => {
            phase.check(|m| {
                let p = m.partition(&tp);
                if result.low_watermark < offset {
                    let text = format!("deleted up to {offset}, the log starts at {}", result.low_watermark);
                    return Err(Violation::new("log_start", text));
                }
                log_start::seen(p, floor, result.low_watermark)
            });
            phase.run.stats.borrow_mut().add("deletions of records", 1);
            Ok(())
        }
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e => {
            phase.fail(Violation::new("errors", format!("DeleteRecords of {}-{}: {e}", tp.topic, tp.partition)));
            Err(Lost)
        }
    }
}

async fn alter_config(link: &mut Link) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let r = &phase.run.random;
    let settings = [
        ("internal.segment.bytes", "4000"),
        ("segment.ms", "100"),
        ("segment.ms", "5000"),
        ("index.interval.bytes", "64"),
        ("file.delete.delay.ms", "0"),
        ("flush.ms", "100"),
        ("segment.jitter.ms", "50"),
    ];
    let (name, value) = settings[r.below(settings.len() as u64) as usize];
    let value = (!r.chance(1, 3)).then_some(value);
    let topic = data_topic(r.below(phase.run.plan.topics.len() as u64) as usize);
    alter(link, topic, &[(name, value)]).await
}

/// Changes what the acknowledgements of a data topic are worth.
async fn alter_durability(link: &mut Link) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let topic = data_topic(phase.run.random.below(phase.run.plan.topics.len() as u64) as usize);
    let durability = Durability::any(&phase.run.random);
    phase.run.model.borrow_mut().promises.changing(&topic);
    alter(link, topic.clone(), &durability.topic_configs().map(|(name, value)| (name, Some(value)))).await?;
    phase.run.model.borrow_mut().promises.changed(&topic, durability, phase.now_ms());
    phase.run.stats.borrow_mut().add("durabilities changed", 1);
    Ok(())
}

/// Sets configs of a topic, or removes those without a value.
async fn alter(link: &mut Link, topic: Str, configs: &[(&str, Option<&str>)]) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let r = &phase.run.random;
    let configs = configs.iter().map(|(name, value)| AlterableConfig {
        name: (*name).into(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.map(Into::into),
        ..Default::default()
    });
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: topic,
            configs: configs.collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = link.call(r.below(2) as i16, &request, TIMEOUT_MS).await?;
    let code = response.responses.first().map_or(ErrorCode::UnknownServerError.code(), |r| r.error_code);
    match error(code) {
        ErrorCode::None => {
            phase.run.stats.borrow_mut().add("settings changed", 1);
            Ok(())
        }
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e => {
            phase.fail(Violation::new("errors", format!("IncrementalAlterConfigs: {e}")));
            Err(Lost)
        }
    }
}
