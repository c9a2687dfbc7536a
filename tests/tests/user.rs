//! What somebody sees who runs Logrun for the first time and has something in the way: one clear sentence with the
//! thing in it, an exit code that says whose fault it is (2 for the command line, 1 for the rest), no backtrace.
//!
//! The sentences are looked at loosely: a word may change, what a person needs to know may not go missing.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use logrun_testkit::command::{Ended, run};
use logrun_testkit::{Home, Product, Running, Scratch, exit_code, free_port_pair, logrun_binary};

const PATIENCE: Duration = Duration::from_secs(20);

fn logrun(dir: &Path) -> Command {
    let mut command = Command::new(logrun_binary().expect("a binary").0);
    command.current_dir(dir);
    // What the tests were started with must not configure the broker.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KAFKA_") || name == "CLUSTER_ID" {
            command.env_remove(name);
        }
    }
    command
}

fn ends(args: &[&str]) -> Ended {
    let scratch = Scratch::new("user").expect("a directory");
    run(logrun(scratch.path()).args(args), scratch.path(), PATIENCE).expect("it ends")
}

/// Where it listens, as `--set` wants it.
fn listeners(port: u16) -> String {
    format!("listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{}", port + 1)
}

fn serve(dir: &Path, port: u16, more: &[&str]) -> Command {
    let mut command = logrun(dir);
    command.args(["serve", "--set", &listeners(port), "--data"]).arg(dir.join("data")).args(more);
    command
}

/// `serve` that can't: gives what it says.
fn refused(dir: &Path, command: &mut Command) -> Ended {
    run(command, dir, PATIENCE).expect("it ends")
}

fn assert_clear(ended: &Ended, code: i32, parts: &[&str]) {
    let said = ended.said();
    assert_eq!(ended.code, code, "{said}");
    assert!(!said.contains("panicked") && !said.contains("stack backtrace"), "{said}");
    let lower = said.to_lowercase();
    for part in parts {
        assert!(lower.contains(&part.to_lowercase()), "`{part}` is missing in: {said}");
    }
}

struct Serving {
    home: Home,
    running: Running,
    scratch: Scratch,
}

fn serving() -> Serving {
    let scratch = Scratch::new("user").expect("a directory");
    let binary = logrun_binary().expect("a binary").0;
    let home = Home::new(Product::Logrun(binary), scratch.path(), "").expect("a home");
    let (running, _) = home.start(PATIENCE).expect("it starts");
    Serving { home, running, scratch }
}

#[test]
fn a_port_in_use_is_named() {
    let scratch = Scratch::new("user").expect("a directory");
    let port = free_port_pair().expect("ports");
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("bind");
    let ended = refused(scratch.path(), &mut serve(scratch.path(), port, &[]));
    assert_clear(&ended, 1, &[&port.to_string(), "in use"]);
}

#[test]
fn a_directory_in_use_is_named() {
    let one = serving();
    let data = one.home.data();
    let port = free_port_pair().expect("ports");
    let mut other = logrun(one.scratch.path());
    other.args(["serve", "--set", &listeners(port), "--data"]).arg(&data);
    let ended = refused(one.scratch.path(), &mut other);
    assert_clear(&ended, 1, &[&data.to_string_lossy(), "another"]);
    let mut running = one.running;
    running.terminate(PATIENCE).expect("the first one was not disturbed");
}

/// A place that cannot be written to, even by root.
fn unwritable(scratch: &Scratch) -> PathBuf {
    let closed = scratch.join("closed");
    fs::create_dir(&closed).expect("mkdir");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("chmod");
    let inside = closed.join("data");
    match fs::create_dir(&inside) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => inside,
        _ => PathBuf::from("/proc/logrun-data"),
    }
}

#[test]
fn a_directory_that_cannot_be_written_to_is_named() {
    let scratch = Scratch::new("user").expect("a directory");
    let data = unwritable(&scratch);
    let port = free_port_pair().expect("ports");
    let mut command = logrun(scratch.path());
    command.args(["serve", "--set", &listeners(port), "--data"]).arg(&data);
    assert_clear(&refused(scratch.path(), &mut command), 1, &[&data.to_string_lossy()]);
}

