//! One controller and two brokers as processes of their own: what one node does, several do together, and each may be
//! killed, stopped and started again while the others go on.
//!
//! The clients are kcat and the small client of these tests. The ignored tests put Apache Kafka in the place of the
//! controller or of a broker: `cargo test -p logrun-tests --test roles -- --ignored --nocapture`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use logrun_testkit::{Product, Running, Scratch, free_port_pair, judge, probe};
use logrun_tests::logrun;
use logrun_tests::wire::{Connection, batch};

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a silent broker may be silent.
const SESSION_MS: u32 = 3000;
/// In which each process must stop in order.
const STOP: Duration = Duration::from_secs(2);

/// The place of a cluster: a directory, a port for each node.
struct Cluster {
    scratch: Scratch,
    binary: PathBuf,
    ports: [u16; 4],
}

impl Cluster {
    fn new(name: &str) -> Self {
        let Product::Logrun(binary) = logrun() else { panic!("the binary under test is Logrun's") };
        let (a, b) = (free_port_pair().expect("ports"), free_port_pair().expect("ports"));
        Self { scratch: Scratch::new(name).expect("a directory"), binary, ports: [a, a + 1, b, b + 1] }
    }

    fn addr(&self, node: usize) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports[node]))
    }

    fn log(&self, node: usize) -> String {
        fs::read_to_string(self.scratch.join(&format!("{node}.log"))).unwrap_or_default()
    }

    fn data(&self, node: usize) -> PathBuf {
        self.scratch.join(&format!("data-{node}"))
    }

    /// The configuration of node 1 as the controller, of any other as a broker of it, with further lines; where it is.
    fn configure(&self, node: usize, extra: &str) -> PathBuf {
        let (role, listener) = if node == 1 { ("controller", "CONTROLLER") } else { ("broker", "PLAINTEXT") };
        let (port, controller) = (self.ports[node], self.ports[1]);
        let properties = format!(
            "process.roles={role}\n\
             node.id={node}\n\
             listeners={listener}://127.0.0.1:{port}\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             log.dirs={}\n\
             broker.session.timeout.ms={SESSION_MS}\n\
             broker.heartbeat.interval.ms=300\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=8\n\
             group.initial.rebalance.delay.ms=0\n\
             {extra}\n",
            self.data(node).display()
        );
        let config = self.scratch.join(&format!("{node}.properties"));
        fs::write(&config, properties).expect("a configuration");
        config
    }

    /// Starts a node with further lines of its configuration.
    fn spawn(&self, node: usize, extra: &str) -> Running {
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--config").arg(self.configure(node, extra));
        self.run(node, command)
    }

    /// Starts a node of Apache Kafka's, formatted as `format` says.
    fn spawn_apache(&self, node: usize, format: &[&str]) -> Running {
        let config = self.configure(node, "").to_string_lossy().into_owned();
        let formatted = apache("kafka.tools.StorageTool")
            .args(["format", "--ignore-formatted", "-c", &config])
            .args(format)
            .stdout(Stdio::null())
            .status();
        assert!(formatted.expect("java runs").success(), "kafka-storage format failed");
        let mut command = apache("kafka.Kafka");
        command.arg(config);
        self.run(node, command)
    }

    fn run(&self, node: usize, mut command: Command) -> Running {
        let log = File::options().create(true).append(true).open(self.scratch.join(&format!("{node}.log")));
        let log = log.expect("a log");
        command.current_dir(self.scratch.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        Running::of(command.spawn().expect("it starts"), self.addr(node))
    }

    fn cluster_id(&self, node: usize) -> String {
        let text = fs::read_to_string(self.data(node).join("meta.properties")).expect("meta.properties");
        let id = text.lines().find_map(|l| l.strip_prefix("cluster.id="));
        id.expect("a cluster").to_owned()
    }

    fn controller(&self) -> Running {
        let running = self.spawn(1, "");
        self.until("the controller answers", || {
            probe::api_versions(self.addr(1), Instant::now() + Duration::from_secs(1)).is_ok()
        });
        running
    }

    fn broker(&self, node: usize) -> Running {
        let mut running = self.spawn(node, "");
        running.wait_ready(PATIENCE).unwrap_or_else(|e| panic!("broker {node}: {e}\n{}", self.logs()));
        running
    }

    fn connection(&self, node: usize) -> Connection {
        Connection::open(self.addr(node), PATIENCE).expect("a connection")
    }

    /// Who leads each partition of `topic`, as broker `node` tells; nobody if it doesn't know the topic yet.
    fn leaders(&self, node: usize, topic: &str) -> Vec<i32> {
        self.connection(node).leaders(topic).unwrap_or_default()
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "in vain: {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn logs(&self) -> String {
        (1..=3).map(|n| format!("--- node {n}\n{}", self.log(n))).collect()
    }

    /// Runs kcat against broker `node`; what it prints.
    fn kcat(&self, node: usize, args: &[&str], input: &str) -> String {
        let mut command = Command::new("kcat");
        command.args(["-b", &self.addr(node).to_string()]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kcat starts");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kcat {args:?}: {said}\n{}", self.logs());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Produces one record with acks=all to a partition; its offset, or why not.
    fn produce(&self, node: usize, topic: &str, partition: usize, value: &str) -> std::io::Result<i64> {
        let mut connection = Connection::open(self.addr(node), PATIENCE)?;
        connection.produce(topic, partition as i32, &batch(&[value.as_bytes().to_vec()], 1))?;
        connection.produced()
    }
}

/// A program of Apache Kafka's, from the jars that the judge's script keeps.
fn apache(class: &str) -> Command {
    let script = judge().expect("Apache Kafka: KAFKA_JUDGE or ../shared/kafka/kafka");
    assert!(Command::new(&script).arg("setup").stdout(Stdio::null()).status().expect("it runs").success());
    let home = std::env::var_os("PEER_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/peer-kafka")));
    let jars = home.expect("HOME").join("lib-4.3.1/*");
    let mut command = Command::new("java");
    command.arg("-Xmx256m").arg("-cp").arg(jars).arg(class);
    command
}

