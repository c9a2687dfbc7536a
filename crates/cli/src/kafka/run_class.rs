//! `kafka-run-class [-daemon] [-name NAME] [-loggc] CLASS [words]`: Kafka's tools by the names of their classes, as old
//! scripts and compose files call them.
//!
//! A class is known by its own name: packages have changed between Kafka's releases (`kafka.tools.GetOffsetShell`,
//! `org.apache.kafka.tools.GetOffsetShell`). It never runs Java, so that a class of somebody else's is refused.

use std::ffi::OsString;
use std::process::ExitCode;

use logrun_config::suggest;
use logrun_ctl::Failure;
use logrun_tools::Tool;

use crate::registry::find;

/// Classes, by the last part of their names, and the tools that they are.
const CLASSES: &[(&str, &str)] = &[
    ("AclCommand", "kafka-acls"),
    ("BrokerApiVersionsCommand", "kafka-broker-api-versions"),
    ("ClientMetricsCommand", "kafka-client-metrics"),
    ("ClusterTool", "kafka-cluster"),
    ("ConfigCommand", "kafka-configs"),
    ("ConsoleConsumer", "kafka-console-consumer"),
    ("ConsoleProducer", "kafka-console-producer"),
    ("ConsoleShareConsumer", "kafka-console-share-consumer"),
    ("ConsumerGroupCommand", "kafka-consumer-groups"),
    ("ConsumerPerformance", "kafka-consumer-perf-test"),
    ("DelegationTokenCommand", "kafka-delegation-tokens"),
    ("DeleteRecordsCommand", "kafka-delete-records"),
    ("DumpLogSegments", "kafka-dump-log"),
    ("EndToEndLatency", "kafka-e2e-latency"),
    ("FeatureCommand", "kafka-features"),
    ("GetOffsetShell", "kafka-get-offsets"),
    ("GroupsCommand", "kafka-groups"),
    ("Kafka", "kafka-server-start"),
    ("LeaderElectionCommand", "kafka-leader-election"),
    ("LogDirsCommand", "kafka-log-dirs"),
    ("MetadataQuorumCommand", "kafka-metadata-quorum"),
    ("ProducerPerformance", "kafka-producer-perf-test"),
    ("ReassignPartitionsCommand", "kafka-reassign-partitions"),
    ("ShareGroupCommand", "kafka-share-groups"),
    ("StorageTool", "kafka-storage"),
    ("StreamsGroupCommand", "kafka-streams-groups"),
    ("TopicCommand", "kafka-topics"),
    ("TransactionsCommand", "kafka-transactions"),
    ("VerifiableConsumer", "kafka-verifiable-consumer"),
    ("VerifiableProducer", "kafka-verifiable-producer"),
];

const USAGE: &str = "\
USAGE: kafka-run-class [-daemon] [-name NAME] [-loggc] CLASS [options of its tool]

Runs the tool of Kafka's that has the class, in whatever package: TopicCommand is kafka-topics. -name and -loggc are for
the Java machine, which there is none of; -daemon is kafka-server-start's.

Examples:
  kafka-run-class kafka.tools.GetOffsetShell --bootstrap-server localhost:9092 --topic orders
  kafka-run-class org.apache.kafka.tools.TopicCommand --help
  kafka-run-class kafka.Kafka config/server.properties";

/// Runs the tool.
pub fn run(words: &[OsString]) -> ExitCode {
    match parse(words) {
        Ok(Ask::Usage) => {
            eprintln!("{USAGE}");
            ExitCode::FAILURE
        }
        Ok(Ask::Help) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(Ask::Run(tool, words)) => (tool.run)(&words),
        Err(failure) => failure.report(),
    }
}

/// What the words ask for.
enum Ask {
    /// There is no class: Kafka's script fails.
    Usage,
    Help,
    Run(&'static Tool, Vec<OsString>),
}

/// The script's own options come before the class.
fn parse(words: &[OsString]) -> Result<Ask, Failure> {
    let mut rest = words.iter();
    let mut is_daemon = false;
    let class = loop {
        let Some(word) = rest.next() else { return Ok(Ask::Usage) };
        let word = word.to_string_lossy();
        match word.as_ref() {
            "-daemon" => is_daemon = true,
            "-loggc" => {}
            "-name" => _ = rest.next(),
            "--help" | "-help" => return Ok(Ask::Help),
            option if option.starts_with('-') => {
                return Err(Failure::usage(format!("{option} is no option of kafka-run-class\n{USAGE}")));
            }
            _ => break word,
        }
    };
    let tool = of_class(&class)?;
    let mut given: Vec<OsString> = rest.cloned().collect();
    if is_daemon {
        if tool.name != "kafka-server-start" {
            return Err(Failure::usage(format!("-daemon is of kafka.Kafka: {} ends by itself", tool.name)));
        }
        given.insert(0, "-daemon".into());
    }
    Ok(Ask::Run(tool, given))
}

fn of_class(class: &str) -> Result<&'static Tool, Failure> {
    let (package, name) = class.rsplit_once('.').unwrap_or(("kafka", class));
    let is_kafkas = ["kafka", "org.apache.kafka"]
        .iter()
        .any(|ours| package.strip_prefix(ours).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
    let found = CLASSES.iter().find(|(known, _)| is_kafkas && *known == name);
    if let Some(tool) = found.and_then(|(_, tool)| find(tool.as_ref())) {
        return Ok(tool);
    }
    let near = suggest::nearest(name, CLASSES.iter().map(|(known, _)| *known)).filter(|_| is_kafkas);
    let hint = near.map_or_else(
        || "there is no Java here; `logrun install-tools --list` shows the tools that there are".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    Err(Failure::new(format!("there is no class {class}: {hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<(&'static str, String), String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        match parse(&words).map_err(|failure| failure.sentence)? {
            Ask::Run(tool, words) => Ok((tool.name, words.join(" ".as_ref()).to_string_lossy().into_owned())),
            Ask::Usage => Err("usage".to_owned()),
            Ask::Help => Err("help".to_owned()),
        }
    }

    #[test]
    fn every_class_leads_to_a_tool() {
        assert!(CLASSES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (class, tool) in CLASSES {
            for package in ["kafka.tools.", "org.apache.kafka.tools.consumer.", ""] {
                let (name, words) = asked(&format!("{package}{class} --a b")).expect("a tool");
                assert_eq!((name, words.as_str()), (*tool, "--a b"));
            }
        }
    }

    #[test]
    fn the_scripts_own_options() {
        assert_eq!(asked("-name x -loggc kafka.tools.StorageTool -name"), Ok(("kafka-storage", "-name".to_owned())));
        assert_eq!(
            asked("-daemon kafka.Kafka a.properties"),
            Ok(("kafka-server-start", "-daemon a.properties".to_owned()))
        );
        assert!(asked("-daemon kafka.tools.StorageTool").is_err_and(|e| e.contains("ends by itself")));
        assert_eq!(asked(""), Err("usage".to_owned()));
        assert_eq!(asked("-name"), Err("usage".to_owned()));
        assert_eq!(asked("--help"), Err("help".to_owned()));
    }

    #[test]
    fn what_is_no_class_of_kafkas_is_told() {
        let told = |class| asked(class).expect_err("none");
        assert!(told("kafka.tools.GetOffsetSell").contains("did you mean `GetOffsetShell`?"));
        assert!(told("com.example.TopicCommand").contains("no Java here"));
        assert!(told("kafkaesque.TopicCommand").contains("no Java here"));
        assert!(told("-nonsense x").contains("is no option of kafka-run-class"));
    }
}
