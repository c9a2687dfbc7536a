//! Every tool of ours and of Apache Kafka's, against Logrun and against Apache Kafka: on the same broker both give the
//! same answer and end with the same code. What is asked is in `tests/tools/matrix.txt`.
//!
//! Ignored unless asked for, because it needs the judge:
//! `cargo test -p logrun-tests --test tools_matrix -- --ignored`. `MATRIX=PATTERN` asks only the lines that match, and
//! `MATRIX_SHOW=1` prints every answer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use logrun_testkit::{Background, Home, Product, Running, Scratch, judge};
use logrun_tests::tools::{CLASSES, Tools, comparable};
use logrun_tests::{here, logrun};
use regex::Regex;

const PATIENCE: Duration = Duration::from_secs(120);

/// A line of the table.
#[derive(Debug)]
struct Scenario {
    line: String,
    bare: bool,
    /// Only the exit codes are compared.
    code: bool,
    /// Logrun's broker does not serve what it needs: there, ours only has to say so.
    kafka: bool,
    /// It can't be obeyed, and ours says so with its exit code too.
    wrong: bool,
    /// It has to do with no broker.
    once: bool,
    words: Vec<String>,
    input: String,
}

/// `a 'b c' d`, as a shell reads it.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut quoted, mut open) = (false, false);
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                if !open {
                    words.push(String::new());
                    open = true;
                }
            }
            ' ' if !quoted => open = false,
            _ => {
                if !open {
                    words.push(String::new());
                    open = true;
                }
                words.last_mut().expect("one").push(letter);
            }
        }
    }
    words
}

fn scenarios() -> Vec<Scenario> {
    let wanted = std::env::var("MATRIX").ok().map(|p| Regex::new(&p).expect("MATRIX is a regular expression"));
    let text = std::fs::read_to_string(here().join("tools/matrix.txt")).expect("the table");
    let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    let of = |line: &str| {
        let (command, input) = line.split_once(" < ").unwrap_or((line, ""));
        let mut words = words(command);
        let marks = words
            .iter()
            .position(|w| !matches!(w.as_str(), "bare" | "code" | "kafka" | "once" | "wrong"))
            .unwrap_or(words.len());
        let rest = words.split_off(marks);
        let marked = |mark: &str| words.iter().any(|w| w == mark);
        Scenario {
            line: line.to_owned(),
            bare: marked("bare"),
            code: marked("code"),
            kafka: marked("kafka"),
            wrong: marked("wrong"),
            once: marked("once"),
            words: rest,
            input: input.replace("\\n", "\n").replace("\\t", "\t"),
        }
    };
    let wanted = |line: &&str| wanted.as_ref().is_none_or(|w| w.is_match(line));
    lines.filter(wanted).map(of).collect()
}

/// A broker, and files for the tools in a directory.
struct Side {
    name: &'static str,
    home: Home,
    _running: Running,
    files: PathBuf,
}

impl Side {
    fn begin(name: &'static str, product: Product, scratch: &Scratch) -> Self {
        let home = Home::new(product, &scratch.join(name), "").expect("a home");
        let (running, _) = home.start(PATIENCE).unwrap_or_else(|e| panic!("{name}: {e}"));
        let files = scratch.join(&format!("{name}-files"));
        for who in ["mine", "java"] {
            write_files(&files.join(who), who);
        }
        Self { name, home, _running: running, files }
    }

    fn args(&self, scenario: &Scenario, who: &str) -> Vec<String> {
        let fill = |word: &String| {
            let word = word.replace("{b}", &self.home.bootstrap()).replace('@', who);
            word.replace("{dir}", &self.files.join(who).to_string_lossy())
        };
        let mut args: Vec<String> = scenario.words.iter().skip(1).map(fill).collect();
        if !scenario.bare {
            args.extend(["--bootstrap-server".to_owned(), self.home.bootstrap()]);
        }
        args
    }
}

