//! What people see of the tools, kept as it is: pages of help, tables, errors, plans. The snapshots lie beside; a change
//! of what is seen shows in them (`cargo insta review`, or `INSTA_UPDATE=always`).

use std::process::Command;
use std::time::Duration;

use logrun_testkit::command::typed;
use logrun_testkit::{Home, Product, Running, Scratch};
use logrun_tests::logrun;
use logrun_tests::tools::stable;

const PATIENCE: Duration = Duration::from_secs(60);

/// A broker, and a shell's session with it.
struct Session {
    scratch: Scratch,
    home: Home,
    _running: Running,
    seen: String,
}

impl Session {
    fn begin(name: &str) -> Self {
        let scratch = Scratch::new(name).expect("a directory");
        let home = Home::new(logrun(), &scratch.join("broker"), "").expect("a home");
        let (running, _) = home.start(PATIENCE).unwrap_or_else(|e| panic!("the broker: {e}"));
        let quick = "default.api.timeout.ms=1000\nrequest.timeout.ms=500\n";
        std::fs::write(scratch.join("quick.properties"), quick).expect("a file");
        Self { scratch, home, _running: running, seen: String::new() }
    }

    /// Runs a line as a shell does, and keeps what is seen of it. `B` stands for the broker, `D` for a directory.
    fn line(&mut self, line: &str) -> &mut Self {
        self.typed(line, "")
    }

    fn typed(&mut self, line: &str, input: &str) -> &mut Self {
        let shown = if input.is_empty() { line.to_owned() } else { format!("printf '{input}' | {line}") };
        self.seen(&shown, &self.filled(line), &input.replace("\\n", "\n"))
    }

    /// The same on a terminal, where more is shown.
    fn on_a_terminal(&mut self, line: &str) -> &mut Self {
        let command = format!("script -qec '{}' /dev/null", self.filled(line).replace('\'', "'\\''"));
        self.seen(&format!("{line}   # on a terminal"), &command, "")
    }

    fn filled(&self, line: &str) -> String {
        let Product::Logrun(binary) = logrun() else { unreachable!("ours is Logrun") };
        let words: Vec<String> = line
            .split(' ')
            .map(|word| match word {
                "B" => self.home.bootstrap(),
                word => word.replace("D/", &format!("{}/", self.scratch.path().display())),
            })
            .collect();
        format!("{} {}", binary.display(), words.join(" "))
    }

    fn seen(&mut self, shown: &str, command: &str, input: &str) -> &mut Self {
        let place = self.scratch.join("run");
        std::fs::create_dir_all(&place).expect("a directory");
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        let ended = typed(&mut shell, input, &place, PATIENCE).unwrap_or_else(|e| panic!("{shown}: {e}"));
        let directory = self.scratch.path().display().to_string();
        let text = |text: &str| stable(&text.replace('\r', "").replace(&directory, "D"));
        self.seen.push_str(&format!("$ {shown}\n{}", text(&ended.stdout)));
        for line in text(&ended.stderr).lines() {
            self.seen.push_str(&format!("! {line}\n"));
        }
        if ended.code != 0 {
            self.seen.push_str(&format!("=> {}\n", ended.code));
        }
        self.seen.push('\n');
        self
    }
}

/// Without what stands invisibly at the ends of lines.
fn settled(text: &str) -> String {
    text.lines().map(|l| l.trim_end().to_owned() + "\n").collect()
}

#[test]
fn topics() {
    let mut s = Session::begin("seen-topics");
    s.line("kafka-topics --bootstrap-server B --create --topic orders --partitions 3 --config retention.ms=86400000")
        .line("kafka-topics --bootstrap-server B --create --topic my_topic")
        .line("kafka-topics --bootstrap-server B --list")
        .line("kafka-topics --bootstrap-server B --describe")
        .line("kafka-topics --bootstrap-server B --create --topic orders")
        .line("kafka-topics --bootstrap-server B --create --topic more --replication-factor 3")
        .line("kafka-topics --bootstrap-server B --describe --topic nothing")
        .line("kafka-topics --bootstrap-server B --descbire")
        .line("kafka-topics --bootstrap-server B --desc")
        .line("kafka-topics --zookeeper localhost:2181 --list")
        .line("kafka-topics --bootstrap-server B")
        .line("kafka-topics --bootstrap-server 127.0.0.1:1 --command-config D/quick.properties --list")
        .line("kafka-configs -bootstrap-server B --entity-type topics --entity-name orders --describe")
        .line("kafka-configs --bootstrap-server B --alter --topic orders --add-config max.partitions.fetch.bytes=1")
        .line("kafka-get-offsets --bootstrap-server B --topic orders");
    insta::assert_snapshot!("topics", settled(&s.seen));
}

