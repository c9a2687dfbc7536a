//! `-L`: what the cluster consists of, as text or as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use logrun_client::{Call, Client, ErrorCode, Target};
use logrun_wire::messages::metadata_request::MetadataRequestTopic;
use logrun_wire::messages::{MetadataRequest, MetadataResponse};

use super::args::Args;
use super::format::quote;
use super::{broker_error, client_error};

/// Asks and gives what is to be printed.
///
/// # Errors
/// A sentence.
pub async fn run(client: &Client, args: &Args) -> Result<String, String> {
    let topic = args.topics.first();
    let cluster = client.known_cluster().await.map_err(|e| client_error(&e))?;
    let node = cluster.brokers.keys().next().copied();
    let target = node.map_or(Target::Any, Target::Node);
    let response =
        client.call(Call::to(target), request(topic.map(String::as_str), true)).await.map_err(|e| client_error(&e))?;
    let asked = node.map_or(-1, |n| n.get());
    let mut out = if args.json { json(&response, asked, topic) } else { text(&response, asked, topic) };
    if args.json {
        out.push('\n');
    }
    Ok(out)
}

/// Asks about one topic, or about all.
fn request(topic: Option<&str>, may_create: bool) -> MetadataRequest {
    MetadataRequest {
        topics: topic.map(|t| vec![MetadataRequestTopic { name: Some(t.into()), ..MetadataRequestTopic::default() }]),
        allow_auto_topic_creation: may_create,
        ..MetadataRequest::default()
    }
}

/// The numbers of a topic's partitions. One that is not there is told at once: whoever reads does not wait for it.
///
/// # Errors
/// A sentence.
pub async fn partitions(client: &Client, topic: &str, timeout: Duration) -> Result<Vec<i32>, String> {
    let unanswered = |e| format!("Failed to query metadata for topic {topic}: {}", client_error(&e));
    let call = Call::to(Target::Any).timeout(Some(timeout));
    let response = client.call(call, request(Some(topic), false)).await.map_err(unanswered)?;
    let found = response.topics.first();
    if let Some(error) = found.and_then(|t| fault(t.error_code)) {
        return Err(format!("Topic {topic} error: {error}"));
    }
    let mut list: Vec<i32> = found.iter().flat_map(|t| &t.partitions).map(|p| p.partition_index).collect();
    list.sort_unstable();
    Ok(list)
}

fn address(response: &MetadataResponse, node: i32) -> String {
    let broker = response.brokers.iter().find(|b| b.node_id == node);
    broker.map_or_else(|| "?".to_owned(), |b| format!("{}:{}", b.host, b.port))
}

fn ids(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

fn text(response: &MetadataResponse, asked: i32, topic: Option<&String>) -> String {
    let mut out = String::new();
    let of = topic.map_or("all topics", String::as_str);
    let _ = writeln!(out, "Metadata for {of} (from broker {asked}: {}/{asked}):", address(response, asked));
    let _ = writeln!(out, " {} brokers:", response.brokers.len());
    for b in &response.brokers {
        let controller = if b.node_id == response.controller_id { " (controller)" } else { "" };
        let _ = writeln!(out, "  broker {} at {}:{}{controller}", b.node_id, b.host, b.port);
    }
    let _ = writeln!(out, " {} topics:", response.topics.len());
    for t in &response.topics {
        let name = t.name.as_deref().unwrap_or_default();
        let error = fault(t.error_code).map_or_else(String::new, |e| format!(" {e}"));
        let _ = writeln!(out, "  topic \"{name}\" with {} partitions:{error}", t.partitions.len());
        let mut partitions: Vec<_> = t.partitions.iter().collect();
        partitions.sort_by_key(|p| p.partition_index);
        for p in partitions {
            let error = fault(p.error_code).map_or_else(String::new, |e| format!(", {e}"));
            let (replicas, isr) = (ids(&p.replica_nodes), ids(&p.isr_nodes));
            let (index, leader) = (p.partition_index, p.leader_id);
            let _ = writeln!(out, "    partition {index}, leader {leader}, replicas: {replicas}, isrs: {isr}{error}");
        }
    }
    out
}

fn fault(code: i16) -> Option<String> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => None,
        code => Some(broker_error(code.unwrap_or(ErrorCode::UnknownServerError))),
    }
}

