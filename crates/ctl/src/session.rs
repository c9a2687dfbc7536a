//! A command's way to a cluster: which one, with which properties, and what it means when it doesn't answer.

use std::future::Future;
use std::time::Duration;

use logrun_client::admin::TopicDescription;
use logrun_client::{Admin, Client, ClientKind, Config, Error, ErrorCode, Str};
use logrun_io::Io;
use logrun_tools::runtime;

use crate::Failure;
use crate::args::{Common, Connection};
use crate::contexts::Contexts;
use crate::names::did_you_mean;

/// Where a cluster is looked for if nothing is said.
pub const DEFAULT_SERVER: &str = "localhost:9092";

/// Runs a command's future on one thread.
///
/// # Errors
/// What the future gives, or the runtime can't be made.
pub fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    runtime::block_on(Failure::new, future)
}

/// The properties that the command line, a context and a file amount to; the earlier are stronger.
///
/// An address on the command line doesn't get the current context's properties: they may hold secrets of another
/// cluster.
///
/// # Errors
/// There is no such context, a file can't be read, a property isn't `NAME=VALUE`.
pub fn config(connection: &Connection) -> Result<Config, Failure> {
    let mut config = Config::default();
    let named = connection.context.is_some();
    if named || connection.bootstrap_server.is_none() {
        let contexts = Contexts::load()?;
        for (name, value) in contexts.chosen(connection.context.as_deref())? {
            config = config.set(name, value);
        }
    }
    if let Some(path) = &connection.command_config {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| Failure::new(format!("can't read {shown}: {e}")))?;
        config = config.load(&shown, &text).map_err(|e| Failure::usage(e.to_string()))?;
    }
    for pair in &connection.set {
        config = config.set_pair(pair).map_err(|e| Failure::usage(format!("--set {pair}: {e}")))?;
    }
    if let Some(server) = &connection.bootstrap_server {
        config = config.set("bootstrap.servers", with_ports(server));
    }
    let timeout = connection.timeout.unwrap_or(Duration::from_secs(30)).as_millis().min(i32::MAX as u128);
    let request = timeout.min(30_000);
    Ok(config
        .default_to("bootstrap.servers", DEFAULT_SERVER)
        .default_to("client.id", "logrun")
        .default_to("default.api.timeout.ms", timeout)
        .default_to("request.timeout.ms", request))
}

/// `host` is `host:9092`.
fn with_ports(servers: &str) -> String {
    let with_port = |server: &str| {
        let server = server.trim();
        let is_bare = !server.is_empty() && !server.contains(':');
        if is_bare { format!("{server}:9092") } else { server.to_owned() }
    };
    servers.split(',').map(with_port).collect::<Vec<_>>().join(",")
}

/// A cluster that answers.
#[derive(Clone, Debug)]
pub struct Session {
    pub config: Config,
    pub client: Client,
    pub admin: Admin,
}

impl Session {
    /// The cluster that the command line means, as an administrator.
    ///
    /// # Errors
    /// The configuration is wrong, or nobody answers.
    pub async fn open(common: &Common) -> Result<Self, Failure> {
        Self::with(config(&common.connection)?, ClientKind::Admin).await
    }

    /// The same with this configuration, for a client of this kind. One round over the addresses decides: a person
    /// whose broker is down wants to know it now.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn with(config: Config, kind: ClientKind) -> Result<Self, Failure> {
        let client = Client::new(Io::real(), &config, kind).map_err(|e| explain(&e))?;
        client.refresh().await.map_err(|e| explain(&e))?;
        let admin = Admin::of(client.clone());
        Ok(Self { config, client, admin })
    }

    /// The time, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.client.io().clock.wall().get()
    }

    /// Topics, whole, in the order of `names`.
    ///
    /// # Errors
    /// One is not there: what was probably meant.
    pub async fn topics(&self, names: &[String]) -> Result<Vec<TopicDescription>, Failure> {
        let asked: Vec<Str> = names.iter().map(Str::from).collect();
        let mut found = self.admin.describe_topics(&asked, false).await.map_err(|e| explain(&e))?;
        let mut topics = Vec::new();
        for name in &asked {
            match found.remove(name) {
                Some(Ok(topic)) => topics.push(topic),
                None => return Err(self.no_topic(name).await),
                Some(Err(e)) if e.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                    return Err(self.no_topic(name).await);
                }
                Some(Err(e)) => return Err(about(&format!("topic {name}"), &e)),
            }
        }
        Ok(topics)
    }

    /// What to say of a topic that isn't there.
    pub async fn no_topic(&self, name: &str) -> Failure {
        let topics = self.admin.list_topics(true).await.unwrap_or_default();
        let hint = did_you_mean(name, topics.iter().map(|t| t.name.as_str()));
        let else_ = if hint.is_empty() { "; `logrun topics list` shows what there is" } else { "" };
        Failure::new(format!("there is no topic {name}{hint}{else_}"))
    }

    /// What to say of a group that isn't there.
    pub async fn no_group(&self, name: &str) -> Failure {
        let groups = self.admin.list_groups(&[], &[]).await.map(|(groups, _)| groups).unwrap_or_default();
        let hint = did_you_mean(name, groups.iter().map(|g| g.group_id.as_str()));
        let else_ = if hint.is_empty() { "; `logrun groups list` shows what there is" } else { "" };
        Failure::new(format!("there is no group {name}{hint}{else_}"))
    }
}

/// What went wrong with one thing among several.
pub fn about(what: &str, error: &Error) -> Failure {
    let failure = explain(error);
    let sentence = format!("{what}: {}", failure.sentence);
    failure.saying(sentence)
}