#[test]
fn groups_and_their_offsets() {
    let mut s = Session::begin("seen-groups");
    s.line("kafka-topics --bootstrap-server B --create --topic orders")
        .typed("kafka-console-producer --bootstrap-server B --topic orders", "one\\ntwo\\nthree\\nfour\\nfive\\n")
        .line("kafka-console-consumer --bootstrap-server B --topic orders --group billing --from-beginning --max-messages 3")
        .line("kafka-consumer-groups --bootstrap-server B --list --state")
        .line("kafka-consumer-groups --bootstrap-server B --describe --group billing")
        .line("kafka-consumer-groups --bootstrap-server B --describe --group billing --state")
        .line("kafka-consumer-groups --bootstrap-server B --describe --group nobody")
        .line("kafka-consumer-groups --bootstrap-server B --group billing --topic orders --reset-offsets --to-earliest")
        .on_a_terminal("kafka-consumer-groups --bootstrap-server B --group billing --topic orders --reset-offsets --to-earliest --dry-run")
        .on_a_terminal("kafka-consumer-groups --bootstrap-server B --group billing --topic orders --reset-offsets --to-latest --execute")
        .on_a_terminal("kafka-consumer-groups --bootstrap-server B --group billing --topic orders --reset-offsets --shift-by -2 --execute")
        .on_a_terminal("kafka-consumer-groups --bootstrap-server B --group billing --topic orders --reset-offsets --by-period P1D --dry-run")
        .line("kafka-consumer-groups --bootstrap-server B --group billing --topic orders --reset-offsets --to-offset 99 --dry-run")
        .line("kafka-consumer-groups --bootstrap-server B --group billing --topic orders --reset-offsets --to-datetime yesterday --dry-run")
        .line("kafka-consumer-groups --bootstrap-server B --group billing --all-topics --reset-offsets --to-current --export --dry-run")
        .line("kafka-share-groups --bootstrap-server B --describe --group workers")
        .line("kafka-streams-groups --bootstrap-server B --describe --group word-count");
    insta::assert_snapshot!("groups", settled(&s.seen));
}

#[test]
fn kcat() {
    let mut s = Session::begin("seen-kcat");
    s.typed("kcat -P -b B -t upload -p 0 -K:", "k1:one\\nk2:two\\n")
        .line("kcat -L -b B")
        .line("kcat -C -b B -t upload -e")
        .line("kcat -C -b B -t upload -e -J")
        .line("kcat -Q -b B -t upload:0:-1")
        .line("kcat -C -b B -t nothing -e -X allow.auto.create.topics=false")
        .line("kcat -b B");
    insta::assert_snapshot!("kcat", settled(&s.seen));
}

#[test]
fn help() {
    let Product::Logrun(binary) = logrun() else { unreachable!("ours is Logrun") };
    let listed = Command::new(&binary).args(["install-tools", "--list"]).output().expect("the list of tools");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut pages = listed.clone();
    for tool in listed.lines().filter_map(|l| l.split_whitespace().next()).filter(|t| t.starts_with("kafka-")) {
        let page = Command::new(&binary).args([tool, "--help"]).output().expect("help");
        pages.push_str(&format!("\n$ {tool} --help\n{}", String::from_utf8_lossy(&page.stdout)));
        let version = Command::new(&binary).args([tool, "--version"]).output().expect("a version");
        let (code, version) = (version.status.code(), String::from_utf8_lossy(&version.stdout).into_owned());
        assert!(code == Some(0) && version.starts_with("4.3.1 (logrun "), "{tool} --version: {code:?} {version}");
    }
    insta::assert_snapshot!("help", settled(&pages));
}
