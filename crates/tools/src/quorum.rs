//! `kafka-metadata-quorum`: the state of the metadata quorum, and its members (Kafka's `MetadataQuorumCommand`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::{Target, Uuid};
use logrun_wire::messages as m;

use crate::failure::Failure;
use crate::files::{self, Properties};
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax};
use crate::session::{Session, block_on, check, failure};
use crate::text::table;
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-metadata-quorum", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-metadata-quorum",
    about: "Shows the metadata quorum and its replicas, adds controllers to it and removes them",
    words: "describe|add-controller|remove-controller",
    options: &[
        HELP.short("h"),
        BOOTSTRAP_SERVER,
        Opt::value("bootstrap-controller", "HOST:PORT,…", "The controllers to begin with, instead of brokers."),
        COMMAND_CONFIG,
        Opt::flag("status", "With describe: the quorum in short."),
        Opt::flag("replication", "With describe: each replica, and how far it is behind."),
        Opt::flag("human-readable", "With --replication: times as so long ago."),
        Opt::value("controller-id", "ID", "With remove-controller: its node id.").short("i"),
        Opt::value("controller-directory-id", "ID", "With remove-controller: the id of its directory.").short("d"),
        Opt::flag("dry-run", "Say what would be done, and don't."),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 describe --status",
        "--bootstrap-server localhost:9092 describe --replication --human-readable",
    ],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        let command = given.command(&["describe", "add-controller", "remove-controller"])?;
        block_on(act(given, out, command))
    })
}

async fn act(given: &Given<'_>, out: &mut Out, command: &str) -> Result<(), Failure> {
    let terse = |message: &str| Err(Failure::new(message));
    match command {
        "describe" => {
            match (given.has("status"), given.has("replication")) {
                (true, true) => {
                    return terse(
                        "Only one of --status or --replication should be specified with describe sub-command",
                    );
                }
                (false, false) => {
                    return terse("One of --status or --replication must be specified with describe sub-command");
                }
                (true, false) if given.has("human-readable") => {
                    return terse("The option --human-readable is only supported along with --replication");
                }
                _ => {}
            }
            let session = Session::of(given)?;
            let quorum = Quorum::of(&session).await?;
            if given.has("status") {
                quorum.status(out, &session).await
            } else {
                quorum.replication(given, out, &session)
            }
        }
        "add-controller" => add(given, out).await,
        _ => remove(given, out).await,
    }
}

/// `DescribeQuorum` of the metadata topic.
struct Quorum {
    partition: m::describe_quorum_response::PartitionData,
    endpoints: BTreeMap<i32, Vec<String>>,
}

type Replica = m::describe_quorum_response::ReplicaState;

