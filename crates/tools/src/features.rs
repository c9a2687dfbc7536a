//! `kafka-features`: the cluster's feature levels (Kafka's `FeatureCommand`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::Target;
use logrun_metadata::features::{Feature, METADATA_VERSION, MetadataVersion};
use logrun_wire::messages as m;

use crate::errors;
use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax};
use crate::session::{Session, block_on, failure};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-features", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-features",
    about: "Shows the feature levels of a cluster, and raises or lowers them",
    words: "describe|upgrade|downgrade|disable|version-mapping|feature-dependencies",
    options: &[
        HELP.short("h"),
        BOOTSTRAP_SERVER,
        Opt::value("bootstrap-controller", "HOST:PORT,…", "The controllers to begin with, instead of brokers."),
        COMMAND_CONFIG,
        Opt::value("node-id", "ID", "With describe: the node to be asked, instead of any."),
        Opt::value("release-version", "VERSION", "The release whose levels are meant, e.g. 4.3-IV0."),
        Opt::value("metadata", "VERSION", "The metadata.version, e.g. 4.3-IV0. --release-version does more."),
        Opt::value(
            "feature",
            "NAME=LEVEL",
            "A feature and its level; with disable, a name alone. Can be given several times.",
        ),
        Opt::flag("unsafe", "Lower it even if metadata may be lost."),
        Opt::flag("dry-run", "Say whether it could be done, and don't."),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 describe",
        "--bootstrap-server localhost:9092 upgrade --release-version 4.3-IV0",
    ],
};

const COMMANDS: [&str; 6] = ["describe", "upgrade", "downgrade", "disable", "version-mapping", "feature-dependencies"];

/// All features, in the order in which Kafka's tool prints their mapping.
const FEATURES: [&str; 7] = [
    METADATA_VERSION,
    "kraft.version",
    "transaction.version",
    "group.version",
    "eligible.leader.replicas.version",
    "share.version",
    "streams.version",
];

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| match given.command(&COMMANDS)? {
        "version-mapping" => mapping(given, out),
        "feature-dependencies" => dependencies(given, out),
        "describe" => block_on(describe(given, out)),
        command => block_on(update(given, out, command)),
    })
}

fn release(text: &str) -> Result<MetadataVersion, Failure> {
    MetadataVersion::from_name(text).ok_or_else(|| {
        let all = (MetadataVersion::MIN.0..=MetadataVersion::LATEST.0).filter_map(|v| MetadataVersion(v).name());
        let all: Vec<&str> = all.collect();
        Failure::new(format!("Unknown metadata.version '{text}'. Supported metadata.version are: {}", all.join(", ")))
    })
}

/// The level of each feature in a release.
fn levels(version: MetadataVersion) -> Vec<(&'static str, i16)> {
    let level = |name: &&'static str| Some((*name, Feature::by_name(name)?.level_of_release(version)));
    FEATURES.iter().filter_map(level).collect()
}

fn mapping(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let text = given.value("release-version")?;
    let version = text.map_or(Ok(MetadataVersion::LATEST), release)?;
    for (name, level) in levels(version) {
        match name {
            METADATA_VERSION => writeln!(out, "{name}={level} ({})", text.or(version.name()).unwrap_or_default())?,
            _ => writeln!(out, "{name}={level}")?,
        }
    }
    Ok(())
}

/// `name=level`.
fn pair(text: &str) -> Result<(&str, i16), Failure> {
    let (name, level) = text
        .split_once('=')
        .ok_or_else(|| Failure::new(format!("Can't parse feature=level string {text}: equals sign not found.")))?;
    let (name, level) = (name.trim(), level.trim());
    let level = level.parse().map_err(|_| {
        Failure::new(format!("Can't parse feature=level string {text}: unable to parse {level} as a short."))
    })?;
    Ok((name, level))
}

fn dependencies(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    for text in given.values("feature") {
        let (name, level) = pair(text)?;
        let feature = Feature::by_name(name).ok_or_else(|| Failure::new(format!("Unknown feature: {name}")))?;
        if !feature.contains(level) {
            return Err(Failure::new(format!("Feature {name} has no level {level}")));
        }
        match feature.needs(level) {
            None if name == METADATA_VERSION => {
                writeln!(
                    out,
                    "{name}={level} ({}) has no dependencies.",
                    MetadataVersion(level).name().unwrap_or_default()
                )?;
            }
            None => writeln!(out, "{name}={level} has no dependencies.")?,
            Some(version) => {
                writeln!(out, "{name}={level} requires:")?;
                writeln!(out, "    {METADATA_VERSION}={} ({})", version.0, version.name().unwrap_or_default())?;
            }
        }
    }
    Ok(())
}

