//! `kafka-delegation-tokens`: makes, renews, ends and shows delegation tokens (KIP-48, Kafka's
//! `DelegationTokenCommand`).

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use bytes::Bytes;
use logrun_client::admin::{DelegationToken, Principal};
use logrun_client::security::{base64_decode, base64_encode};

use crate::datetime::Civil;
use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, failure};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-delegation-tokens", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-delegation-tokens",
    about: "Makes, renews, ends and shows delegation tokens",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::flag("create", "Make a token."),
        Opt::flag("renew", "Let a token be valid for longer."),
        Opt::flag("expire", "End a token."),
        Opt::flag("describe", "Show the tokens that may be seen, or those of some owners."),
        Opt::value("owner-principal", "TYPE:NAME", "Whose token. Can be given several times with --describe."),
        Opt::value("renewer-principal", "TYPE:NAME", "With --create: who may renew it besides. Can come again."),
        Opt::value("max-life-time-period", "MS", "With --create: when it ends for good; -1 for what the broker says."),
        Opt::value("renew-time-period", "MS", "With --renew: for how long; -1 for what the broker says."),
        Opt::value("expiry-time-period", "MS", "With --expire: how long it has still; -1 to end it now."),
        Opt::value("hmac", "BASE64", "Which token, with --renew and --expire."),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --command-config client.properties --create --renewer-principal User:alice",
        "--bootstrap-server localhost:9092 --command-config client.properties --describe",
    ],
};

const ACTIONS: [&str; 4] = ["create", "renew", "expire", "describe"];

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        given.one_action(&ACTIONS, "--create, --renew, --expire or --describe")?;
        given.require(&["bootstrap-server", "command-config"])?;
        check_options(given)?;
        block_on(act(given, out)).map_err(|f| match f.message() {
            "" => f,
            _ => f.prefixed("Error while executing delegation token command : ", false),
        })
    })
}

fn check_options(given: &Given<'_>) -> Result<(), Failure> {
    let needed: &[(&str, &str)] = &[
        ("create", "max-life-time-period"),
        ("renew", "hmac"),
        ("renew", "renew-time-period"),
        ("expire", "hmac"),
        ("expire", "expiry-time-period"),
    ];
    for (_, option) in needed.iter().filter(|(action, _)| given.has(action)) {
        given.require(&[option])?;
    }
    for (action, others) in [
        ("create", &["hmac", "renew-time-period", "expiry-time-period"][..]),
        ("renew", &["renewer-principal", "max-life-time-period", "expiry-time-period", "owner-principal"]),
        ("expire", &["renewer-principal", "max-life-time-period", "renew-time-period", "owner-principal"]),
        ("describe", &["renewer-principal", "max-life-time-period", "renew-time-period", "expiry-time-period", "hmac"]),
    ] {
        given.exclusive(action, others)?;
    }
    Ok(())
}

/// `User:alice`, of each of an option's values.
fn principals(given: &Given<'_>, option: &str) -> Result<Vec<Principal>, Failure> {
    let principal = |text: &str| match text.split_once(':') {
        Some((kind, name)) if !kind.is_empty() => Ok(Principal { kind: kind.into(), name: name.into() }),
        _ => Err(Failure::new(format!("expected a string in format principalType:principalName but got {text}"))),
    };
    given.values(option).into_iter().map(|text| principal(text.trim())).collect()
}

fn hmac(given: &Given<'_>) -> Result<Bytes, Failure> {
    let text = given.value("hmac")?.unwrap_or_default();
    base64_decode(text).map(Bytes::from).ok_or_else(|| Failure::new(format!("the HMAC {text} is not Base64")))
}

async fn act(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let session = Session::of(given)?;
    let admin = session.admin();
    if given.has("create") {
        let renewers = principals(given, "renewer-principal")?;
        let owner = principals(given, "owner-principal")?;
        let max: i64 = given.parsed("max-life-time-period")?.unwrap_or(-1);
        let listed = shown(&renewers);
        writeln!(out, "Calling create token operation with renewers :{listed} , max-life-time-period :{max}")?;
        out.flush()?;
        let max = (max >= 0).then_some(max);
        let token = admin.create_delegation_token(owner.first(), &renewers, max).await.map_err(|e| failure(&e))?;
        writeln!(out, "Created delegation token with tokenId : {}", token.token_id)?;
        return table(out, &[token]);
    }
    if given.has("describe") {
        let owners = principals(given, "owner-principal")?;
        match owners.is_empty() {
            true => writeln!(out, "Calling describe token operation for current user.")?,
            false => writeln!(out, "Calling describe token operation for owners: {}", shown(&owners))?,
        }
        out.flush()?;
        let asked = (!owners.is_empty()).then_some(owners.as_slice());
        let tokens = admin.describe_delegation_tokens(asked).await.map_err(|e| failure(&e))?;
        writeln!(out, "Total number of tokens : {}", tokens.len())?;
        return table(out, &tokens);
    }
    let hmac = hmac(given)?;
    let (operation, option) =
        if given.has("renew") { ("renew", "renew-time-period") } else { ("expire", "expiry-time-period") };
    let period: i64 = given.parsed(option)?.unwrap_or(-1);
    let called = if operation == "renew" { option } else { "expire-time-period" };
    let text = given.value("hmac")?.unwrap_or_default();
    writeln!(out, "Calling {operation} token operation with hmac :{text} , {called} :{period}")?;
    out.flush()?;
    let asked = (period >= 0).then_some(period);
    let expiry = match operation {
        "renew" => admin.renew_delegation_token(&hmac, asked).await,
        _ => admin.expire_delegation_token(&hmac, asked).await,
    };
    let date = Civil::of(expiry.map_err(|e| failure(&e))?).java(DATE);
    Ok(writeln!(out, "Completed {operation} operation. New expiry date : {date}")?)
}

const DATE: &str = "yyyy-MM-dd'T'HH:mm";

/// `[User:a, User:b]`.
fn shown(principals: &[Principal]) -> String {
    let list: Vec<String> = principals.iter().map(|p| format!("{}:{}", p.kind, p.name)).collect();
    format!("[{}]", list.join(", "))
}

fn table(out: &mut Out, tokens: &[DelegationToken]) -> Result<(), Failure> {
    let one = |p: &Principal| format!("{}:{}", p.kind, p.name);
    let date = |ms: i64| Civil::of(ms).java(DATE);
    let head = ["TOKENID", "HMAC", "OWNER", "REQUESTER", "RENEWERS", "ISSUEDATE", "EXPIRYDATE", "MAXDATE"];
    let rows = tokens.iter().map(|t| {
        [
            t.token_id.to_string(),
            base64_encode(&t.hmac),
            one(&t.owner),
            one(&t.requester),
            shown(&t.renewers),
            date(t.issue_timestamp_ms),
            date(t.expiry_timestamp_ms),
            date(t.max_timestamp_ms),
        ]
    });
    for [id, hmac, owner, requester, renewers, issued, expiry, max] in [head.map(str::to_owned)].into_iter().chain(rows)
    {
        writeln!(
            out,
            "\n{id:<15} {hmac:<30} {owner:<15} {requester:<15} {renewers:<25} {issued:<15} {expiry:<15} {max:<15}"
        )?;
    }
    Ok(())
}