/// What the scenarios read, in each tool's own words.
fn write_files(dir: &Path, who: &str) {
    std::fs::create_dir_all(dir).expect("a directory");
    let partition = |topic: &str, p: i32, more: &str| format!(r#"{{"topic":"{who}{topic}","partition":{p}{more}}}"#);
    let reassignment = partition("one", 0, r#","replicas":[1],"log_dirs":["any"]"#);
    for (name, text) in [
        ("one-group.csv", format!("{who}log,0,3\n{who}one,1,0\n")),
        ("groups.csv", format!("{who}g1,{who}log,0,5\n{who}g2,{who}log,0,6\n")),
        ("bad.csv", "what is this\n".to_owned()),
        ("topic.properties", "retention.ms=5000\nsegment.bytes=1048576\n".to_owned()),
        ("delete.json", format!(r#"{{"partitions":[{}],"version":1}}"#, partition("log", 0, r#","offset":2"#))),
        (
            "delete-too-far.json",
            format!(r#"{{"partitions":[{}],"version":1}}"#, partition("log", 0, r#","offset":999"#)),
        ),
        ("partitions.json", format!(r#"{{"partitions":[{}]}}"#, partition("one", 1, ""))),
        ("topics.json", format!(r#"{{"topics":[{{"topic":"{who}one"}}],"version":1}}"#)),
        ("reassign.json", format!(r#"{{"version":1,"partitions":[{reassignment}]}}"#)),
        ("quick.properties", "default.api.timeout.ms=1500\nrequest.timeout.ms=1000\n".to_owned()),
    ] {
        std::fs::write(dir.join(name), text).expect("a file");
    }
}

/// A consumer of ours that goes on in the background, once it is a member of its group.
fn member(side: &Side, tools: &mut Tools, scenario: &Scenario) -> Background {
    let Product::Logrun(binary) = logrun() else { unreachable!("ours is Logrun") };
    let tool = &scenario.words[1];
    let args = &side.args(scenario, "mine")[1..];
    let member = Background::spawn(Command::new(binary).arg(tool).args(args)).expect("a process");
    let group = args.iter().skip_while(|a| *a != "--group").nth(1).expect("a group");
    let describe: Vec<String> =
        ["--describe", "--group", group, "--bootstrap-server", &side.home.bootstrap()].map(str::to_owned).into();
    let begun = Instant::now();
    while !tools.ours("kafka-consumer-groups", &describe, "").expect("an answer").1.contains("/127.0.0.1") {
        assert!(begun.elapsed() < PATIENCE, "{}: the group has no member with a partition", side.name);
    }
    member
}

fn kafka() -> Product {
    Product::Kafka(judge().expect("Apache Kafka: KAFKA_JUDGE or ../shared/kafka/kafka"))
}

#[test]
#[ignore = "needs Apache Kafka"]
fn ours_answer_as_apache_kafkas_own() {
    let scratch = Scratch::new("tools-matrix").expect("a directory");
    let show = std::env::var_os("MATRIX_SHOW").is_some();
    let sides = [Side::begin("Apache Kafka", kafka(), &scratch), Side::begin("Logrun", logrun(), &scratch)];
    let jars = scratch.join("Apache Kafka").join("lib-4.3.1");
    let mut tools = Tools::start(&jars, &scratch.join("runs")).expect("java");
    let mut differences = 0;
    let mut background: Vec<Background> = Vec::new();
    let scenarios = scenarios();
    for scenario in &scenarios {
        match scenario.words[0].as_str() {
            "begin" => {
                let serving = sides.iter().filter(|side| !(scenario.kafka && side.name == "Logrun"));
                background = serving.map(|side| member(side, &mut tools, scenario)).collect();
            }
            "end" => {
                for member in background.drain(..) {
                    member.interrupt(PATIENCE).expect("it ends");
                }
            }
            tool => {
                for side in sides.iter().take(if scenario.once { 1 } else { sides.len() }) {
                    let ours = tools.ours(tool, &side.args(scenario, "mine"), &scenario.input);
                    let ours = ours.unwrap_or_else(|e| panic!("{}: {e}", scenario.line));
                    if scenario.kafka && side.name == "Logrun" {
                        // In a sentence, not in silence.
                        assert!(!(ours.1 + &ours.2).is_empty(), "{}", scenario.line);
                        continue;
                    }
                    let theirs = tools.apaches(tool, &side.args(scenario, "java"), &scenario.input);
                    let theirs = theirs.unwrap_or_else(|e| panic!("{}: {e}", scenario.line));
                    let whole = !(scenario.code || scenario.wrong);
                    let code = if scenario.wrong { 1 } else { theirs.0 };
                    let same = match whole {
                        true => (ours.0, comparable(&ours.1)) == (theirs.0, comparable(&theirs.1)),
                        false => {
                            let silent = |(code, out, err): &(i32, String, String)| {
                                *code != 0 && out.is_empty() && err.is_empty()
                            };
                            ours.0 == code && !silent(&ours)
                        }
                    };
                    let told = |(code, out, err): &(i32, String, String)| {
                        let err: String = err.lines().take(4).map(|l| format!("  ! {l}\n")).collect();
                        let out: String = out.lines().map(|l| format!("  | {l}\n")).collect();
                        format!("exit code {code}\n{out}{err}")
                    };
                    if show || !same {
                        let (side, line) = (side.name, &scenario.line);
                        println!("\n{side}: {line}\nours: {}theirs: {}", told(&ours), told(&theirs));
                    }
                    differences += usize::from(!same);
                }
            }
        }
    }
    drop(background);
    assert_eq!(differences, 0, "answers that are not the same");
    println!("{} lines, on both brokers: the same", scenarios.len());
}

/// The words of tools that have a page of help for each.
const COMMANDS: &[(&str, &[&str])] = &[
    ("kafka-cluster", &["cluster-id", "unregister", "list-endpoints"]),
    ("kafka-features", &["describe", "upgrade", "downgrade", "disable", "version-mapping", "feature-dependencies"]),
    ("kafka-metadata-quorum", &["describe", "add-controller", "remove-controller"]),
    (
        "kafka-transactions",
        &["list", "describe", "describe-producers", "abort", "find-hanging", "forceTerminateTransaction"],
    ),
];

/// Each of Apache's options is one of ours, however old its name.
#[test]
#[ignore = "needs Apache Kafka"]
fn every_option_of_apache_kafkas_tools_is_taken() {
    let scratch = Scratch::new("tools-options").expect("a directory");
    // Only for its jars.
    let _home = Home::new(kafka(), &scratch.join("kafka"), "").expect("a home");
    let mut tools = Tools::start(&scratch.join("kafka/lib-4.3.1"), &scratch.join("runs")).expect("java");
    let option = Regex::new(r"(?m)^\s*\*?\s*(?:-[a-z], )?--([a-z][a-zA-Z0-9.-]*)").expect("a pattern");
    let listed = logrun_tools();
    let mut missing = Vec::new();
    for (tool, class, _) in CLASSES {
        if !listed.iter().any(|t| t == tool) {
            missing.push(format!("{tool}: there is none"));
            continue;
        }
        let ours = tools.ours(tool, &["--help".to_owned()], "").expect("help");
        assert_eq!((ours.0, ours.2.as_str()), (0, ""), "{tool} --help");
        let by_class = tools.ours("kafka-run-class", &[(*class).to_owned(), "--help".to_owned()], "").expect("help");
        assert_eq!(by_class, ours, "{class}");
        let commands = COMMANDS.iter().find(|(name, _)| name == tool).map_or(&[][..], |(_, commands)| *commands);
        let mut options = BTreeSet::new();
        for command in commands.iter().copied().chain([""]) {
            // Its old form, with words by their places, takes `--help` for one of them: without most, it tells its options.
            let asking: &[&str] = if *tool == "kafka-e2e-latency" { &["--topic", "x"] } else { &["--help"] };
            let help = command.split_whitespace().chain(asking.iter().copied());
            let help: Vec<String> = help.map(str::to_owned).collect();
            let (_, out, err) = tools.apaches(tool, &help, "").expect("help");
            let page = out + &err;
            options.extend(option.captures_iter(&page).map(|c| c.get(1).expect("a name").as_str().to_owned()));
        }
        assert!(options.len() > 3, "{tool} --help: {options:?}");
        for name in options {
            let (code, out, err) = tools.ours(tool, &[format!("--{name}"), "--help".to_owned()], "").expect("an end");
            if err.contains("is not a recognized option") {
                missing.push(format!("{tool}: --{name} ({code} {out}{err})"));
            }
        }
        let version = ["--version".to_owned()];
        // Not all of theirs have it.
        if tools.apaches(tool, &version, "").expect("a version").0 == 0 {
            let (code, out, err) = tools.ours(tool, &version, "").expect("a version");
            assert!(code == 0 && out.starts_with("4.3.1 "), "{tool} --version: {out}{err}");
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

fn logrun_tools() -> Vec<String> {
    let Product::Logrun(binary) = logrun() else { unreachable!("ours is Logrun") };
    let listed = Command::new(binary).args(["install-tools", "--list"]).output().expect("the list of tools");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    listed.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect()
}
