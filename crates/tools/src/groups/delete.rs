//! `kafka-consumer-groups --delete` and `--delete-offsets`.

use std::collections::BTreeMap;
use std::io::Write;

use logrun_client::{Error, Str};
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;

use super::chosen;
use super::common::tell_deleted;
use super::plan::partitions_of;
use crate::Out;
use crate::cluster::{Partition, Topics, metadata};
use crate::errors;
use crate::failure::Failure;
use crate::options::Given;
use crate::session::{Session, failure};

/// Deletes groups and says how each went.
///
/// # Errors
/// Nobody answers.
pub async fn groups(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let names: Vec<Str> = chosen(given, session).await?.into_iter().map(Str::from).collect();
    let (mut deleted, mut kept) = (Vec::new(), BTreeMap::new());
    for (name, result) in session.admin().delete_groups(&names).await {
        match result {
            Ok(()) => deleted.push(name),
            Err(Error::Broker { code, message }) => {
                kept.insert(name, errors::exception(code.code(), message.as_deref()));
            }
            Err(e) => return Err(failure(&e)),
        }
    }
    tell_deleted(out, "consumer", &deleted, &kept)
}

/// Deletes a group's offsets of some topics, or `topic:0,1`, and says how each partition went.
///
/// # Errors
/// Nobody answers.
pub async fn offsets(out: &mut Out, session: &Session, group: &str, topics: &[&str]) -> Result<(), Failure> {
    let mut results: BTreeMap<Partition, Option<String>> = BTreeMap::new();
    let mut wanted: Vec<Partition> = Vec::new();
    let mut whole: Vec<&str> = Vec::new();
    for topic in topics.iter().copied() {
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
            let why = (p.error_code != 0).then(|| errors::exception(p.error_code, None));
            if first == 0 {
                first = p.error_code;
            }
            results.insert((topic.name.to_string(), p.partition_index), why);
        }
    }
    if response.error_code != 0 {
        let why = errors::exception(response.error_code, None);
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
