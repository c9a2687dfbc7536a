//! `kafka-acls`: who may do what (Kafka's `AclCommand`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use logrun_wire::messages as m;

use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, check};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-acls", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-acls",
    about: "Shows, adds and removes access control lists",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        Opt::value("bootstrap-controller", "HOST:PORT,…", "The controllers to begin with, instead of brokers."),
        COMMAND_CONFIG,
        Opt::flag("add", "Add ACLs."),
        Opt::flag("remove", "Remove ACLs."),
        Opt::flag("list", "List the ACLs, or those of a resource."),
        Opt::value("topic", "TOPIC", "A topic; * for all."),
        Opt::value("group", "GROUP", "A group; * for all."),
        Opt::flag("cluster", "The cluster."),
        Opt::value("transactional-id", "ID", "A transactional id; * for all."),
        Opt::value("delegation-token", "ID", "A delegation token; * for all."),
        Opt::value("user-principal", "NAME", "A user, for operations on delegation tokens."),
        Opt::value(
            "resource-pattern-type",
            "TYPE",
            "literal (without it) or prefixed; to list or remove, also any or match.",
        ),
        Opt::value(
            "operation",
            "OPERATION",
            "All (without it), Read, Write, Create, Delete, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, CreateTokens, DescribeTokens, TwoPhaseCommit.",
        ),
        Opt::value("allow-principal", "TYPE:NAME", "Who may, e.g. User:alice, User:*."),
        Opt::value("deny-principal", "TYPE:NAME", "Who may not, whatever else allows it."),
        Opt::value("allow-host", "HOST", "From where they may; * without it."),
        Opt::value("deny-host", "HOST", "From where they may not; * without it."),
        Opt::maybe("principal", "TYPE:NAME", "With --list: only those of this principal."),
        Opt::flag("producer", "What a producer needs: Write, Describe and Create on the topic."),
        Opt::flag("consumer", "What a consumer needs: Read and Describe on the topic, Read on the group."),
        Opt::flag("idempotent", "With --producer: also what an idempotent one needs."),
        Opt::flag("force", "Don't ask."),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --list",
        "--bootstrap-server localhost:9092 --add --allow-principal User:alice --producer --topic orders",
    ],
};

/// A name, its number on the wire.
type Table = &'static [(&'static str, i8)];

const RESOURCES: Table =
    &[("TOPIC", 2), ("GROUP", 3), ("CLUSTER", 4), ("TRANSACTIONAL_ID", 5), ("DELEGATION_TOKEN", 6), ("USER", 7)];
const PATTERNS: Table = &[("ANY", 1), ("MATCH", 2), ("LITERAL", 3), ("PREFIXED", 4)];
const OPERATIONS: Table = &[
    ("ALL", 2),
    ("READ", 3),
    ("WRITE", 4),
    ("CREATE", 5),
    ("DELETE", 6),
    ("ALTER", 7),
    ("DESCRIBE", 8),
    ("CLUSTER_ACTION", 9),
    ("DESCRIBE_CONFIGS", 10),
    ("ALTER_CONFIGS", 11),
    ("IDEMPOTENT_WRITE", 12),
    ("CREATE_TOKENS", 13),
    ("DESCRIBE_TOKENS", 14),
    ("TWO_PHASE_COMMIT", 15),
];
const PERMISSIONS: Table = &[("DENY", 2), ("ALLOW", 3)];
/// Anything, in filters; also any operation and any permission.
const ANY: i8 = 1;

/// What can be done with each resource, besides everything.
const SUPPORTED: [(i8, &[i8]); 6] = [
    (2, &[3, 4, 5, 8, 6, 7, 10, 11]),
    (3, &[3, 8, 6, 10, 11]),
    (4, &[5, 9, 10, 11, 12, 7, 8]),
    (5, &[8, 4, 15]),
    (6, &[8]),
    (7, &[13, 14]),
];

fn name(table: Table, code: i8) -> &'static str {
    table.iter().find(|(_, c)| *c == code).map_or("UNKNOWN", |(name, _)| name)
}

/// By a name with or without underscores, in any case.
fn named(table: Table, text: &str) -> Option<i8> {
    let plain = |text: &str| text.replace('_', "").to_uppercase();
    table.iter().find(|(name, _)| plain(name) == plain(text.trim())).map(|(_, code)| *code)
}

/// A resource, or a pattern for several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Resource {
    kind: i8,
    name: String,
    pattern: i8,
}

