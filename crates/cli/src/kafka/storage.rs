//! `kafka-storage`: Kafka's `StorageTool`, with its output and exit codes. The formatting itself is the node's.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use logrun_config::{BrokerConfig, is_wildcard, properties};
use logrun_io::Io;
use logrun_io::disk::read_all;
use logrun_metadata::MetadataVersion;
use logrun_metadata::features::{FEATURES, Feature, KRAFT_VERSION, METADATA_VERSION};
use logrun_metadata::records::{FeatureLevelRecord, MetadataRecord, UserScramCredentialRecord};
use logrun_model::{DirectoryId, NodeId, Str};
use logrun_node::{FormatPlan, format};
use logrun_raft::{Voter, VoterEndpoint};

use super::storage_args::{Asked, Stop, parse};
use super::storage_scram;
use crate::args::SourceArgs;
use crate::source::{absolute, gather, process_environment};

/// The features in the order in which `version-mapping` lists them.
const LISTED: [&str; 6] = [
    KRAFT_VERSION,
    "transaction.version",
    "group.version",
    "eligible.leader.replicas.version",
    "share.version",
    "streams.version",
];

/// Runs the tool.
pub fn run(words: &[OsString]) -> ExitCode {
    let asked = match parse(words) {
        Ok(asked) => asked,
        Err(Stop::Help(text)) => {
            return crate::print(&text).unwrap_or_else(|e| e.report());
        }
        Err(Stop::Wrong(text)) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    let done = match asked.command.as_str() {
        "info" => info(&asked),
        "format" => format_dirs(&asked),
        "version-mapping" => version_mapping(&asked),
        "feature-dependencies" => feature_dependencies(&asked),
        _ => Ok((format!("{}\n", Io::real().random.uuid()), ExitCode::SUCCESS)),
    };
    match done {
        Ok((text, code)) => crate::print(&text).map_or_else(|e| e.report(), |_| code),
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(String, ExitCode), String>;

fn config(asked: &Asked) -> Result<BrokerConfig, String> {
    let source = SourceArgs { config: asked.config.as_ref().map(PathBuf::from), ..SourceArgs::default() };
    let loader = gather(&source, &process_environment()).map_err(|e| e.sentence)?;
    Ok(loader.finish().map_err(|e| e.to_string())?.config)
}

fn directories(config: &BrokerConfig) -> BTreeSet<PathBuf> {
    config.log_dirs.iter().chain([&config.metadata_log_dir]).map(|dir| absolute(dir)).collect()
}

fn info(asked: &Asked) -> Done {
    let config = config(asked)?;
    let disk = Io::real().disk;
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let mut first: Option<BTreeMap<String, String>> = None;
    for dir in directories(&config) {
        match disk.info(&dir).map_err(|e| format!("{}: {e}", dir.display()))? {
            None => problems.push(format!("{} does not exist", dir.display())),
            Some(info) if !info.is_dir => problems.push(format!("{} is not a directory", dir.display())),
            Some(_) => {
                found.push(dir.clone());
                let path = dir.join("meta.properties");
                let Some(bytes) = read_all(&*disk, &path).map_err(|e| format!("{}: {e}", path.display()))? else {
                    problems.push(format!("{} is not formatted.", dir.display()));
                    continue;
                };
                let pairs = properties::parse(&String::from_utf8_lossy(&bytes));
                let pairs = pairs.map_err(|e| format!("Error loading {}: {e}", path.display()))?;
                let meta: BTreeMap<_, _> = pairs.into_iter().map(|p| (p.key, p.value)).collect();
                match &first {
                    None => first = Some(meta),
                    Some(first) if first.get("cluster.id") != meta.get("cluster.id") => {
                        problems.push("Mismatched cluster IDs between storage directories.".to_owned());
                    }
                    Some(first) if first.get("node.id") != meta.get("node.id") => {
                        problems.push("Mismatched node IDs between storage directories.".to_owned());
                    }
                    Some(_) => {}
                }
            }
        }
    }
    let mut text = String::new();
    let mut list = |one: &str, several: &str, lines: &[String]| {
        if !lines.is_empty() {
            let _ = writeln!(text, "{}", if lines.len() == 1 { one } else { several });
            lines.iter().for_each(|line| {
                let _ = writeln!(text, "  {line}");
            });
            text.push('\n');
        }
    };
    let found: Vec<String> = found.iter().map(|dir| dir.display().to_string()).collect();
    list("Found log directory:", "Found log directories:", &found);
    if let Some(meta) = first {
        let pairs: Vec<String> = meta.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let _ = write!(text, "Found metadata: {{{}}}\n\n", pairs.join(", "));
    }
    let mut text_of_problems = String::new();
    if !problems.is_empty() {
        let _ =
            writeln!(text_of_problems, "{}", if problems.len() == 1 { "Found problem:" } else { "Found problems:" });
        for problem in &problems {
            let _ = writeln!(text_of_problems, "  {problem}");
        }
        text_of_problems.push('\n');
    }
    let code = if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((text + &text_of_problems, code))
}

fn release(name: &str) -> Result<MetadataVersion, String> {
    MetadataVersion::from_name(name).ok_or_else(|| {
        let known = (MetadataVersion::MIN.0..=MetadataVersion::LATEST.0).filter_map(|v| MetadataVersion(v).name());
        let known: Vec<&str> = known.collect();
        format!("Unknown metadata.version '{name}'. Supported metadata.version are: {}", known.join(", "))
    })
}

fn version_mapping(asked: &Asked) -> Done {
    let version = asked.release_version.as_deref().map_or(Ok(MetadataVersion::LATEST), release)?;
    let name = asked.release_version.as_deref().or(version.name()).unwrap_or_default();
    let mut text = format!("{METADATA_VERSION}={} ({name})\n", version.0);
    for feature in LISTED.iter().filter_map(|name| Feature::by_name(name)) {
        let _ = writeln!(text, "{}={}", feature.name, feature.level_of_release(version));
    }
    Ok((text, ExitCode::SUCCESS))
}

/// `name=level`
fn level(text: &str) -> Result<(&str, i16), String> {
    let invalid =
        || format!("Invalid feature format: {text}. Expected format: 'feature=version' (e.g. 'group.version=1')");
    let (name, level) = text.split_once('=').ok_or_else(invalid)?;
    Ok((name.trim(), level.trim().parse().map_err(|_| invalid())?))
}

fn feature_dependencies(asked: &Asked) -> Done {
    let mut text = String::new();
    for pair in &asked.features {
        let (name, level) = level(pair)?;
        let feature = Feature::by_name(name).ok_or_else(|| format!("Unknown feature: {name}"))?;
        if name == METADATA_VERSION {
            let version = MetadataVersion(level);
            let named = version.name().ok_or_else(|| format!("Unknown metadata.version {level}"))?;
            let _ = writeln!(text, "{name}={level} ({named}) has no dependencies.");
        } else if !feature.contains(level) {
            return Err(format!("Feature level {level} is not supported for feature {name}"));
        } else if let Some(needed) = feature.needs(level) {
            let named = needed.name().unwrap_or_default();
            let _ = writeln!(text, "{name}={level} requires:\n    {METADATA_VERSION}={} ({named})", needed.0);
        } else {
            let _ = writeln!(text, "{name}={level} has no dependencies.");
        }
    }
    Ok((text, ExitCode::SUCCESS))
}

/// The release and the features' levels that were asked for, with Kafka's refusals.
fn levels(asked: &Asked, dynamic: bool) -> Result<(MetadataVersion, BTreeMap<&'static str, i16>), String> {
    let mut wanted = BTreeMap::new();
    for pair in &asked.features {
        let (name, level) = level(pair)?;
        let known = Feature::by_name(name).ok_or_else(|| {
            let mut names: Vec<&str> = FEATURES.iter().map(|f| f.name).filter(|n| *n != METADATA_VERSION).collect();
            names.sort_unstable();
            format!("Unsupported feature: {name}. Supported features are: {}", names.join(", "))
        })?;
        if !known.contains(level) {
            return Err(format!("No feature:{name} with feature level {level}"));
        }
        wanted.insert(known.name, level);
    }
    let version = match (wanted.get(METADATA_VERSION), &asked.release_version) {
        (Some(_), Some(_)) => {
            return Err("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.".to_owned());
        }
        (Some(level), None) => MetadataVersion(*level),
        (None, Some(name)) => release(name)?,
        (None, None) => MetadataVersion::LATEST,
    };
    match wanted.get(KRAFT_VERSION) {
        Some(0) if dynamic => Err(
            "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags --standalone, \
             --initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try removing \
             the --feature flag for kraft.version."
                .to_owned(),
        ),
        Some(level @ 1..) if !dynamic => Err(format!(
            "Cannot set kraft.version to {level} unless controller.quorum.voters is empty and one of the flags \
             --standalone, --initial-controllers, or --no-initial-controllers is used. For dynamic controllers \
             support, try using one of --standalone, --initial-controllers, or --no-initial-controllers and removing \
             controller.quorum.voters."
        )),
        _ => Ok(()),
    }?;
    for (name, level) in &wanted {
        let needed = Feature::by_name(name).and_then(|feature| feature.needs(*level));
        if let Some(needed) = needed.filter(|needed| *needed > version) {
            return Err(format!(
                "{name} could not be set to {level} because it depends on {METADATA_VERSION} level {}",
                needed.0
            ));
        }
    }
    for feature in FEATURES {
        wanted.entry(feature.name).or_insert_with(|| feature.level_at_format(version));
    }
    wanted.insert(METADATA_VERSION, version.0);
    Ok((version, wanted))
}

/// The records that the metadata begin with: `metadata.version` first, then the others by name, those of level 0 not.
fn records(levels: &BTreeMap<&'static str, i16>) -> Vec<FeatureLevelRecord> {
    let record = |(name, level): (&&'static str, &i16)| FeatureLevelRecord {
        name: Str::from_static(name),
        feature_level: *level,
        ..Default::default()
    };
    let others = levels.iter().filter(|(name, level)| **level > 0 && ![METADATA_VERSION, KRAFT_VERSION].contains(name));
    levels.get_key_value(METADATA_VERSION).into_iter().chain(others).map(record).collect()
}

fn voters(asked: &Asked, config: &BrokerConfig) -> Result<Vec<Voter>, String> {
    let controller = config.listeners.controller.first();
    let name = controller
        .map(|l| l.name.as_str().to_owned())
        .or_else(|| config.listeners.controller_names.first().map(|name| name.as_str().to_owned()));
    let name = Str::from(name.ok_or("No controller listeners found.")?);
    let voter = |id, host: &str, port, directory_id| Voter {
        id,
        directory_id,
        endpoints: vec![VoterEndpoint { name: name.clone(), host: host.into(), port }],
    };
    if asked.standalone {
        if !config.roles.controller {
            return Err("You can only use --standalone on a controller.".to_owned());
        }
        let listener = controller.ok_or("No controller listeners found.")?;
        let host = if is_wildcard(&listener.host) { "localhost" } else { listener.host.as_str() };
        return Ok(vec![voter(config.node_id, host, listener.port, Io::real().random.uuid())]);
    }
    let Some(list) = &asked.initial_controllers else { return Ok(Vec::new()) };
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    let parse = |part: &str| {
        let (id, rest) = part.split_once('@')?;
        let (address, directory) = rest.rsplit_once(':')?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let id = id.parse::<i32>().ok().filter(|id| *id >= 0)?;
        Some(voter(NodeId(id), host, port.parse().ok()?, directory.parse::<DirectoryId>().ok()?))
    };
    parts
        .map(|part| parse(part).ok_or_else(|| format!("{part} is no voter: write id@host:port:directory-id")))
        .collect()
}

fn format_dirs(asked: &Asked) -> Done {
    let config = config(asked)?;
    let is_static = config.settings.text("controller.quorum.voters").is_some_and(|text| !text.trim().is_empty());
    let is_told = asked.standalone || asked.initial_controllers.is_some();
    if is_static && is_told {
        return Err("You cannot specify controller.quorum.voters and format the node with --initial-controllers or \
                    --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and specify \
                    controller.quorum.bootstrap.servers instead."
            .to_owned());
    }
    if !is_static && config.roles.controller && !is_told && !asked.no_initial_controllers {
        return Err("Because controller.quorum.voters is not set on this controller, you must specify one of the \
                    following: --standalone, --initial-controllers, or --no-initial-controllers."
            .to_owned());
    }
    let random = Io::real().random;
    let credentials: Vec<UserScramCredentialRecord> =
        asked.add_scram.iter().map(|text| storage_scram::record(text, &random)).collect::<Result<_, _>>()?;
    let voters = voters(asked, &config)?;
    let (metadata_version, levels) = levels(asked, !is_static && (is_told || asked.no_initial_controllers))?;
    let features = records(&levels);
    let metadata_log_dir = absolute(&config.metadata_log_dir);
    let is_metadata = |dir: &PathBuf| *dir == metadata_log_dir;
    let (metadata, mut dirs): (Vec<_>, Vec<_>) = directories(&config).into_iter().partition(is_metadata);
    dirs.extend(metadata);
    let plan = FormatPlan {
        node_id: config.node_id,
        cluster_id: Str::from(asked.cluster_id.as_deref().unwrap_or_default()),
        directories: dirs,
        metadata_log_dir: metadata_log_dir.clone(),
        metadata_version,
        records: features
            .iter()
            .cloned()
            .map(MetadataRecord::from)
            .chain(credentials.iter().cloned().map(MetadataRecord::from))
            .collect(),
        voters,
        ignore_formatted: asked.ignore_formatted,
    };
    let mut text = String::new();
    format(&Io::real(), &plan, |formatted| {
        if text.is_empty() {
            text.push_str(&bootstrap_line(&features, &credentials, metadata_version));
        }
        let (description, path) = (formatted.description, formatted.path.display());
        let name = metadata_version.name().unwrap_or_default();
        let _ = writeln!(text, "Formatting {description} {path} with {METADATA_VERSION} {name}.");
    })
    .map_err(|e| e.to_string())?;
    if text.is_empty() {
        text.push_str("All of the log directories are already formatted.\n");
    }
    Ok((text, ExitCode::SUCCESS))
}

/// The line in which Kafka's tool shows the records.
fn bootstrap_line(
    features: &[FeatureLevelRecord],
    credentials: &[UserScramCredentialRecord],
    version: MetadataVersion,
) -> String {
    let feature = |f: &FeatureLevelRecord| {
        format!(
            "ApiMessageAndVersion(FeatureLevelRecord(name='{}', featureLevel={}) at version 0)",
            f.name, f.feature_level
        )
    };
    let records: Vec<String> =
        features.iter().map(feature).chain(credentials.iter().map(storage_scram::shown)).collect();
    format!(
        "Bootstrap metadata: BootstrapMetadata(records=[{}], metadataVersionLevel={}, source=format command)\n",
        records.join(", "),
        version.0
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn temp(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("logrun-storage-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    fn asked(dir: &Path, line: &str) -> Asked {
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:1092,CONTROLLER://127.0.0.1:1093\n\
             controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=127.0.0.1:1093\n\
             log.dirs={0}/d1,{0}/d2\n",
            dir.display()
        );
        std::fs::write(dir.join("a.properties"), properties).expect("written");
        let line = line.replace("a.properties", &dir.join("a.properties").display().to_string());
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>()).expect("words")
    }

    fn format_with(dir: &Path, line: &str) -> Result<String, String> {
        let text = format_dirs(&asked(dir, line)).map(|(text, _)| text);
        text.map(|t| t.replace(&dir.display().to_string(), "D")).map_err(|t| t.replace(&dir.display().to_string(), "D"))
    }

    #[test]
    fn lookups_print_what_kafka_prints() {
        let dir = temp("lookups");
        let mapping = |line: &str| version_mapping(&asked(&dir, line)).map(|(text, _)| text);
        assert_eq!(
            mapping("version-mapping").expect("known"),
            "metadata.version=30 (4.3-IV0)\nkraft.version=1\ntransaction.version=2\ngroup.version=1\n\
             eligible.leader.replicas.version=1\nshare.version=1\nstreams.version=1\n"
        );
        assert!(mapping("version-mapping -r 3.9").expect("known").starts_with("metadata.version=21 (3.9)\n"));
        assert!(mapping("version-mapping -r 9.9").expect_err("unknown").starts_with("Unknown metadata.version '9.9'"));
        let needs = |line: &str| feature_dependencies(&asked(&dir, line)).map(|(text, _)| text);
        assert_eq!(
            needs("feature-dependencies -f eligible.leader.replicas.version=1 -f metadata.version=21").expect("known"),
            "eligible.leader.replicas.version=1 requires:\n    metadata.version=23 (4.0-IV1)\n\
             metadata.version=21 (3.9-IV0) has no dependencies.\n"
        );
        for (pair, answer) in [
            ("nope=1", "Unknown feature: nope"),
            ("group.version=9", "Feature level 9 is not supported for feature group.version"),
            ("metadata.version=99", "Unknown metadata.version 99"),
        ] {
            assert_eq!(needs(&format!("feature-dependencies -f {pair}")).expect_err(pair), answer);
        }
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn formatting() {
        let dir = temp("format");
        let said = |line: &str| format_with(&dir, line).unwrap_or_else(|e| e);
        let lines = [
            "format -t 4L6g3nShT-eMCtK--X86sw -c a.properties",
            "format -t 4L6g3nShT-eMCtK--X86sw -c a.properties -s -f nope=1",
            "format -t 4L6g3nShT-eMCtK--X86sw -c a.properties -s -f kraft.version=0",
            "format -t 4L6g3nShT-eMCtK--X86sw -c a.properties -I 1@localhost:1093",
            "format -t 4L6g3nShT-eMCtK--X86sw -c a.properties -s -r 4.0",
            "format -t 4L6g3nShT-eMCtK--X86sw -c a.properties -s",
            "format -t 4L6g3nShT-eMCtK--X86sw -c a.properties -s -g",
            "format -t other -c a.properties -s -g",
        ];
        let text: String = lines.iter().map(|line| format!("$ {line}\n{}\n", said(line).trim_end())).collect();
        insta::assert_snapshot!("kafka_storage_format", text);
        let (text, code) = info(&asked(&dir, "info -c a.properties")).expect("looked");
        assert!(text.contains("Found metadata: {cluster.id=4L6g3nShT-eMCtK--X86sw, directory.id="), "{text}");
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
        assert!(dir.join("d1/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint").exists());
        let records = logrun_raft::read_bootstrap(&*Io::real().disk, &dir.join("d1")).expect("read").expect("there");
        assert!(matches!(&records[0], MetadataRecord::FeatureLevel(f) if f.feature_level == 25), "{records:?}");
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