fn level_text(feature: &str, level: i16) -> String {
    match MetadataVersion(level).name() {
        _ if feature != METADATA_VERSION => level.to_string(),
        Some(name) => name.to_owned(),
        None => format!("UNKNOWN [{level}]"),
    }
}

async fn describe(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let session = Session::of(given)?;
    let request = m::ApiVersionsRequest {
        client_software_name: "logrun".into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
        ..Default::default()
    };
    // From version 4 a range that begins at 0 is told as it is.
    let response = match given.parsed("node-id")? {
        Some(id) => session.node(id, request).await?,
        None => session.any(request).await?,
    };
    let finalized: BTreeMap<&str, i16> =
        response.finalized_features.iter().map(|f| (&*f.name, f.max_version_level)).collect();
    let epoch = match response.finalized_features_epoch {
        ..0 => "-".to_owned(),
        epoch => epoch.to_string(),
    };
    let mut supported: Vec<_> = response.supported_features.iter().collect();
    supported.sort_by(|a, b| a.name.cmp(&b.name));
    for f in supported {
        let level = finalized.get(&*f.name).copied().unwrap_or(0);
        writeln!(
            out,
            "Feature: {:<42}SupportedMinVersion: {:<17}SupportedMaxVersion: {:<17}FinalizedVersionLevel: {:<17}Epoch: {epoch}",
            f.name,
            level_text(&f.name, f.min_version),
            level_text(&f.name, f.max_version),
            level_text(&f.name, level),
        )?;
    }
    Ok(())
}

/// The levels that the command line asks for.
fn wanted(given: &Given<'_>, command: &str) -> Result<BTreeMap<String, i16>, Failure> {
    let mut updates = BTreeMap::new();
    let features = given.values("feature");
    let twice = |name: &str| Failure::new(format!("Feature {name} was specified more than once."));
    if let Some(text) = given.value("release-version")? {
        if !features.is_empty() {
            return Err(Failure::new("Can not specify `release-version` with other feature flags."));
        }
        updates.extend(levels(release(text)?).into_iter().map(|(name, level)| (name.to_owned(), level)));
    }
    if let Some(text) = given.value("metadata")? {
        writeln!(std::io::stderr(), "The --metadata option is deprecated. Consider using --release-version instead.")?;
        updates.insert(METADATA_VERSION.to_owned(), release(text)?.0);
    }
    for text in features {
        let (name, level) = if command == "disable" { (text, 0) } else { pair(text)? };
        if updates.insert(name.to_owned(), level).is_some() {
            return Err(twice(name));
        }
    }
    match updates.is_empty() {
        true => Err(Failure::new(format!("You must specify at least one feature to {command}"))),
        false => Ok(updates),
    }
}

async fn update(given: &Given<'_>, out: &mut Out, command: &str) -> Result<(), Failure> {
    let updates = wanted(given, command)?;
    let dry_run = given.has("dry-run");
    // 1: upgrade, 2: a downgrade that loses nothing, 3: any downgrade.
    let upgrade_type = match (command, given.has("unsafe")) {
        ("upgrade", _) => 1,
        (_, false) => 2,
        (_, true) => 3,
    };
    let session = Session::of(given)?;
    let update = |(name, level): (&String, &i16)| m::update_features_request::FeatureUpdateKey {
        feature: name.into(),
        max_version_level: *level,
        allow_downgrade: upgrade_type != 1,
        upgrade_type,
        ..Default::default()
    };
    let request = m::UpdateFeaturesRequest {
        timeout_ms: 60_000,
        feature_updates: updates.iter().map(update).collect(),
        validate_only: dry_run,
        ..Default::default()
    };
    let response = session.call(Target::Controller, request).await.map_err(|e| failure(&e))?;
    let all =
        (response.error_code != 0).then(|| errors::message(response.error_code, response.error_message.as_deref()));
    let mut failed = BTreeSet::new();
    for (name, level) in &updates {
        let own = response.results.iter().find(|r| *r.feature == **name).filter(|r| r.error_code != 0);
        let own = own.map(|r| errors::message(r.error_code, r.error_message.as_deref()));
        match all.clone().or(own) {
            Some(why) => {
                let helper = if dry_run { "Can not" } else { "Could not" };
                match command {
                    "disable" => writeln!(out, "{helper} disable {name}. {why}")?,
                    _ => writeln!(out, "{helper} {command} {name} to {level}. {why}")?,
                }
                failed.insert(name);
            }
            None => {
                let verb = if dry_run { "can be" } else { "was" };
                match command {
                    "disable" => writeln!(out, "{name} {verb} disabled.")?,
                    _ => writeln!(out, "{name} {verb} {command}d to {level}.")?,
                }
            }
        }
    }
    match failed.len() {
        0 => Ok(()),
        n => Err(Failure::new(format!("{n} out of {} operation(s) failed.", updates.len()))),
    }
}