/// What an error means to whoever typed the command, and what there is to do.
pub fn explain(error: &Error) -> Failure {
    match error {
        Error::Config(_) | Error::Invalid(_) => Failure::usage(error.to_string()),
        Error::Connect { address, reason } => {
            Failure::new(format!("can't reach {address}: {}. {}", plain(reason), remedy(reason, address)))
        }
        Error::Disconnected { address, reason } => Failure::new(format!(
            "{address} took the connection and ended it ({}): it may want TLS or a login (security.protocol). \
             `logrun doctor -b {address}` looks closer",
            plain(reason)
        )),
        Error::Authentication { address, reason } if reason.starts_with("TLS: ") => Failure::new(format!(
            "no safe connection to {address}: {reason}. Check ssl.truststore.location and security.protocol \
             (`logrun contexts show`)"
        )),
        Error::Authentication { address, reason } => Failure::new(format!(
            "{address} refuses the login: {reason}. Check sasl.mechanism and sasl.jaas.config (`logrun contexts show`)"
        )),
        Error::TimedOut { last: Some(last), what, .. } if !matches!(**last, Error::TimedOut { .. }) => {
            let failure = explain(last);
            let sentence = format!("{what} got no good answer in time: {}", failure.sentence);
            failure.saying(sentence)
        }
        Error::TimedOut { what, after, .. } => Failure::new(format!(
            "{what} got no answer within {}. `logrun doctor` tells where it hangs; --timeout gives it longer",
            crate::time::span(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
        )),
        Error::Unsupported { address, api, .. } => {
            Failure::new(format!("{address} is too old or too new for this: {error} ({api:?})"))
        }
        Error::Broker { code, message } => Failure::new(match message {
            Some(message) if !message.is_empty() => format!("{message} ({})", code.name()),
            _ => broker(*code),
        }),
        _ => Failure::new(error.to_string()),
    }
}

/// A system's message without the number that only programmers want.
fn plain(reason: &str) -> String {
    reason.split(" (os error").next().unwrap_or(reason).to_lowercase()
}

/// What to do when an address can't be reached.
fn remedy(reason: &str, address: &str) -> String {
    let reason = plain(reason);
    if reason.contains("refused") {
        "Nobody listens there: start a broker (`logrun`) or name another address with -b".to_owned()
    } else if reason.contains("lookup") || reason.contains("name") || reason.contains("address") {
        "This machine doesn't know the name: check its spelling, DNS or /etc/hosts".to_owned()
    } else if reason.contains("within") || reason.contains("timed out") {
        "Nothing answers at all: a firewall, a wrong address, or a machine that is down".to_owned()
    } else if reason.contains("frame") {
        format!("It may speak TLS (security.protocol), or be no broker: `logrun doctor -b {address}` looks closer")
    } else {
        format!("`logrun doctor -b {address}` looks closer")
    }
}

/// What a bare code says.
fn broker(code: ErrorCode) -> String {
    use ErrorCode as E;
    let sentence = match code {
        E::TopicAuthorizationFailed => "this user may not do that with the topic: an ACL is missing",
        E::GroupAuthorizationFailed => "this user may not do that with the group: an ACL is missing",
        E::ClusterAuthorizationFailed => "this user may not do that with the cluster: an ACL is missing",
        E::TopicAlreadyExists => "there is such a topic already",
        E::UnknownTopicOrPartition => "there is no such topic or partition",
        E::NonEmptyGroup => "the group has active members",
        E::GroupIdNotFound => "there is no such group",
        E::InvalidTopicException => "that is no legal name of a topic: letters, digits, `.`, `_` and `-`, at most 249",
        E::CoordinatorNotAvailable => "the group's coordinator isn't there yet: try again in a moment",
        E::NotEnoughReplicas => "too few replicas are in sync for acks=all (min.insync.replicas)",
        E::LeaderNotAvailable => "the partition has no leader now",
        _ => return code.to_string(),
    };
    format!("{sentence} ({})", code.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_filled_in() {
        assert_eq!(with_ports("kafka"), "kafka:9092");
        assert_eq!(with_ports("a, b:9093,[::1]:9094"), "a:9092,b:9093,[::1]:9094");
    }

    #[test]
    fn errors_say_what_to_do() {
        let connect = |reason: &str| Error::Connect { address: "kafka:9092".to_owned(), reason: reason.to_owned() };
        let errors = [
            connect("Connection refused (os error 111)"),
            connect("failed to lookup address information: Name or service not known"),
            connect("no connection within 10000 ms"),
            connect("the connection ended inside a frame"),
            Error::Disconnected { address: "kafka:9092".to_owned(), reason: "the broker closed it".to_owned() },
            Error::Authentication { address: "kafka:9092".to_owned(), reason: "Authentication failed".to_owned() },
            Error::TimedOut {
                what: "CreateTopics".to_owned(),
                after: Duration::from_secs(30),
                last: Some(Box::new(ErrorCode::NotEnoughReplicas.into())),
            },
            Error::TimedOut { what: "Metadata".to_owned(), after: Duration::from_secs(5), last: None },
            ErrorCode::TopicAuthorizationFailed.into(),
            Error::Broker { code: ErrorCode::InvalidConfig, message: Some("retention.ms: not a number".into()) },
        ];
        let said: Vec<String> = errors.iter().map(|e| explain(e).sentence).collect();
        insta::assert_snapshot!("errors", said.join("\n"));
    }
}