/// Kafka's `ResourcePattern.toString`, or that of a filter.
fn resource_text(resource: &Resource, filter: bool) -> String {
    let what = if filter { "ResourcePatternFilter" } else { "ResourcePattern" };
    let (kind, pattern) = (name(RESOURCES, resource.kind), name(PATTERNS, resource.pattern));
    format!("{what}(resourceType={kind}, name={}, patternType={pattern})", resource.name)
}

/// Who may or may not do what, and from where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    principal: String,
    host: String,
    operation: i8,
    permission: i8,
}

impl Entry {
    fn text(&self) -> String {
        let (operation, permission) = (name(OPERATIONS, self.operation), name(PERMISSIONS, self.permission));
        let (principal, host) = (&self.principal, &self.host);
        format!("(principal={principal}, host={host}, operation={operation}, permissionType={permission})")
    }
}

type Acls = BTreeMap<Resource, BTreeSet<Entry>>;

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        check_options(given)?;
        block_on(act(given, out)).map_err(|f| match f.is_refusal() {
            true => f.prefixed("Error while executing ACL command: ", true),
            false => f,
        })
    })
}

fn check_options(given: &Given<'_>) -> Result<(), Failure> {
    let wrong = |message: &str| Err(given.syntax.wrong(message));
    match given.count(&["bootstrap-server", "bootstrap-controller"]) {
        0 => return wrong("One of --bootstrap-server or --bootstrap-controller must be specified"),
        2 => return wrong("Only one of --bootstrap-server or --bootstrap-controller must be specified"),
        _ => {}
    }
    given.one_action(&["add", "remove", "list"], "--list, --add, --remove. ")?;
    given
        .exclusive("list", &["producer", "consumer", "allow-host", "allow-principal", "deny-host", "deny-principal"])?;
    for role in ["producer", "consumer"] {
        given.exclusive(role, &["operation", "deny-principal", "deny-host"])?;
    }
    if given.has("principal") && !given.has("list") {
        return wrong("The --principal option is only available if --list is set");
    }
    if given.has("producer") && !given.has("topic") {
        return wrong("With --producer you must specify a --topic");
    }
    if given.has("idempotent") && !given.has("producer") {
        return wrong("The --idempotent option is only available if --producer is set");
    }
    let others = !given.has("producer") && given.count(&["cluster", "transactional-id"]) > 0;
    if given.has("consumer") && (!given.has("topic") || !given.has("group") || others) {
        return wrong(
            "With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option should be specified.",
        );
    }
    Ok(())
}

async fn act(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    if given.has("list") {
        return list(given, out).await;
    }
    let wanted = wanted(given)?;
    if given.has("add") {
        if wanted.keys().any(|r| r.pattern < 3) {
            return Err(given.syntax.wrong(format!(
                "A '--resource-pattern-type' value of '{}' is not valid when adding acls.",
                given.value("resource-pattern-type")?.unwrap_or_default()
            )));
        }
        if wanted.values().any(BTreeSet::is_empty) {
            return Err(given
                .syntax
                .wrong("You must specify one of: --allow-principal, --deny-principal when trying to add ACLs."));
        }
        return add(out, &Session::of(given)?, &wanted).await;
    }
    remove(given, out, &wanted).await
}

/// The resources of the command line.
fn resources(given: &Given<'_>) -> Result<BTreeSet<Resource>, Failure> {
    let text = given.value("resource-pattern-type")?.unwrap_or("literal");
    let pattern =
        named(PATTERNS, text).ok_or_else(|| given.syntax.wrong(format!("Unknown resource-pattern-type: {text}")))?;
    let options = [("topic", 2), ("group", 3), ("transactional-id", 5), ("delegation-token", 6), ("user-principal", 7)];
    let mut found = BTreeSet::new();
    for (option, kind) in options {
        found.extend(given.values(option).into_iter().map(|name| Resource {
            kind,
            name: name.trim().to_owned(),
            pattern,
        }));
    }
    if pattern == 3 && given.count(&["cluster", "idempotent"]) > 0 {
        found.insert(Resource { kind: 4, name: "kafka-cluster".to_owned(), pattern });
    }
    Ok(found)
}

/// The entries of the command line, for these operations.
fn entries(given: &Given<'_>, operations: &[i8]) -> Result<BTreeSet<Entry>, Failure> {
    let mut found = BTreeSet::new();
    for (principals, hosts, permission) in [("allow-principal", "allow-host", 3), ("deny-principal", "deny-host", 2)] {
        let hosts = given.values(hosts);
        let hosts = if hosts.is_empty() { vec!["*"] } else { hosts };
        for principal in given.values(principals) {
            let principal = principal.trim();
            if principal.split_once(':').is_none_or(|(kind, name)| kind.is_empty() || name.is_empty()) {
                return Err(given
                    .syntax
                    .wrong(format!("expected a string in format principalType:principalName but got {principal}")));
            }
            for host in &hosts {
                found.extend(operations.iter().map(|operation| Entry {
                    principal: principal.to_owned(),
                    host: host.trim().to_owned(),
                    operation: *operation,
                    permission,
                }));
            }
        }
    }
    Ok(found)
}

