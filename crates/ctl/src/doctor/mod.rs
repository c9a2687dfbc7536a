//! `logrun doctor`: tries out everything between here and the cluster, one step after the other, and says in a sentence
//! what is wrong and how to mend it. The exit code is 1 if something is.

mod probe;
mod trial;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use logrun_client::cluster::Broker;
use logrun_client::{Admin, Client, Config, NodeId};
use logrun_io::Io;

use self::probe::Reached;
use crate::Failure;
use crate::args::Common;
use crate::names::count;
use crate::output::{Cell, Column, Format, Screen, Table, Tone};
use crate::session::{Session, block_on, config, explain};

const EXAMPLES: &str = "\
Examples:
  logrun doctor                            the current context
  logrun doctor -b kafka-1:9092,kafka-2:9092
  logrun doctor --context prod --no-write  without a topic of its own
  logrun doctor -o json | jq 'select(.state != \"ok\")'

It looks at: the name and port of each address, what speaks there, TLS and login, the addresses that brokers advertise,
whether it is one cluster, its partitions, a write and a read through a topic of its own (removed afterwards), clocks.";

/// What to try.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Create no topic, write nothing
    #[arg(long)]
    no_write: bool,
    #[command(flatten)]
    common: Common,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Ok,
    Warn,
    Bad,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warning",
            Self::Bad => "error",
        }
    }

    fn mark(self) -> (&'static str, Tone) {
        match self {
            Self::Ok => ("✓", Tone::Good),
            Self::Warn => ("!", Tone::Warn),
            Self::Bad => ("✗", Tone::Bad),
        }
    }
}

/// What is to be said of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub state: State,
    pub detail: String,
    /// How to mend it.
    pub remedy: Option<String>,
}

impl Verdict {
    pub fn ok(detail: impl Into<String>) -> Self {
        Self { state: State::Ok, detail: detail.into(), remedy: None }
    }

    pub fn bad(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Bad, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    fn warn(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Warn, ..Self::bad(detail, remedy) }
    }
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub verdict: Verdict,
}

impl Check {
    pub fn new(name: impl Into<String>, verdict: Verdict) -> Self {
        Self { name: name.into(), verdict }
    }
}

/// Runs it.
///
/// # Errors
/// Only what the command line itself has wrong: all else is the report.
pub fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let mut screen = Screen::new(&args.common.output);
    let config = config(&args.common.connection)?;
    let mut checks = Vec::new();
    block_on(async {
        let mut broken = None;
        examine(args, &config, &mut |check| {
            if broken.is_none()
                && let Err(e) = print(&mut screen, &check, checks.is_empty())
            {
                broken = Some(e);
            }
            checks.push(check);
        })
        .await;
        broken.map_or(Ok(()), Err)
    })?;
    if screen.format == Format::Table {
        screen.raw(conclusion(&checks, screen.paint).as_bytes())?;
    }
    screen.flush()?;
    let is_bad = checks.iter().any(|c| c.verdict.state == State::Bad);
    Ok(ExitCode::from(u8::from(is_bad)))
}

/// Each step is told as soon as it is done: some take long.
fn print(screen: &mut Screen, check: &Check, first: bool) -> Result<(), Failure> {
    let verdict = &check.verdict;
    if screen.format != Format::Table {
        let mut table = Table::new(
            [Column::text("check"), Column::text("state"), Column::text("detail"), Column::text("remedy")].as_slice(),
        );
        table.push(vec![
            check.name.as_str().into(),
            verdict.state.name().into(),
            verdict.detail.as_str().into(),
            Cell::from(verdict.remedy.clone()),
        ]);
        screen.more(&table, first)?;
        return screen.flush();
    }
    let (mark, tone) = verdict.state.mark();
    let line = format!("{} {}: {}\n", screen.paint.tone(tone, mark), check.name, verdict.detail);
    screen.raw(line.as_bytes())?;
    screen.flush()
}

