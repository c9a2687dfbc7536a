//! `kafka-consumer-groups --delete` and `--delete-offsets`.

use std::collections::BTreeMap;
use std::io::Write;

use logrun_wire::ErrorCode;
use logrun_wire::messages as m;

use super::chosen;
use super::plan::partitions_of;
use crate::Out;
use crate::cluster::{Partition, Topics, each, metadata};
use crate::errors;
use crate::failure::Failure;
use crate::options::Given;
use crate::session::Session;

/// Deletes groups and says how each went.
///
/// # Errors
/// Nobody answers.
pub async fn groups(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let names = chosen(given, session).await?;
    let delete = async |name: &String| {
        let request = m::DeleteGroupsRequest { groups_names: vec![name.as_str().into()], ..Default::default() };
        let response = session.group(name, request).await?;
        let result = response.results.first().map_or((0, None), |r| (r.error_code, r.error_message.clone()));
        Ok::<_, Failure>((name.clone(), result))
    };
    let (mut deleted, mut kept) = (Vec::new(), Vec::new());
    for result in each(&names, delete).await {
        match result? {
            (name, (0, _)) => deleted.push(format!("'{name}'")),
            (name, (code, said)) => kept.push((name, errors::exception(code, said.as_deref()))),
        }
    }
    if kept.is_empty() {
        return Ok(writeln!(out, "Deletion of requested consumer groups ({}) was successful.", deleted.join(", "))?);
    }
    writeln!(out, "\nError: Deletion of some consumer groups failed:")?;
    for (name, why) in kept {
        writeln!(out, "* Group '{name}' could not be deleted due to: {why}")?;
    }
    if !deleted.is_empty() {
        writeln!(out, "\nThese consumer groups were deleted successfully: {}", deleted.join(", "))?;
    }
    Ok(())
}

/// Deletes a group's offsets of some topics and says how each partition went.
///
/// # Errors
/// Nobody answers.
pub async fn offsets(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let group = given.value("group")?.unwrap_or_default();
    let mut results: BTreeMap<Partition, Option<String>> = BTreeMap::new();
    let mut wanted: Vec<Partition> = Vec::new();
    let mut whole: Vec<&str> = Vec::new();
    for topic in given.values("topic") {
        match topic.contains(':') {
            true => wanted.extend(partitions_of(topic)?),
            false => whole.push(topic),
        }
    }
    if !whole.is_empty() {
        let cluster = metadata(session, Some(&whole)).await?;
        for topic in &cluster.topics {
            if topic.error_code == ErrorCode::UnknownTopicOrPartition.code() {
                let name = topic.name.as_deref().unwrap_or_default();
                results.insert((name.to_owned(), -1), Some(errors::exception(topic.error_code, None)));
            }
        }
        wanted.extend(Topics::of(&cluster).0.into_keys());
    }
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in &wanted {
        topics.entry(topic).or_default().push(*partition);
    }
    let topic = |(name, partitions): (&str, Vec<i32>)| m::offset_delete_request::OffsetDeleteRequestTopic {
        name: name.into(),
        partitions: partitions
            .into_iter()
            .map(|partition_index| m::offset_delete_request::OffsetDeleteRequestPartition { partition_index })
            .collect(),
    };
    let request = m::OffsetDeleteRequest { group_id: group.into(), topics: topics.into_iter().map(topic).collect() };
    let response = session.group(group, request).await?;
    let mut first = response.error_code;
    for topic in &response.topics {
        for p in &topic.partitions {
            let why = (p.error_code != 0).then(|| errors::message(p.error_code, None));
            if first == 0 {
                first = p.error_code;
            }
            results.insert((topic.name.to_string(), p.partition_index), why);
        }
    }
    if response.error_code != 0 {
        let why = errors::message(response.error_code, None);
        results.extend(wanted.iter().map(|p| (p.clone(), Some(why.clone()))));
    }
    match ErrorCode::from_code(first) {
        Some(ErrorCode::None) => writeln!(out, "Request succeeded for deleting offsets from group {group}.")?,
        Some(
            ErrorCode::InvalidGroupId
            | ErrorCode::GroupIdNotFound
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::NonEmptyGroup,
        ) => writeln!(out, "\nError: {}", errors::message(first, None))?,
        Some(
            ErrorCode::GroupSubscribedToTopic
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::UnknownTopicOrPartition,
        ) => writeln!(out, "\nError: Encountered some partition-level error, see the follow-up details.")?,
        _ => writeln!(out, "\nError: Encountered some unknown error: {}", errors::message(first, None))?,
    }
    let width = results.keys().map(|(topic, _)| topic.chars().count()).fold(15, usize::max);
    write!(out, "\n{:<width$} {:<10} {:<15}", "TOPIC", "PARTITION", "STATUS")?;
    for ((topic, partition), why) in &results {
        let partition = if *partition < 0 { "-".to_owned() } else { partition.to_string() };
        let status = why.as_ref().map_or("Successful".to_owned(), |why| format!("Error: {why}"));
        write!(out, "\n{topic:<width$} {partition:<10} {status:<15}")?;
    }
    Ok(writeln!(out)?)
}
