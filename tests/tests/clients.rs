//! The client matrix: foreign clients, installed from their registries, against a Logrun of their own. What is asked of
//! them is in `tests/clients/scenario.toml`, who judges is `tests/clients/run.py`; this only starts the broker.
//!
//! Ignored unless asked for (`cargo test -p logrun-tests --test clients -- --ignored --nocapture`): the set-up needs the
//! registries, and the matrix takes minutes.

use std::time::Duration;

use logrun_testkit::{Home, Scratch};
use logrun_tests::{here, logrun, script};

#[test]
#[ignore = "installs eleven clients and takes minutes"]
fn every_client_goes_through_every_scenario() {
    assert!(script(&here().join("clients/setup.sh"), &[]), "tests/clients/setup.sh failed");
    let scratch = Scratch::new("clients").expect("a directory");
    let home = Home::new(logrun(), scratch.path(), "num.partitions=4\n").expect("a home");
    let (mut running, _) = home.start(Duration::from_secs(30)).unwrap_or_else(|e| panic!("{e}"));
    let passed = script(&here().join("clients/run.py"), &[&home.bootstrap(), "--no-setup", "--tools", "--text"]);
    let (took, status) = running.terminate(Duration::from_secs(30)).expect("SIGTERM ends it");
    assert!(passed, "the matrix above has failures; the end of the broker's log:\n{}", tail(&home.log()));
    assert!(status.is_some_and(|s| s.success()), "after {took:?} the broker ended with {status:?}");
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