fn conclusion(checks: &[Check], paint: crate::output::Paint) -> String {
    let of = |state: State| checks.iter().filter(move |c| c.verdict.state == state);
    let sentence = |check: &Check| {
        let remedy = check.verdict.remedy.as_deref().map_or_else(String::new, |r| format!(" To mend it: {r}."));
        format!("{}.{remedy}", check.verdict.detail)
    };
    let mut out = String::from("\n");
    match of(State::Bad).next() {
        Some(first) => {
            out.push_str(&format!("{} {}\n", paint.tone(Tone::Bad, "What is wrong:"), sentence(first)));
            let more = of(State::Bad).count() - 1;
            if more > 0 {
                out.push_str(&format!(
                    "{} below it, which may come from the first:\n",
                    count(more as u64, "more error")
                ));
                for check in of(State::Bad).skip(1) {
                    out.push_str(&format!("  {}: {}\n", check.name, sentence(check)));
                }
            }
        }
        None if of(State::Warn).next().is_some() => out.push_str(&format!("{}\n", paint.tone(Tone::Good, "It works."))),
        None => out.push_str(&format!("{}\n", paint.tone(Tone::Good, "All is well."))),
    }
    for check in of(State::Warn) {
        out.push_str(&format!("{} {}\n", paint.tone(Tone::Warn, "To be looked at:"), sentence(check)));
    }
    out
}

async fn examine(args: &DoctorArgs, config: &Config, report: &mut dyn FnMut(Check)) {
    let io = Io::real();
    // An attempt that fails is an answer here: no waiting for a better one.
    let config = config.clone().set("socket.connection.setup.timeout.ms", 5000);
    let servers = config.get("bootstrap.servers").unwrap_or_default().to_owned();
    let mut reached: Option<Reached> = None;
    for address in servers.split(',').map(str::trim).filter(|a| !a.is_empty()) {
        let verdict = match probe::reach(&io, address, &config).await {
            Ok(one) => {
                let verdict = Verdict::ok(entered(&one, &config));
                reached.get_or_insert(one);
                verdict
            }
            Err(verdict) => verdict,
        };
        report(Check::new(format!("bootstrap {address}"), verdict));
    }
    let Some(reached) = reached else { return };
    let cluster_id = reached.client.cluster().cluster_id.clone();
    let brokers: Vec<Broker> = reached.client.cluster().brokers.values().cloned().collect();
    let mut served = BTreeMap::from([]);
    for broker in &brokers {
        let (verdict, apis) = advertised(&io, broker, &config, cluster_id.as_deref()).await;
        report(Check::new(format!("broker {}", broker.id), verdict));
        served.extend(apis.map(|n| (broker.id, n)));
    }
    if let Some(verdict) = versions(&served) {
        report(Check::new("versions", verdict));
    }
    report(Check::new("cluster", cluster(&reached.client).await));
    if !args.no_write {
        let admin = Admin::of(reached.client.clone());
        let session = Session { config, client: reached.client, admin };
        trial::write_and_read(&session, report).await;
    }
}

fn entered(reached: &Reached, config: &Config) -> String {
    let at: Vec<String> = reached.sockets.iter().map(|s| s.ip().to_string()).collect();
    let protocol = config.get("security.protocol").unwrap_or("PLAINTEXT");
    let login = match config.get("sasl.mechanism") {
        Some(mechanism) if protocol.starts_with("SASL") => format!(", logged in by {mechanism}"),
        _ => String::new(),
    };
    let (connect, handshake) = (reached.connect_ms, reached.handshake_ms);
    format!("answers ({}; {protocol}{login}; connected in {connect} ms, ready in {handshake} ms)", at.join(", "))
}

