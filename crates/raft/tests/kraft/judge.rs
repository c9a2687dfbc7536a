//! Apache Kafka judges our files: its DumpLogSegments reads them, its controller starts on them, and what it then
//! writes is read here again.
//!
//! `KAFKA_JUDGE` names the script that runs Kafka's own programs (`$KAFKA_JUDGE tool CLASS ...`); without it these
//! tests say so and do nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use logrun_io::Io;
use logrun_log::{LogDirs, LogEnv, TailCache};
use logrun_model::{NodeId, Uuid};
use logrun_raft::{METADATA_DIR, MetadataLog};

use crate::support::*;

fn judge() -> Option<String> {
    let judge = std::env::var("KAFKA_JUDGE").ok();
    if judge.is_none() {
        println!("skipped: KAFKA_JUDGE does not name the script that runs Apache Kafka");
    }
    judge
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("raft-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn tool(judge: &str, args: &[&str]) -> String {
    let out = Command::new(judge).arg("tool").args(args).env("HEAP", "256m").output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{args:?}: {text}");
    text
}

/// A formatted directory with a log of several epochs and a snapshot; its directory id.
async fn written(dir: &Path) -> (LogEnv, Uuid) {
    let io = Io::real();
    let mut dirs = LogDirs::open(&io, &[dir.to_path_buf()]).unwrap().dirs;
    dirs.format(&CLUSTER.into(), NodeId(1)).unwrap();
    let id = dirs.dirs()[0].directory_id().unwrap();
    let env = LogEnv { io: io.clone(), tail: TailCache::new(1 << 20) };
    let config = raft_config(id);
    MetadataLog::format(&io, dir, std::slice::from_ref(&config.voter), io.clock.read()).unwrap();
    for start in 1..=3u8 {
        let mut node = load(&env, dir, config.clone(), false).unwrap();
        node.lead().unwrap();
        node.activate().await.unwrap();
        node.register(id, start).await.unwrap();
        node.create(&format!("ours{start}"), 2, u128::from(start)).await.unwrap();
        if start == 2 {
            let image = node.image().clone();
            node.log.write_snapshot(&image, now()).unwrap();
        }
        node.log.close(now()).unwrap();
    }
    (env, id)
}

#[tokio::test]
async fn kafka_reads_our_log_and_snapshots() {
    let Some(judge) = judge() else { return };
    let dir = scratch("dump");
    written(&dir).await;
    let mut files: Vec<String> = fs::read_dir(dir.join(METADATA_DIR))
        .unwrap()
        .map(|e| e.unwrap().path().to_str().unwrap().to_string())
        .filter(|p| p.ends_with(".log") || p.ends_with(".checkpoint"))
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    let mut all = String::new();
    for file in &files {
        let text = tool(&judge, &["DumpLogSegments", "--cluster-metadata-decoder", "--files", file]);
        assert!(text.contains("isvalid: true") && !text.contains("isvalid: false"), "{text}");
        assert!(!text.to_lowercase().contains("error") && !text.contains("mismatch"), "{text}");
        all += &text;
    }
    let expected = [
        "LeaderChange: {\"version\":0,\"leaderId\":1",
        "KRaftVersion {\"version\":0,\"kRaftVersion\":1}",
        "SnapshotHeader",
        "SnapshotFooter",
        "Snapshot end offset: 0, epoch: 0",
        "\"name\":\"metadata.version\",\"featureLevel\":30",
        "{\"type\":\"TOPIC_RECORD\",\"version\":0,\"data\":{\"name\":\"ours3\"",
        "\"type\":\"REGISTER_BROKER_RECORD\",\"version\":4",
    ];
    for e in expected {
        assert!(all.contains(e), "{e} is not in\n{all}");
    }
    fs::remove_dir_all(&dir).unwrap();
}

/// A running Apache Kafka, in a process group of its own.
struct Kafka {
    script: Child,
    /// Ends when every process of the group has.
    says: Option<JoinHandle<()>>,
}

impl Kafka {
    fn start(judge: &str, dir: &Path, port: u16) -> Self {
        let properties = dir.with_extension("properties");
        let controller = port + 1;
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\nmetadata.max.idle.interval.ms=0\n",
            dir.display()
        );
        fs::write(&properties, text).unwrap();
        let mut script = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 2>&1", judge, "tool", "kafka.Kafka", properties.to_str().unwrap()])
            .env("HEAP", "256m")
            .env("LEVEL", "INFO")
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
        let mut kafka = Self { script, says: None };
        let mut said = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            if line.contains("Kafka Server started") {
                kafka.says = Some(std::thread::spawn(move || lines.for_each(drop)));
                return kafka;
            }
            said += &line;
            said.push('\n');
        }
        panic!("Apache Kafka did not start on our files:\n{said}");
    }

    fn stop(mut self) {
        self.end();
        if let Some(says) = self.says.take() {
            says.join().unwrap();
        }
    }

    fn end(&mut self) {
        let group = format!("-{}", self.script.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.script.wait();
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if self.says.is_some() {
            self.end();
        }
    }
}

#[tokio::test]
async fn kafkas_controller_takes_over_and_gives_back() {
    let Some(judge) = judge() else { return };
    let dir = scratch("handover");
    let (env, id) = written(&dir).await;
    let port = 39792;
    let server = format!("127.0.0.1:{port}");
    // Kafka's broker waits for our registration's session to end before it registers its own.
    let kafka = Kafka::start(&judge, &dir, port);
    let topics = tool(&judge, &["TopicCommand", "--bootstrap-server", &server, "--describe"]);
    assert!(topics.contains("Topic: ours3\tPartition: 1\tLeader: 1"), "{topics}");
    tool(&judge, &["TopicCommand", "--bootstrap-server", &server, "--create", "--topic", "theirs"]);
    kafka.stop();

    let mut node = load(&env, &dir, raft_config(id), false).unwrap();
    assert!(node.image().topics.by_name("theirs").is_some());
    let before = node.log.epoch();
    assert!(node.lead().unwrap() > before);
    node.activate().await.unwrap();
    node.register(id, 77).await.unwrap();
    node.create("ours-again", 1, 99).await.unwrap();
    node.log.close(now()).unwrap();

    let kafka = Kafka::start(&judge, &dir, port);
    let topics = tool(&judge, &["TopicCommand", "--bootstrap-server", &server, "--list"]);
    for name in ["ours1", "ours2", "ours3", "theirs", "ours-again"] {
        assert!(topics.contains(name), "{topics}");
    }
    kafka.stop();
    fs::remove_dir_all(&dir).unwrap();
    let _ = fs::remove_file(dir.with_extension("properties"));
}