fn has_kcat() -> bool {
    if Command::new("kcat").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
        return true;
    }
    assert!(std::env::var("CI").is_err(), "kcat is not installed");
    eprintln!("skipped: kcat is not installed");
    false
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn one_controller_and_two_brokers() {
    if !has_kcat() {
        return;
    }
    let cluster = Cluster::new("roles");
    // A broker that is there before its controller waits for it, and takes its cluster's id.
    let mut second = cluster.spawn(2, "");
    cluster.until("a broker says that it waits", || cluster.log(2).contains("waiting for a controller"));
    let mut controller = cluster.controller();
    second.wait_ready(PATIENCE).unwrap_or_else(|e| panic!("{e}\n{}", cluster.logs()));
    let mut third = cluster.broker(3);
    assert_eq!(BTreeSet::from([1, 2, 3].map(|node| cluster.cluster_id(node))).len(), 1);

    // Topics made by either are known to both, and spread over them.
    cluster.connection(2).create_topic("spread", 6).expect("created");
    cluster.connection(3).create_topic("other", 2).expect("created");
    for topic in ["spread", "other"] {
        cluster.until("both know who leads", || {
            let leaders = [2, 3].map(|node| cluster.leaders(node, topic));
            leaders[0] == leaders[1] && !leaders[0].is_empty() && leaders[0].iter().all(|l| *l > 0)
        });
    }
    let leaders = cluster.leaders(2, "spread");
    assert_eq!(leaders.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([2, 3]), "{leaders:?}");

    // Clients follow the leaders, whichever broker they begin with.
    let lines: String = (0..500).map(|n| format!("{n}:{n}\n")).collect();
    cluster.kcat(2, &["-P", "-t", "spread", "-K:", "-X", "acks=all"], &lines);
    let read = cluster.kcat(3, &["-C", "-t", "spread", "-e", "-q", "-f", "%k:%s\\n"], "");
    assert_eq!(sorted(&read), sorted(&lines));
    let wrong = leaders.iter().position(|l| *l == 3).expect("one is led by 3");
    let refused = cluster.produce(2, "spread", wrong, "x").expect_err("broker 2 doesn't lead it");
    assert!(refused.to_string().contains('6'), "NOT_LEADER_OR_FOLLOWER: {refused}");

    // Groups have coordinators on both, and what they commit is kept.
    for group in ["g0", "g1", "g2", "g3"] {
        let node = if group < "g2" { 2 } else { 3 };
        let args = ["-G", group, "-X", "auto.offset.reset=earliest", "-c", "500", "-q", "-f", "%k:%s\\n", "spread"];
        assert_eq!(sorted(&cluster.kcat(node, &args, "")), sorted(&lines), "group {group}");
    }
    let coordinators: BTreeSet<i32> = cluster.leaders(3, "__consumer_offsets").into_iter().collect();
    assert_eq!(coordinators, BTreeSet::from([2, 3]));

    // A broker that is killed is fenced after its session; the other goes on; it comes back with all that it had.
    third.kill().expect("killed");
    let right = leaders.iter().position(|l| *l == 2).expect("one is led by 2");
    cluster.produce(2, "spread", right, "while 3 is dead").expect("taken");
    let killed = Instant::now();
    cluster.until("the dead broker is fenced", || cluster.leaders(2, "spread")[wrong] == -1);
    assert!(killed.elapsed() < Duration::from_millis(u64::from(SESSION_MS) * 3), "{:?}", killed.elapsed());
    cluster.produce(2, "spread", right, "and when it's fenced").expect("taken");
    third = cluster.broker(3);
    cluster.until("its partitions have their leader again", || cluster.leaders(2, "spread") == leaders);
    let read = cluster.kcat(2, &["-C", "-t", "spread", "-e", "-q", "-f", "%k:%s\\n"], "");
    assert_eq!(read.lines().count(), 502, "{read}");

    // Without the controller both go on; with it again, so does the metadata.
    controller.kill().expect("killed");
    let before = cluster.produce(2, "spread", right, "without a controller").expect("taken");
    assert!(cluster.produce(3, "spread", wrong, "without a controller").expect("taken") > 0);
    assert_eq!(cluster.leaders(3, "spread"), leaders);
    controller = cluster.controller();
    cluster.until("topics can be made again", || cluster.connection(3).create_topic("after", 4).is_ok());
    cluster.until("the other broker hears of it", || {
        let after = cluster.leaders(2, "after");
        after.len() == 4 && after.iter().all(|l| *l > 0)
    });
    assert_eq!(cluster.leaders(2, "spread"), leaders, "nobody was fenced meanwhile");
    assert_eq!(cluster.produce(2, "spread", right, "as before").expect("taken"), before + 1);

    // Each stops in order, in time, and is let go at once.
    let (took, status) = third.terminate(PATIENCE).expect("it ends");
    assert!(took < STOP && status.is_some_and(|s| s.success()), "{took:?} {status:?}\n{}", cluster.log(3));
    assert_eq!(cluster.leaders(2, "spread")[wrong], -1, "the controller knew before it had gone");
    third = cluster.broker(3);
    cluster.until("it is in again", || cluster.leaders(2, "spread") == leaders);
    for running in [&mut third, &mut second, &mut controller] {
        let (took, status) = running.terminate(PATIENCE).expect("it ends");
        assert!(took < STOP && status.is_some_and(|s| s.success()), "{took:?} {status:?}\n{}", cluster.logs());
    }
}