fn wanted(given: &Given<'_>) -> Result<Acls, Failure> {
    let resources = resources(given)?;
    if resources.is_empty() {
        return Err(given.syntax.wrong(
            "You must provide at least one resource: --topic <topic> or --cluster or --group <group> or --delegation-token <Delegation Token ID>",
        ));
    }
    let mut acls = Acls::new();
    let of = |name: &str| named(OPERATIONS, name).unwrap_or(ANY);
    let mut grant = |kind: i8, operations: &[&str]| -> Result<(), Failure> {
        let operations: Vec<i8> = operations.iter().map(|name| of(name)).collect();
        for resource in resources.iter().filter(|r| r.kind == kind) {
            acls.entry(resource.clone()).or_default().extend(entries(given, &operations)?);
        }
        Ok(())
    };
    if given.has("producer") {
        grant(2, &["WRITE", "DESCRIBE", "CREATE"])?;
        grant(5, &["WRITE", "DESCRIBE"])?;
        if given.has("idempotent") {
            grant(4, &["IDEMPOTENT_WRITE"])?;
        }
    }
    if given.has("consumer") {
        grant(2, &["READ", "DESCRIBE"])?;
        grant(3, &["READ"])?;
    }
    if given.count(&["producer", "consumer"]) == 0 {
        let names = given.values("operation");
        let mut operations = Vec::new();
        for text in if names.is_empty() { vec!["All"] } else { names } {
            operations.push(
                named(OPERATIONS, text)
                    .ok_or_else(|| given.syntax.wrong(format!("Operation {text} is not a valid operation")))?,
            );
        }
        for resource in &resources {
            acls.insert(resource.clone(), entries(given, &operations)?);
        }
    }
    for (resource, entries) in &acls {
        let supported = SUPPORTED.iter().find(|(kind, _)| *kind == resource.kind).map_or(&[][..], |(_, ops)| ops);
        if entries.iter().any(|e| e.operation != 2 && !supported.contains(&e.operation)) {
            let names: Vec<&str> = supported.iter().chain(&[2]).map(|op| name(OPERATIONS, *op)).collect();
            return Err(given.syntax.wrong(format!(
                "ResourceType {} only supports operations [{}]",
                name(RESOURCES, resource.kind),
                names.join(", ")
            )));
        }
    }
    Ok(acls)
}

async fn describe(session: &Session, filter: Option<&Resource>) -> Result<Acls, Failure> {
    let request = m::DescribeAclsRequest {
        resource_type_filter: filter.map_or(ANY, |f| f.kind),
        resource_name_filter: filter.map(|f| f.name.as_str().into()),
        pattern_type_filter: filter.map_or(ANY, |f| f.pattern),
        operation: ANY,
        permission_type: ANY,
        ..Default::default()
    };
    let response = session.any(request).await?;
    check(response.error_code, response.error_message.as_deref()).map_err(|f| {
        let class = logrun_wire::ErrorCode::from_code(response.error_code).map(crate::errors::class);
        f.prefixed(&format!("{}: ", class.unwrap_or_default()), true)
    })?;
    let mut acls = Acls::new();
    for r in response.resources {
        let resource = Resource { kind: r.resource_type, name: r.resource_name.to_string(), pattern: r.pattern_type };
        acls.entry(resource).or_default().extend(r.acls.into_iter().map(|a| Entry {
            principal: a.principal.to_string(),
            host: a.host.to_string(),
            operation: a.operation,
            permission: a.permission_type,
        }));
    }
    Ok(acls)
}

async fn list(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let session = Session::of(given)?;
    let filters = resources(given)?;
    let mut acls = Acls::new();
    if filters.is_empty() {
        acls = describe(&session, None).await?;
    }
    for filter in &filters {
        for (resource, entries) in describe(&session, Some(filter)).await? {
            acls.entry(resource).or_default().extend(entries);
        }
    }
    let mut print = |acls: &Acls, principal: Option<&str>| {
        for (resource, entries) in acls {
            let lines = entries.iter().filter(|e| principal.is_none_or(|p| p == e.principal));
            let lines: Vec<String> = lines.map(|e| format!("\t{}", e.text())).collect();
            if !lines.is_empty() {
                let resource = resource_text(resource, false);
                writeln!(out, "Current ACLs for resource `{resource}`:\n{}\n", lines.join("\n"))?;
            }
        }
        Ok::<_, Failure>(())
    };
    let principals = given.values("principal");
    if principals.is_empty() {
        return print(&acls, None);
    }
    for principal in principals {
        println!("ACLs for principal `{principal}`");
        print(&acls, Some(principal.trim()))?;
    }
    Ok(())
}