fn json(response: &MetadataResponse, asked: i32, topic: Option<&String>) -> String {
    let name = |node: i32| quote(address(response, node).as_bytes());
    let mut out = String::new();
    let from = quote(format!("{}/{asked}", address(response, asked)).as_bytes());
    let of = quote(topic.map_or("*", String::as_str).as_bytes());
    let _ = write!(out, "{{\"originating_broker\":{{\"id\":{asked},\"name\":{from}}},\"query\":{{\"topic\":{of}}}");
    let _ = write!(out, ",\"controllerid\":{},\"brokers\":[", response.controller_id);
    let list = |items: Vec<String>| items.join(",");
    let brokers = response.brokers.iter();
    out.push_str(&list(brokers.map(|b| format!("{{\"id\":{},\"name\":{}}}", b.node_id, name(b.node_id))).collect()));
    out.push_str("],\"topics\":[");
    let nodes = |ids: &[i32]| list(ids.iter().map(|id| format!("{{\"id\":{id}}}")).collect());
    let error = |code: i16| fault(code).map_or_else(String::new, |e| format!(",\"error\":{}", quote(e.as_bytes())));
    let topics = response.topics.iter().map(|t| {
        let mut partitions: Vec<_> = t.partitions.iter().collect();
        partitions.sort_by_key(|p| p.partition_index);
        let partitions = partitions.into_iter().map(|p| {
            format!(
                "{{\"partition\":{}{},\"leader\":{},\"replicas\":[{}],\"isrs\":[{}]}}",
                p.partition_index,
                error(p.error_code),
                p.leader_id,
                nodes(&p.replica_nodes),
                nodes(&p.isr_nodes)
            )
        });
        let topic = quote(t.name.as_deref().unwrap_or_default().as_bytes());
        format!("{{\"topic\":{topic}{},\"partitions\":[{}]}}", error(t.error_code), list(partitions.collect()))
    });
    out.push_str(&list(topics.collect()));
    out.push_str("]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_wire::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };

    fn response() -> MetadataResponse {
        MetadataResponse {
            controller_id: 1,
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: "127.0.0.1".into(),
                port: 9692,
                ..Default::default()
            }],
            topics: vec![MetadataResponseTopic {
                name: Some("t1".into()),
                partitions: vec![MetadataResponsePartition {
                    leader_id: 1,
                    replica_nodes: vec![1],
                    isr_nodes: vec![1],
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// Both texts are what kcat 1.7.1 printed.
    #[test]
    fn a_cluster_is_listed_as_kcat_lists_it() {
        let expected = "Metadata for all topics (from broker 1: 127.0.0.1:9692/1):\n 1 brokers:\n  \
                        broker 1 at 127.0.0.1:9692 (controller)\n 1 topics:\n  topic \"t1\" with 1 partitions:\n    \
                        partition 0, leader 1, replicas: 1, isrs: 1\n";
        assert_eq!(text(&response(), 1, None), expected);
        let expected = "{\"originating_broker\":{\"id\":1,\"name\":\"127.0.0.1:9692/1\"},\"query\":{\"topic\":\"t1\"},\
                        \"controllerid\":1,\"brokers\":[{\"id\":1,\"name\":\"127.0.0.1:9692\"}],\"topics\":[{\"topic\":\
                        \"t1\",\"partitions\":[{\"partition\":0,\"leader\":1,\"replicas\":[{\"id\":1}],\"isrs\":\
                        [{\"id\":1}]}]}]}";
        assert_eq!(json(&response(), 1, Some(&"t1".to_owned())), expected);
    }
}
