//! `kafka-cluster`: the cluster's id and endpoints, and brokers that are gone for good (Kafka's `ClusterTool`).

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::{Error, Target};
use logrun_wire::messages as m;

use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax};
use crate::session::{Session, block_on, check, failure, properties_of};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-cluster", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-cluster",
    about: "Prints a cluster's id and endpoints, and unregisters brokers that won't come back",
    words: "cluster-id|list-endpoints|unregister",
    options: &[
        HELP.short("h"),
        BOOTSTRAP_SERVER.short("b"),
        Opt::value("bootstrap-controller", "HOST:PORT,…", "The controllers to begin with, instead of brokers.")
            .short("C"),
        COMMAND_CONFIG.short("c"),
        Opt::value("config", "FILE", "The same as --command-config, which is the newer name."),
        Opt::value("id", "ID", "With unregister: the broker.").short("i"),
        Opt::flag("include-fenced-brokers", "With list-endpoints: also brokers that are fenced."),
    ],
    examples: &["cluster-id --bootstrap-server localhost:9092", "unregister --bootstrap-server localhost:9092 --id 3"],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        let command = given.command(&["cluster-id", "unregister", "list-endpoints"])?;
        block_on(act(given, out, command))
    })
}

async fn act(given: &Given<'_>, out: &mut Out, command: &str) -> Result<(), Failure> {
    let controllers = given.has("bootstrap-controller");
    let session = Session::with(properties_of(given, given.value("command-config")?.or(given.value("config")?))?)?;
    let endpoint_type = if controllers { 2 } else { 1 };
    match command {
        "cluster-id" => {
            let request = m::DescribeClusterRequest { endpoint_type, ..Default::default() };
            let response = session.any(request).await?;
            check(response.error_code, response.error_message.as_deref())?;
            Ok(writeln!(out, "Cluster ID: {}", response.cluster_id)?)
        }
        "list-endpoints" => {
            let include_fenced_brokers = given.has("include-fenced-brokers");
            if controllers && include_fenced_brokers {
                return Err(given
                    .syntax
                    .wrong("The option --include-fenced-brokers is only supported with --bootstrap-server option"));
            }
            let request = m::DescribeClusterRequest { endpoint_type, include_fenced_brokers, ..Default::default() };
            let response = session.any(request).await?;
            check(response.error_code, response.error_message.as_deref())?;
            let kind = if controllers { "controller" } else { "broker" };
            endpoints(out, &response.brokers, kind)
        }
        _ => {
            let id: i32 = given.parsed("id")?.ok_or_else(|| given.syntax.wrong("argument --id/-i is required"))?;
            let request = m::UnregisterBrokerRequest { broker_id: id, ..Default::default() };
            match session.call(Target::Controller, request).await {
                Ok(response) => check(response.error_code, response.error_message.as_deref())?,
                Err(Error::Unsupported { .. }) => {
                    return Ok(writeln!(out, "The target cluster does not support the broker unregistration API.")?);
                }
                Err(e) => return Err(failure(&e)),
            }
            Ok(writeln!(out, "Broker {id} is no longer registered.")?)
        }
    }
}

fn endpoints(
    out: &mut Out,
    nodes: &[m::describe_cluster_response::DescribeClusterBroker],
    kind: &str,
) -> Result<(), Failure> {
    let count = |text: &str| text.chars().count();
    let host_width = nodes.iter().map(|n| count(&n.host)).max().unwrap_or(4);
    let rack = |n: &m::describe_cluster_response::DescribeClusterBroker| n.rack.as_deref().unwrap_or("null").to_owned();
    let rack_width = nodes.iter().map(|n| count(&rack(n))).fold(10, usize::max);
    let mut line = |id: &str, host: &str, port: &str, rack: &str, state: &str, kind: &str| {
        writeln!(out, "{id:<10} {host:<host_width$} {port:<10} {rack:<rack_width$} {state:<10} {kind:<15}")
    };
    if kind == "controller" {
        writeln!(out, "{:<10} {:<host_width$} {:<10} {:<15}", "ID", "HOST", "PORT", "ENDPOINT_TYPE")?;
        for n in nodes {
            writeln!(out, "{:<10} {:<host_width$} {:<10} {kind:<15}", n.broker_id, n.host, n.port)?;
        }
        return Ok(());
    }
    line("ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE")?;
    for n in nodes {
        let state = if n.is_fenced { "fenced" } else { "unfenced" };
        line(&n.broker_id.to_string(), &n.host, &n.port.to_string(), &rack(n), state, kind)?;
    }
    Ok(())
}