async fn add(out: &mut Out, session: &Session, wanted: &Acls) -> Result<(), Failure> {
    for (resource, entries) in wanted {
        let existing = describe(session, Some(resource)).await?;
        let existing = existing.get(resource).cloned().unwrap_or_default();
        let text = resource_text(resource, false);
        for entry in entries.intersection(&existing) {
            writeln!(out, "Acl (pattern={text}, entry={}) already exists.", entry.text())?;
        }
        let new: Vec<&Entry> = entries.difference(&existing).collect();
        if new.is_empty() {
            continue;
        }
        let lines: Vec<String> = new.iter().map(|e| format!("\t{}", e.text())).collect();
        writeln!(out, "Adding ACLs for resource `{text}`: \n {}\n", lines.join("\n"))?;
        let creation = |e: &&Entry| m::create_acls_request::AclCreation {
            resource_type: resource.kind,
            resource_name: resource.name.as_str().into(),
            resource_pattern_type: resource.pattern,
            principal: e.principal.as_str().into(),
            host: e.host.as_str().into(),
            operation: e.operation,
            permission_type: e.permission,
            ..Default::default()
        };
        let request = m::CreateAclsRequest { creations: new.iter().map(creation).collect(), ..Default::default() };
        for result in session.controller(request).await?.results {
            check(result.error_code, result.error_message.as_deref())?;
        }
    }
    Ok(())
}

async fn remove(given: &Given<'_>, out: &mut Out, wanted: &Acls) -> Result<(), Failure> {
    let session = Session::of(given)?;
    for (resource, entries) in wanted {
        let text = resource_text(resource, true);
        let question = match entries.is_empty() {
            true => format!("Are you sure you want to delete all ACLs for resource filter `{text}`? (y/n)"),
            false => {
                let lines: Vec<String> = entries.iter().map(|e| format!("\t{}", e.text())).collect();
                format!(
                    "Are you sure you want to remove ACLs: \n {}\n from resource filter `{text}`? (y/n)",
                    lines.join("\n")
                )
            }
        };
        if !given.has("force") && !confirmed(out, &question)? {
            continue;
        }
        let filter = |entry: Option<&Entry>| m::delete_acls_request::DeleteAclsFilter {
            resource_type_filter: resource.kind,
            resource_name_filter: Some(resource.name.as_str().into()),
            pattern_type_filter: resource.pattern,
            principal_filter: entry.map(|e| e.principal.as_str().into()),
            host_filter: entry.map(|e| e.host.as_str().into()),
            operation: entry.map_or(ANY, |e| e.operation),
            permission_type: entry.map_or(ANY, |e| e.permission),
            ..Default::default()
        };
        let filters = match entries.is_empty() {
            true => vec![filter(None)],
            false => entries.iter().map(|e| filter(Some(e))).collect(),
        };
        let request = m::DeleteAclsRequest { filters, ..Default::default() };
        for result in session.controller(request).await?.filter_results {
            check(result.error_code, result.error_message.as_deref())?;
        }
    }
    Ok(())
}

fn confirmed(out: &mut Out, question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{question}\nThere is no terminal to answer from: say --force")));
    }
    writeln!(out, "{question}")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_form() {
        assert_eq!(named(OPERATIONS, "DescribeConfigs"), Some(10));
        assert_eq!(named(OPERATIONS, "idempotent_write"), Some(12));
        assert_eq!(named(PATTERNS, "prefixed"), Some(4));
        assert_eq!(named(OPERATIONS, "Fly"), None);
    }

    #[test]
    fn a_role_is_several_entries() {
        let args = "--bootstrap-server x --add --allow-principal User:a --producer --idempotent --topic t";
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let given = SYNTAX.parse(&args).expect("options");
        let acls = wanted(&given).expect("acls");
        let texts: Vec<String> = acls
            .iter()
            .flat_map(|(r, e)| e.iter().map(move |e| format!("{} {}", r.name, name(OPERATIONS, e.operation))))
            .collect();
        assert_eq!(texts, ["t WRITE", "t CREATE", "t DESCRIBE", "kafka-cluster IDEMPOTENT_WRITE"]);
    }
}