/// The address that a broker tells clients to use: theirs is the most common of all mistakes.
async fn advertised(io: &Io, broker: &Broker, config: &Config, cluster_id: Option<&str>) -> (Verdict, Option<usize>) {
    let host = if broker.host.contains(':') { format!("[{}]", broker.host) } else { broker.host.to_string() };
    let address = format!("{host}:{}", broker.port);
    match probe::reach(io, &address, config).await {
        Ok(reached) => {
            let theirs = reached.client.cluster().cluster_id.clone();
            if let (Some(ours), Some(theirs)) = (cluster_id, &theirs)
                && ours != theirs.as_str()
            {
                let detail = format!("it advertises {address}, where another cluster answers ({theirs}, not {ours})");
                let remedy = format!("set advertised.listeners of broker {} to an address of its own", broker.id);
                return (Verdict::bad(detail, remedy), None);
            }
            let apis = reached.connection.versions().apis().count();
            let detail = format!("advertises {address}, which answers in {} ms", reached.handshake_ms);
            (Verdict::ok(detail), Some(apis))
        }
        Err(stopped) => {
            let detail = format!("it tells clients to come to {address}, and {}", stopped.detail);
            let remedy = format!(
                "set advertised.listeners of broker {} to an address that this machine reaches ({})",
                broker.id,
                stopped.remedy.unwrap_or_default()
            );
            (Verdict::bad(detail, remedy), None)
        }
    }
}

fn versions(served: &BTreeMap<NodeId, usize>) -> Option<Verdict> {
    let (least, most) = (served.values().min()?, served.values().max()?);
    Some(match least == most {
        true => Verdict::ok(format!("{} with {}", count(served.len() as u64, "broker"), count(*most as u64, "API"))),
        false => Verdict::warn(
            format!("brokers serve from {least} to {most} APIs: they are of different releases"),
            "finish the upgrade",
        ),
    })
}

/// What the metadata say of controller and partitions.
async fn cluster(client: &Client) -> Verdict {
    let admin = Admin::of(client.clone());
    let described = async {
        let topics = admin.list_topics(true).await?;
        let names: Vec<_> = topics.into_iter().map(|t| t.name).collect();
        let topics = admin.describe_topics(&names, false).await?;
        Ok::<_, logrun_client::Error>((admin.describe_cluster(false, false).await?, topics))
    };
    let (cluster, topics) = match described.await {
        Ok(found) => found,
        Err(e) => return Verdict::bad(explain(&e).sentence, "look at the broker's log"),
    };
    let partitions: Vec<_> = topics.into_values().flatten().flat_map(|t| t.partitions).collect();
    let offline = partitions.iter().filter(|p| p.leader.is_none()).count() as u64;
    let behind = partitions.iter().filter(|p| p.leader.is_some() && p.isr.len() < p.replicas.len()).count() as u64;
    let brokers = count(cluster.nodes.len() as u64, "broker");
    if cluster.controller.is_none() {
        return Verdict::bad(
            "no controller is active: nothing can be created or elected",
            "start the controllers of the quorum",
        );
    }
    if offline > 0 {
        let detail = format!("{} of {} can't be written or read", count(offline, "partition"), partitions.len());
        return Verdict::bad(detail, "start the brokers that have them: `logrun topics list` tells which topics");
    }
    if behind > 0 {
        let detail =
            format!("{} of {} have replicas that are not in sync", count(behind, "partition"), partitions.len());
        return Verdict::warn(detail, "look for brokers that are down or slow: `logrun topics list`");
    }
    let id = cluster.cluster_id.unwrap_or_default();
    Verdict::ok(format!("{id}: {brokers}, {}, all in sync", count(partitions.len() as u64, "partition")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;

    #[test]
    fn conclusions() {
        let ok = Check::new("bootstrap a:1", Verdict::ok("answers"));
        let warning = Check::new("clocks", Verdict::warn("the broker's is 1h ahead", "let both follow NTP"));
        let bad =
            Check::new("broker 1", Verdict::bad("it tells clients to come to kafka:29092", "set advertised.listeners"));
        let cases = [
            vec![ok.clone()],
            vec![ok.clone(), warning.clone()],
            vec![ok.clone(), bad.clone()],
            vec![bad.clone(), bad, warning, ok],
        ];
        let said: Vec<String> = cases.iter().map(|c| conclusion(c, Paint::new(false))).collect();
        insta::assert_snapshot!("doctor_conclusions", said.join("---"));
    }

    #[test]
    fn different_releases_are_told() {
        let of = |counts: &[usize]| versions(&(1..).map(NodeId).zip(counts.iter().copied()).collect());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[70, 70]).map(|v| v.state), Some(State::Ok));
        assert_eq!(of(&[70, 60]).map(|v| v.state), Some(State::Warn));
    }
}
