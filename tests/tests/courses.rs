//! Every line of the courses that is a command, from top to bottom against a fresh Logrun, by our own tools. That Apache
//! Kafka's own tools give the same answers is what `tools_matrix.rs` shows.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use logrun_testkit::command::{Ended, run};
use logrun_testkit::{Background, Home, Product, Running, Scratch};
use logrun_tests::logrun;

const PATIENCE: Duration = Duration::from_secs(60);

/// A broker, and the tools that talk with it.
struct Course {
    scratch: Scratch,
    home: Home,
    _running: Running,
    runs: Cell<usize>,
}

impl Course {
    fn begin(name: &str) -> Self {
        let scratch = Scratch::new(name).expect("a directory");
        let home = Home::new(logrun(), &scratch.join("broker"), "").expect("a home");
        let (running, _) = home.start(PATIENCE).unwrap_or_else(|e| panic!("the broker: {e}"));
        Self { scratch, home, _running: running, runs: Cell::new(0) }
    }

    /// A place for what one run writes.
    fn place(&self) -> PathBuf {
        self.runs.set(self.runs.get() + 1);
        let place = self.scratch.join(&format!("run-{}", self.runs.get()));
        std::fs::create_dir(&place).expect("a directory");
        place
    }

    fn command(&self, line: &str) -> String {
        let line =
            line.replace("localhost:9092", &self.home.bootstrap()).replace("127.0.0.1:9092", &self.home.bootstrap());
        let Product::Logrun(binary) = logrun() else { unreachable!("ours is Logrun") };
        format!("{} {line}", binary.display())
    }

    /// Runs a line as a shell does, with `input` typed in.
    fn typed(&self, line: &str, input: &str) -> Ended {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("printf '{input}' | {}", self.command(line)));
        run(&mut shell, &self.place(), PATIENCE).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    fn line(&self, line: &str) -> Ended {
        self.typed(line, "")
    }

    /// The standard output of a line that must end well.
    #[track_caller]
    fn ok(&self, line: &str) -> String {
        let ended = self.line(line);
        assert_eq!(ended.code, 0, "{line}\n{}", ended.said());
        ended.stdout
    }

    /// A line that goes on until the returned guard is dropped.
    fn in_background(&self, line: &str) -> Background {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec {}", self.command(line)));
        Background::spawn(&mut shell).expect("a process")
    }

    /// Asks until the answer is as wanted.
    #[track_caller]
    fn until(&self, line: &str, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let answer = self.line(line);
            if wanted(&answer.stdout) {
                return answer.stdout;
            }
            assert!(begun.elapsed() < PATIENCE, "{line}\n{}", answer.said());
        }
    }
}

#[test]
fn topics() {
    let course = Course::begin("courses-topics");
    let create = "kafka-topics --bootstrap-server localhost:9092 --topic my_topic --create --partitions 3 --replication-factor 1";
    assert!(course.ok(create).ends_with("Created topic my_topic.\n"));
    let too_many = course.line(&create.replace("my_topic", "other").replace("factor 1", "factor 3"));
    assert_eq!(too_many.code, 1);
    assert!(
        too_many.stdout.contains("Error while executing topic command : Unable to replicate the partition 3 time(s)"),
        "{}",
        too_many.said()
    );
    assert_eq!(
        course.ok("kafka-topics --bootstrap-server localhost:9092 --create --topic first"),
        "Created topic first.\n"
    );
    course.ok("kafka-topics.sh --bootstrap-server localhost:9092 --create --topic second --partitions 5");
    let third =
        course.line("kafka-topics --bootstrap-server localhost:9092 --create --topic third --replication-factor 2");
    assert_eq!(third.code, 1, "one broker can't keep two replicas");
    let described = course.ok("kafka-topics --bootstrap-server localhost:9092 --topic my_topic --describe");
    assert!(
        described.starts_with("Topic: my_topic\tTopicId: ")
            && described.contains("\tPartitionCount: 3\tReplicationFactor: 1\t")
    );
    assert_eq!(described.matches("\tTopic: my_topic\tPartition: ").count(), 3);
    assert_eq!(course.ok("kafka-topics --bootstrap-server localhost:9092 --list"), "first\nmy_topic\nsecond\n");
    course.ok("kafka-topics --bootstrap-server localhost:9092 --topic my_topic --delete");
    assert_eq!(course.ok("kafka-topics --bootstrap-server localhost:9092 --list"), "first\nsecond\n");
    let typo = course.line("kafka-topics --bootstrap-server localhost:9092 --topic first --descbire");
    assert!(typo.code == 1 && typo.stderr.contains("did you mean --describe?"), "{}", typo.said());
}