#[test]
fn what_does_not_belong_together_is_told_in_a_sentence() {
    let cluster = Cluster::new("roles-wrong");
    let _controller = cluster.controller();
    let ends_with = |node: usize, extra: &str, sentence: &str| {
        let mut running = cluster.spawn(node, extra);
        let status = running.wait_end(PATIENCE).unwrap_or_else(|e| panic!("{e}\n{}", cluster.logs()));
        assert!(!status.success());
        let log = cluster.log(node);
        assert!(log.contains(sentence), "`{sentence}` is not in:\n{log}");
    };
    ends_with(2, "node.id=1", "node.id=1 is the id of a controller");
    fs::create_dir_all(cluster.data(3)).expect("a directory");
    let meta = "version=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\nnode.id=3\ndirectory.id=3Db5QLSqSZieL3rJBUUegA\n";
    fs::write(cluster.data(3).join("meta.properties"), meta).expect("meta.properties");
    ends_with(3, "", "correct controller.quorum.bootstrap.servers");
    let controller = cluster.ports[1];
    let voters = format!("controller.quorum.bootstrap.servers=\ncontroller.quorum.voters=9@127.0.0.1:{controller}");
    ends_with(2, &voters, "controller.quorum.voters names the nodes [9]");
}

/// What clients do with two brokers, nodes 2 and 3, whoever they and their controller are.
fn clients_use(cluster: &Cluster) {
    cluster.connection(2).create_topic("mixed", 6).expect("created");
    let known = |node| {
        let leaders = cluster.leaders(node, "mixed");
        !leaders.is_empty() && leaders.iter().all(|l| *l > 0)
    };
    cluster.until("both know who leads", || known(2) && known(3));
    let leaders: BTreeSet<i32> = cluster.leaders(3, "mixed").into_iter().collect();
    assert_eq!(leaders, BTreeSet::from([2, 3]));
    let lines: String = (0..100).map(|n| format!("{n}:{n}\n")).collect();
    cluster.kcat(3, &["-P", "-t", "mixed", "-K:", "-X", "enable.idempotence=true"], &lines);
    for node in [2, 3] {
        let read = cluster.kcat(node, &["-C", "-t", "mixed", "-e", "-q", "-f", "%k:%s\\n"], "");
        assert_eq!(sorted(&read), sorted(&lines), "through {node}");
        let group = format!("g{node}");
        let args = ["-G", &group, "-X", "auto.offset.reset=earliest", "-c", "100", "-q", "-f", "%k:%s\\n", "mixed"];
        assert_eq!(sorted(&cluster.kcat(node, &args, "")), sorted(&lines), "group {group}");
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn brokers_of_apaches_controller() {
    let cluster = Cluster::new("roles-apache-controller");
    let mut controller = cluster.spawn_apache(1, &["-t", "MkU3OEVBNTcwNTJENDM2Qg", "--standalone"]);
    let (mut second, mut third) = (cluster.broker(2), cluster.broker(3));
    assert_eq!(cluster.cluster_id(2), "MkU3OEVBNTcwNTJENDM2Qg");
    clients_use(&cluster);
    let of_third = cluster.leaders(2, "mixed").iter().position(|l| *l == 3).expect("one is led by 3");
    let (took, status) = third.terminate(PATIENCE).expect("it ends");
    assert!(took < STOP && status.is_some_and(|s| s.success()), "{took:?} {status:?}\n{}", cluster.log(3));
    assert_eq!(cluster.leaders(2, "mixed")[of_third], -1, "the controller let it go");
    third = cluster.broker(3);
    cluster.until("it leads again", || cluster.leaders(2, "mixed")[of_third] == 3);
    third.kill().expect("killed");
    cluster.until("the dead broker is fenced", || cluster.leaders(2, "mixed")[of_third] == -1);
    let (took, _) = second.terminate(PATIENCE).expect("it ends");
    assert!(took < STOP, "{took:?}\n{}", cluster.log(2));
    controller.kill().expect("killed");
}

#[test]
#[ignore = "needs Apache Kafka"]
fn apaches_broker_beside_ours_under_our_controller() {
    let cluster = Cluster::new("roles-apache-broker");
    let mut controller = cluster.controller();
    let mut second = cluster.broker(2);
    let mut third = cluster.spawn_apache(3, &["-t", &cluster.cluster_id(1)]);
    third.wait_ready(PATIENCE).unwrap_or_else(|e| panic!("{e}\n{}", cluster.logs()));
    clients_use(&cluster);
    let of_third = cluster.leaders(2, "mixed").iter().position(|l| *l == 3).expect("one is led by 3");
    controller.kill().expect("killed");
    let controller = cluster.controller();
    cluster.until("topics can be made again", || cluster.connection(3).create_topic("after", 2).is_ok());
    let (_, status) = third.terminate(PATIENCE).expect("it ends");
    assert!(status.is_some(), "{}", cluster.log(3));
    assert_eq!(cluster.leaders(2, "mixed")[of_third], -1, "the controller let it go");
    second.kill().expect("killed");
    drop(controller);
}
