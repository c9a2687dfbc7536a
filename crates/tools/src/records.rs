//! `kafka-delete-records`: deletes records up to an offset (Kafka's `DeleteRecordsCommand`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use futures_util::future::try_join_all;
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;
use serde_json::Value;

use crate::cluster::{Partition, Topics, metadata};
use crate::errors;
use crate::failure::Failure;
use crate::files;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on};
use crate::text::topic_partition;
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-delete-records", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-delete-records",
    about: "Deletes the records of partitions that are before given offsets",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::value(
            "offset-json-file",
            "FILE",
            "Where to: {\"partitions\": [{\"topic\": \"orders\", \"partition\": 0, \"offset\": 100}], \"version\": 1}. Offset -1 deletes all records.",
        ),
    ],
    examples: &["--bootstrap-server localhost:9092 --offset-json-file delete.json"],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        given.require(&["bootstrap-server", "offset-json-file"])?;
        block_on(delete(given, out))
    })
}

/// The offsets of the file.
fn plan(json: &Value) -> Result<BTreeMap<Partition, i64>, Failure> {
    match json.get("version").map_or(Some(1), Value::as_i64) {
        Some(1) => {}
        version => {
            return Err(Failure::new(format!("Not supported version field value {}", version.unwrap_or_default())));
        }
    }
    let mut plan = BTreeMap::new();
    let mut twice = BTreeSet::new();
    for (topic, partition, entry) in files::json_partitions(json, "The offset json file")? {
        let offset = entry
            .get("offset")
            .and_then(Value::as_i64)
            .ok_or_else(|| Failure::new(format!("Offset json file: an \"offset\" is missing or no number: {entry}")))?;
        let name = topic_partition(&topic, partition);
        if plan.insert((topic, partition), offset).is_some() {
            twice.insert(name);
        }
    }
    if !twice.is_empty() {
        let names: Vec<String> = twice.into_iter().collect();
        return Err(Failure::new(format!("Offset json file contains duplicate topic partitions: {}", names.join(","))));
    }
    Ok(plan)
}

/// Topics, and of each the partitions with the offsets before which records go.
type Wanted<'p> = BTreeMap<&'p str, Vec<(i32, i64)>>;

async fn delete(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let plan = plan(&files::json(given.value("offset-json-file")?.unwrap_or_default())?)?;
    let session = Session::of(given)?;
    writeln!(out, "Executing records delete operation")?;
    let topics: BTreeSet<&str> = plan.keys().map(|(topic, _)| topic.as_str()).collect();
    let cluster = metadata(&session, Some(&topics.into_iter().collect::<Vec<_>>())).await?;
    let leaders = Topics::of(&cluster);
    let mut results: BTreeMap<Partition, Result<i64, i16>> = BTreeMap::new();
    let mut nodes: BTreeMap<i32, Wanted<'_>> = BTreeMap::new();
    for (partition, offset) in &plan {
        match leaders.0.get(partition) {
            None => {
                results.insert(partition.clone(), Err(ErrorCode::UnknownTopicOrPartition.code()));
            }
            Some(-1) => {
                results.insert(partition.clone(), Err(ErrorCode::LeaderNotAvailable.code()));
            }
            Some(leader) => {
                let topics = nodes.entry(*leader).or_default();
                topics.entry(&partition.0).or_default().push((partition.1, *offset));
            }
        }
    }
    let ask = |(node, topics): (i32, Wanted<'_>)| {
        let topics = topics.into_iter().map(|(name, partitions)| m::delete_records_request::DeleteRecordsTopic {
            name: name.into(),
            partitions: partitions
                .into_iter()
                .map(|(partition_index, offset)| m::delete_records_request::DeleteRecordsPartition {
                    partition_index,
                    offset,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        session
            .node(node, m::DeleteRecordsRequest { topics: topics.collect(), timeout_ms: 30_000, ..Default::default() })
    };
    for response in try_join_all(nodes.into_iter().map(ask)).await? {
        for topic in response.topics {
            for p in topic.partitions {
                let result = if p.error_code == 0 { Ok(p.low_watermark) } else { Err(p.error_code) };
                results.insert((topic.name.to_string(), p.partition_index), result);
            }
        }
    }
    writeln!(out, "Records delete operation completed:")?;
    for ((topic, partition), result) in results {
        let name = topic_partition(&topic, partition);
        match result {
            Ok(low) => writeln!(out, "partition: {name}\tlow_watermark: {low}")?,
            Err(code) => writeln!(out, "partition: {name}\terror: {}", errors::exception(code, None))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_stands_in_the_file_once() {
        let file = |text: &str| plan(&serde_json::from_str(text).expect("json")).map_err(|f| f.message().to_owned());
        let one = r#"{"topic":"t","partition":0,"offset":3}"#;
        assert_eq!(file(&format!("{{\"partitions\":[{one}],\"version\":1}}")), Ok([(("t".to_owned(), 0), 3)].into()));
        assert!(
            file(&format!("{{\"partitions\":[{one},{one}]}}"))
                .is_err_and(|m| m.ends_with("duplicate topic partitions: t-0"))
        );
        for wrong in ["{}", "{\"partitions\":[{}]}", "{\"partitions\":[],\"version\":2}"] {
            assert!(file(wrong).is_err(), "{wrong}");
        }
    }
}