#[test]
fn records() {
    let course = Course::begin("courses-records");
    // An unknown topic is warned of and made, and the record arrives.
    let produce = "kafka-console-producer --broker-list 127.0.0.1:9092 --topic topic_name";
    let sent = course.typed(produce, "one\\ntwo\\n");
    assert_eq!(sent.code, 0, "{}", sent.said());
    assert!(sent.stderr.contains("WARN") && sent.stderr.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{}", sent.said());
    assert!(sent.stdout.starts_with("Warning: --broker-list is deprecated"), "{}", sent.said());
    let described = course.ok("kafka-topics --bootstrap-server localhost:9092 --topic topic_name --describe");
    assert!(described.contains("\tPartitionCount: 1\tReplicationFactor: 1\t"), "{described}");
    let all = "kafka-console-consumer --bootstrap-server 127.0.0.1:9092 --topic topic_name --from-beginning";
    assert_eq!(course.ok(&format!("{all} --max-messages 2")), "one\ntwo\n");
    // Keys; acknowledged by all; several brokers in the list, of which the first is not there.
    let keyed = course.typed(
        "kafka-console-producer --broker-list 127.0.0.1:1,localhost:9092 --topic first_topic --property parse.key=true \
         --property key.separator=, --producer-property acks=all",
        "k1,v1\\nk2,v2\\n",
    );
    assert_eq!(keyed.code, 0, "{}", keyed.said());
    let shown = course
        .ok("kafka-console-consumer --bootstrap-server 127.0.0.1:9092 --topic first_topic --from-beginning \
         --property print.key=true --property key.separator=, --max-messages 2");
    assert!(shown.ends_with("\nk1,v1\nk2,v2\n"), "{shown}");
    let new_names = course.typed(
        "kafka-console-producer --bootstrap-server localhost:9092 --topic first_topic --reader-property parse.key=true \
         --reader-property key.separator=, --command-property acks=all",
        "k3,v3\\nnokey\\n",
    );
    assert_eq!((new_names.code, new_names.stdout.as_str()), (1, ""), "a line without a key: {}", new_names.said());
    assert!(new_names.stderr.contains("No key separator found on line number 2: 'nokey'"), "{}", new_names.said());
    // Only new records are read without --from-beginning.
    let only_new = "kafka-console-consumer --bootstrap-server 127.0.0.1:9092 --topic topic_name --timeout-ms 1000";
    assert_eq!(course.ok(only_new), "");
    // A group goes on where it ended.
    let grouped = "kafka-console-consumer --bootstrap-server 127.0.0.1:9092 --topic topic_name --group group_name";
    assert_eq!(course.ok(&format!("{grouped} --from-beginning --max-messages 1")), "one\n");
    assert_eq!(course.ok(&format!("{grouped} --max-messages 1")), "two\n");
    let third = course.typed(produce, "three\\n");
    assert!(third.code == 0 && !third.stderr.contains("WARN"), "{}", third.said());
    assert_eq!(course.ok(&format!("{grouped} --max-messages 1")), "three\n");
}

#[test]
fn a_group_shares_its_topic() {
    let course = Course::begin("courses-share");
    course.ok("kafka-topics --bootstrap-server localhost:9092 --create --topic shared --partitions 2");
    let member = || {
        course
            .in_background("kafka-console-consumer --bootstrap-server 127.0.0.1:9092 --topic shared --group group_name")
    };
    let _both = (member(), member());
    let members = "kafka-consumer-groups --bootstrap-server localhost:9092 --describe --group group_name --members";
    // Two members with one partition each.
    course.until(members, |answer| {
        let rows: Vec<&str> = answer.lines().filter(|l| l.starts_with("group_name ")).collect();
        rows.len() == 2 && rows.iter().all(|row| row.split_whitespace().nth(4) == Some("1"))
    });
}

#[test]
fn configs() {
    let course = Course::begin("courses-configs");
    course.ok("kafka-topics --bootstrap-server localhost:9092 --create --topic topic_name");
    let describe =
        "kafka-configs -bootstrap-server localhost:9092 --entity-type topics --entity-name topic_name --describe";
    assert_eq!(course.ok(describe), "Dynamic configs for topic topic_name are:\n");
    let alter = "kafka-configs --bootstrap-server localhost:9092 --entity-type topics --entity-name topic_name";
    let done = "Completed updating config for topic topic_name.\n";
    assert_eq!(course.ok(&format!("{alter} --add-config min.insync.replicas=2 --alter")), done);
    assert!(
        course
            .ok(describe)
            .contains("  min.insync.replicas=2 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:min.insync.replicas=2")
    );
    assert_eq!(course.ok(&format!("{alter} --delete-config min.insync.replicas --alter")), done);
    assert_eq!(course.ok(describe), "Dynamic configs for topic topic_name are:\n");
    let typo = course.line(&describe.replace("--describe", "--descbire"));
    assert!(typo.code == 1 && typo.stderr.contains("did you mean --describe?"), "{}", typo.said());
    assert!(
        course
            .ok("kafka-configs --bootstrap-server localhost:9092 --entity-type brokers --entity-name 1 --describe")
            .starts_with("Dynamic configs for broker 1 are:")
    );
}

#[test]
fn groups() {
    let course = Course::begin("courses-groups");
    course.ok("kafka-topics --bootstrap-server localhost:9092 --create --topic my_topic --partitions 2");
    let reset = "kafka-consumer-groups --bootstrap-server localhost:9092 --topic my_topic --group consumer_group_name --reset-offsets";
    let told = "\nGROUP               TOPIC           PARTITION  NEW-OFFSET\n\
                consumer_group_name my_topic        0          0\n\
                consumer_group_name my_topic        1          0\n";
    assert_eq!(course.ok(&format!("{reset} --to-earliest --execute")), told);
    assert_eq!(course.ok("kafka-consumer-groups --bootstrap-server localhost:9092 --list"), "consumer_group_name\n");
    let described =
        course.ok("kafka-consumer-groups --bootstrap-server localhost:9092 --describe --group consumer_group_name");
    assert!(
        described.contains(
            "consumer_group_name my_topic        0          0               0               0               -"
        ),
        "{described}"
    );
    let plan = course.scratch.join("x.csv");
    std::fs::write(&plan, "my_topic,0,0\nmy_topic,1,0\n").expect("a file");
    let from_file = format!("--from-file {}", plan.display());
    for how in ["--to-latest", "--shift-by 0", "--shift-by -1", "--to-current", "--to-offset 0", &from_file] {
        assert_eq!(course.ok(&format!("{reset} {how} --execute")), told, "{how}");
    }
    // Nothing in the partitions: times lead to their ends, and are said to.
    for how in ["--to-datetime 2026-01-01T00:00:00.000", "--by-duration P1DT2H3M4S", "--by-period P1D"] {
        let answer = course.ok(&format!("{reset} {how} --dry-run"));
        assert!(
            answer.contains("Warn: Partition 0 from topic my_topic is empty.") && answer.ends_with(told),
            "{how}: {answer}"
        );
    }
    assert_eq!(course.ok(&format!("{reset} --to-current --export")), "my_topic,0,0\nmy_topic,1,0\n\n");
    // Only with the group stopped: who is in the way is said.
    let member = course.in_background(
        "kafka-console-consumer --bootstrap-server 127.0.0.1:9092 --topic my_topic --group consumer_group_name",
    );
    let state =
        "kafka-consumer-groups --bootstrap-server localhost:9092 --describe --group consumer_group_name --state";
    course.until(state, |answer| answer.contains("Stable"));
    let refused = course.line(&format!("{reset} --to-earliest --execute"));
    assert!(refused.stdout.contains("Assignments can only be reset if the group 'consumer_group_name' is inactive, but the current state is Stable."), "{}", refused.said());
    assert!(refused.stderr.contains("console-consumer at 127.0.0.1"), "{}", refused.said());
    // Ctrl-C leaves the group, which then is free at once.
    member.interrupt(PATIENCE).expect("it ends");
    let deleted =
        course.ok("kafka-consumer-groups --bootstrap-server localhost:9092 --delete --group consumer_group_name");
    assert_eq!(deleted, "Deletion of requested consumer groups ('consumer_group_name') was successful.\n");
    // Without --group, a group with a random name appears.
    let _reader = course.in_background("kafka-console-consumer --bootstrap-server 127.0.0.1:9092 --topic my_topic");
    course.until("kafka-consumer-groups --bootstrap-server localhost:9092 --list", |answer| {
        answer.starts_with("console-consumer-")
    });
}
