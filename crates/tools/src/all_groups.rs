//! `kafka-groups`: groups of every type (Kafka's `GroupsCommand`).

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use crate::cluster::list_groups;
use crate::failure::Failure;
use crate::groups::kind_name;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-groups", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-groups",
    about: "Lists the groups of all types: classic, consumer, share and streams",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::flag("list", "List the groups."),
        Opt::value("group-type", "TYPE", "Only groups of this type: classic, consumer, share or streams."),
        Opt::value("protocol", "PROTOCOL", "Only groups with this protocol."),
        Opt::flag("consumer", "Only groups of consumers, of either protocol, with or without members."),
        Opt::flag("share", "Only share groups."),
        Opt::flag("streams", "Only streams groups."),
    ],
    examples: &["--bootstrap-server localhost:9092 --list"],
};

const TYPES: [&str; 4] = ["Classic", "Consumer", "Share", "Streams"];

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        given.one_action(&["list"], "--list.")?;
        given.require(&["bootstrap-server"])?;
        if let Some(kind) = given.value("group-type")?
            && !TYPES.iter().any(|t| t.eq_ignore_ascii_case(kind))
        {
            return Err(given.syntax.wrong("--group-type must be a valid group type."));
        }
        for option in ["consumer", "share", "streams"] {
            given.exclusive(option, &["consumer", "share", "streams", "group-type", "protocol"])?;
        }
        block_on(list(given, out)).map_err(|f| match f.message() {
            "" => f,
            _ => f.prefixed("Error while executing groups command : ", true),
        })
    })
}

async fn list(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let session = Session::of(given)?;
    let (kind, protocol) = (given.value("group-type")?, given.value("protocol")?);
    let mut rows = Vec::new();
    for group in list_groups(&session, &[], &[]).await? {
        let is = |name: &str| kind_name(&group).eq_ignore_ascii_case(name);
        let wanted = match (kind, protocol) {
            (Some(kind), protocol) => is(kind) && protocol.is_none_or(|p| p == &*group.protocol_type),
            (None, Some(protocol)) => protocol == &*group.protocol_type,
            _ if given.has("consumer") => matches!(&*group.protocol_type, "consumer" | "") || is("consumer"),
            _ if given.has("share") => is("share"),
            _ if given.has("streams") => is("streams"),
            _ => true,
        };
        if wanted {
            rows.push([group.group_id.to_string(), kind_name(&group).to_owned(), group.protocol_type.to_string()]);
        }
    }
    let width = rows.iter().flatten().map(|cell| cell.chars().count()).fold(20, usize::max);
    writeln!(out, "{:<width$} {:<width$} {:<width$}", "GROUP", "TYPE", "PROTOCOL")?;
    for [group, kind, protocol] in rows {
        writeln!(out, "{group:<width$} {kind:<width$} {protocol:<width$} ")?;
    }
    Ok(())
}