impl Quorum {
    async fn of(session: &Session) -> Result<Self, Failure> {
        let partition = m::describe_quorum_request::PartitionData { partition_index: 0, ..Default::default() };
        let topic = m::describe_quorum_request::TopicData {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = m::DescribeQuorumRequest { topics: vec![topic], ..Default::default() };
        let response = session.controller(request).await?;
        check(response.error_code, response.error_message.as_deref())?;
        let partition = response.topics.into_iter().flat_map(|t| t.partitions).next();
        let partition =
            partition.ok_or_else(|| Failure::new("the response says nothing of the metadata's partition"))?;
        check(partition.error_code, partition.error_message.as_deref())?;
        let endpoints = response.nodes.iter().map(|node| {
            let listeners = node.listeners.iter().map(|l| {
                let host = if l.host.contains(':') { format!("[{}]", l.host) } else { l.host.to_string() };
                format!("{}://{host}:{}", l.name, l.port)
            });
            (node.node_id, listeners.collect())
        });
        Ok(Self { endpoints: endpoints.collect(), partition })
    }

    fn leader(&self) -> Result<&Replica, Failure> {
        let id = self.partition.leader_id;
        self.partition
            .current_voters
            .iter()
            .find(|v| v.replica_id == id)
            .ok_or_else(|| Failure::new(format!("the leader, node {id}, is no voter")))
    }

    async fn status(&self, out: &mut Out, session: &Session) -> Result<(), Failure> {
        let cluster = session.any(m::DescribeClusterRequest { endpoint_type: 1, ..Default::default() }).await;
        let cluster_id = match cluster {
            Ok(cluster) => cluster.cluster_id,
            // A controller tells of controllers.
            Err(_) => {
                session.any(m::DescribeClusterRequest { endpoint_type: 2, ..Default::default() }).await?.cluster_id
            }
        };
        let leader = self.leader()?;
        let behind = self.partition.current_voters.iter().min_by_key(|v| v.log_end_offset).unwrap_or(leader);
        let lag_ms = match (leader.last_caught_up_timestamp, behind.last_caught_up_timestamp) {
            _ if behind.replica_id == leader.replica_id => 0,
            (a, b) if a >= 0 && b >= 0 => a - b,
            _ => -1,
        };
        let p = &self.partition;
        writeln!(out, "ClusterId:              {cluster_id}")?;
        writeln!(out, "LeaderId:               {}", p.leader_id)?;
        writeln!(out, "LeaderEpoch:            {}", p.leader_epoch)?;
        writeln!(out, "HighWatermark:          {}", p.high_watermark)?;
        writeln!(out, "MaxFollowerLag:         {}", leader.log_end_offset - behind.log_end_offset)?;
        writeln!(out, "MaxFollowerLagTimeMs:   {lag_ms}")?;
        writeln!(out, "CurrentVoters:          {}", self.list(&p.current_voters))?;
        Ok(writeln!(out, "CurrentObservers:       {}", self.list(&p.observers))?)
    }

    fn list(&self, replicas: &[Replica]) -> String {
        let one = |r: &Replica| {
            let mut text = format!("{{\"id\": {}", r.replica_id);
            if r.replica_directory_id != Uuid::default() {
                text += &format!(", \"directoryId\": \"{}\"", r.replica_directory_id);
            }
            if let Some(endpoints) = self.endpoints.get(&r.replica_id).filter(|e| !e.is_empty()) {
                let endpoints: Vec<String> = endpoints.iter().map(|e| format!("\"{e}\"")).collect();
                text += &format!(", \"endpoints\": [{}]", endpoints.join(", "));
            }
            text + "}"
        };
        let all: Vec<String> = replicas.iter().map(one).collect();
        format!("[{}]", all.join(", "))
    }

    fn replication(&self, given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
        let leader = self.leader()?;
        let now = session.client.io().clock.wall().get();
        let human = given.has("human-readable");
        let time = |ms: i64| match ms {
            ..0 => "-1".to_owned(),
            ms if human => format!("{} ms ago", (now - ms).max(0)),
            ms => ms.to_string(),
        };
        let row = |r: &Replica, status: &str| {
            vec![
                r.replica_id.to_string(),
                r.replica_directory_id.to_string(),
                r.log_end_offset.to_string(),
                (leader.log_end_offset - r.log_end_offset).to_string(),
                time(r.last_fetch_timestamp),
                time(r.last_caught_up_timestamp),
                status.to_owned(),
            ]
        };
        let followers = self.partition.current_voters.iter().filter(|v| v.replica_id != leader.replica_id);
        let rows: Vec<Vec<String>> = [row(leader, "Leader")]
            .into_iter()
            .chain(followers.map(|r| row(r, "Follower")))
            .chain(self.partition.observers.iter().map(|r| row(r, "Observer")))
            .collect();
        let headers =
            ["NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status"];
        Ok(write!(out, "{}", table(&headers, &rows))?)
    }
}

async fn add(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let Some(path) = given.value("command-config")? else {
        return Err(Failure::new(
            "You must supply the configuration file of the controller you are adding when using add-controller.",
        ));
    };
    let controller = NewController::of(&files::load(path)?)?;
    if !given.has("dry-run") {
        let session = Session::of(given)?;
        let listener = |(name, host, port): &(String, String, u16)| m::add_raft_voter_request::Listener {
            name: name.as_str().into(),
            host: host.as_str().into(),
            port: *port,
            ..Default::default()
        };
        let request = m::AddRaftVoterRequest {
            timeout_ms: 30_000,
            voter_id: controller.id,
            voter_directory_id: controller.directory,
            listeners: controller.endpoints.iter().map(listener).collect(),
            ..Default::default()
        };
        let response = session.call(Target::Controller, request).await.map_err(|e| failure(&e))?;
        check(response.error_code, response.error_message.as_deref())?;
    }
    let endpoints: Vec<String> = controller
        .endpoints
        .iter()
        .map(|(name, host, port)| match host.contains(':') {
            true => format!("{name}://[{host}]:{port}"),
            false => format!("{name}://{host}:{port}"),
        })
        .collect();
    let done = if given.has("dry-run") { "DRY RUN of adding" } else { "Added" };
    let (id, directory) = (controller.id, controller.directory);
    Ok(writeln!(out, "{done} controller {id} with directory id {directory} and endpoints: {}", endpoints.join(", "))?)
}

/// A controller, as its configuration and its metadata directory describe it.
struct NewController {
    id: i32,
    directory: Uuid,
    endpoints: Vec<(String, String, u16)>,
}

impl NewController {
    fn of(properties: &Properties) -> Result<Self, Failure> {
        let get = |name: &str| properties.get(name).map(|v| v.trim()).filter(|v| !v.is_empty());
        let not_one = |what: String| Failure::new(format!("{what}. Is this a valid controller configuration file?"));
        let missing = |name: &str| not_one(format!("{name} not found in configuration file"));
        let id = get("node.id").ok_or_else(|| missing("node.id"))?;
        let id: i32 = id.parse().map_err(|_| not_one(format!("node.id is {id}, which is no number")))?;
        if id < 0 {
            return Err(not_one("node.id was negative in configuration file".to_owned()));
        }
        if !get("process.roles").is_some_and(|r| r.contains("controller")) {
            return Err(not_one("process.roles did not contain 'controller' in configuration file".to_owned()));
        }
        let dir = get("metadata.log.dir")
            .or_else(|| get("log.dirs").or(get("log.dir")).and_then(|dirs| dirs.split(',').next()))
            .ok_or_else(|| not_one("Neither metadata.log.dir nor log.dirs were found".to_owned()))?;
        let meta = files::load(&format!("{dir}/meta.properties"))
            .map_err(|_| Failure::new(format!("Unable to read meta.properties from {dir}")))?;
        let directory = meta
            .get("directory.id")
            .and_then(|d| d.parse().ok())
            .ok_or_else(|| Failure::new(format!("No directory id found in {dir}")))?;
        let names = get("controller.listener.names").ok_or_else(|| missing("controller.listener.names"))?;
        let mut listeners = BTreeMap::new();
        for list in ["listeners", "advertised.listeners"] {
            for (name, host, port) in get(list).unwrap_or_default().split(',').filter_map(listener) {
                listeners.insert(name.clone(), (name, host, port));
            }
        }
        let endpoint = |name: &str| {
            let name = name.trim().to_uppercase();
            let found = listeners.get(&name).cloned();
            found.ok_or_else(|| Failure::new(format!("Cannot find information about controller listener name: {name}")))
        };
        let endpoints = names.split(',').map(endpoint).collect::<Result<_, _>>()?;
        Ok(Self { id, directory, endpoints })
    }
}

/// `NAME://host:port`; a missing host is this machine.
fn listener(text: &str) -> Option<(String, String, u16)> {
    let (name, address) = text.trim().split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { "localhost" } else { host };
    Some((name.to_uppercase(), host.to_owned(), port.parse().ok()?))
}

async fn remove(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let needed = |name: &str| given.syntax.wrong(format!("argument --{name} is required"));
    let id: i32 = given.parsed("controller-id")?.ok_or_else(|| needed("controller-id"))?;
    let text = given.value("controller-directory-id")?.ok_or_else(|| needed("controller-directory-id"))?;
    if id < 0 {
        return Err(Failure::new(format!("Invalid negative --controller-id: {id}")));
    }
    let directory: Uuid =
        text.parse().map_err(|_| Failure::new(format!("Failed to parse --controller-directory-id: {text}")))?;
    if !given.has("dry-run") {
        let session = Session::of(given)?;
        let request = m::RemoveRaftVoterRequest { voter_id: id, voter_directory_id: directory, ..Default::default() };
        let response = session.call(Target::Controller, request).await.map_err(|e| failure(&e))?;
        check(response.error_code, response.error_message.as_deref())?;
    }
    let done = if given.has("dry-run") { "DRY RUN of removing " } else { "Removed " };
    Ok(writeln!(out, "{done} KRaft controller {id} with directory id {directory}")?)
}

#[cfg(test)]
mod tests {
    use super::listener;

    #[test]
    fn listeners_have_a_host_even_where_none_is_written() {
        assert_eq!(listener("CONTROLLER://:9093"), Some(("CONTROLLER".to_owned(), "localhost".to_owned(), 9093)));
        assert_eq!(listener(" c://[::1]:1"), Some(("C".to_owned(), "::1".to_owned(), 1)));
        assert_eq!(listener("nonsense"), None);
    }
}