#[test]
fn a_directory_of_another_cluster_or_node_is_refused() {
    let one = serving();
    let mut running = one.running;
    running.terminate(PATIENCE).expect("it ends");
    let data = one.home.data();
    let meta = fs::read_to_string(data.join("meta.properties")).expect("meta.properties");
    let own = meta.lines().find_map(|l| l.strip_prefix("cluster.id=")).expect("cluster.id").to_owned();

    let port = free_port_pair().expect("ports");
    let mut command = logrun(one.scratch.path());
    command.args(["serve", "--set", &listeners(port), "--data"]).arg(&data).env("CLUSTER_ID", "AAAAAAAAAAAAAAAAAAAAAQ");
    assert_clear(&refused(one.scratch.path(), &mut command), 1, &["AAAAAAAAAAAAAAAAAAAAAQ", &own, "cluster"]);

    let mut command = logrun(one.scratch.path());
    command.args(["serve", "--set", &listeners(port), "--set", "node.id=7", "--data"]).arg(&data);
    assert_clear(&refused(one.scratch.path(), &mut command), 1, &["node.id", "7"]);
}

#[test]
fn a_misspelt_key_is_answered_with_the_right_one() {
    let ended = ends(&["serve", "--set", "log.retention.hour=1"]);
    assert_clear(&ended, 2, &["log.retention.hour", "did you mean", "log.retention.hours"]);
    let ended = ends(&["serve", "--set", "offset.retention.minutees=1"]);
    assert_clear(&ended, 2, &["did you mean", "offsets.retention.minutes"]);
}

#[test]
fn a_value_that_cannot_be_is_named_with_its_key() {
    let ended = ends(&["serve", "--set", "num.partitions=many"]);
    assert!((1..=2).contains(&ended.code));
    assert_clear(&ended, ended.code, &["num.partitions", "many"]);
    let ended = ends(&["serve", "--set", "no-equals-sign"]);
    assert_clear(&ended, 2, &["no-equals-sign"]);
}

#[test]
fn a_missing_configuration_file_is_named() {
    let ended = ends(&["serve", "--config", "not/there.properties"]);
    assert!((1..=2).contains(&ended.code));
    assert_clear(&ended, ended.code, &["not/there.properties"]);
}

#[test]
fn help_and_version_are_there() {
    let help = ends(&["--help"]);
    assert_clear(&help, 0, &["serve", "usage"]);
    let version = ends(&["--version"]);
    assert_clear(&version, 0, &["logrun", env!("CARGO_PKG_VERSION")]);
    assert_clear(&ends(&["sreve"]), 2, &["sreve"]);
}

#[test]
fn sigterm_and_ctrl_c_end_it_within_two_seconds() {
    let Serving { mut running, home, scratch: _scratch } = serving();
    let (took, status) = running.terminate(PATIENCE).expect("it ends");
    assert!(took < Duration::from_secs(2), "SIGTERM took {took:?}");
    assert_eq!(status.map(exit_code), Some(0), "{}", home.log());

    let (mut running, _) = home.start(PATIENCE).expect("it starts again");
    let (took, status) = running.interrupt(PATIENCE).expect("it ends");
    assert!(took < Duration::from_secs(2), "Ctrl-C took {took:?}");
    assert!(matches!(status.map(exit_code), Some(0 | 130)), "{status:?}\n{}", home.log());
}

#[test]
fn ephemeral_keeps_nothing() {
    let scratch = Scratch::new("user").expect("a directory");
    let port = free_port_pair().expect("ports");
    let mut command = logrun(scratch.path());
    command.args(["serve", "--ephemeral", "--set", &listeners(port)]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("spawn");
    let mut running = Running::of(child, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    running.wait_ready(PATIENCE).expect("it serves");
    running.terminate(PATIENCE).expect("it ends");
    let left: Vec<_> = fs::read_dir(scratch.path()).expect("list").flatten().map(|e| e.file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}
