//! How fast a broker is there and what it weighs, on an empty directory, after a clean stop and after `kill -9`.
//!
//! The bounds are five times the aim (50 ms to the first reply to ApiVersions, 40 MB resident) and hold for a release
//! build only: a test must not fail because the machine is busy. `cargo xtask bench --only start` gives the numbers.

use std::time::{Duration, Instant};

use logrun_testkit::{Home, Product, Ready, Running, Scratch, logrun_binary, probe};

const PATIENCE: Duration = Duration::from_secs(30);
const ANSWERS_MAX: Duration = Duration::from_millis(5 * 50);
const SERVES_MAX: Duration = Duration::from_millis(1000);
const RESIDENT_BYTES_MAX: u64 = 5 * 40 * 1_000_000;

struct Checked {
    home: Home,
    release: bool,
}

impl Checked {
    fn start(&self, how: &str) -> Running {
        let (running, Ready { answers, serves }) = self.home.start(PATIENCE).unwrap_or_else(|e| panic!("{how}: {e}"));
        let resident = running.resident_bytes().expect("memory");
        println!("{how}: answers after {answers:?}, serves after {serves:?}, {resident} bytes resident");
        if self.release {
            assert!(answers <= ANSWERS_MAX, "{how}: answered only after {answers:?}");
            assert!(serves <= SERVES_MAX, "{how}: served only after {serves:?}");
            assert!(resident <= RESIDENT_BYTES_MAX, "{how}: {resident} bytes resident");
        }
        running
    }
}

/// Checks that SIGTERM ends it properly and within two seconds.
fn stop(checked: &Checked, running: &mut Running) {
    let (took, status) = running.terminate(PATIENCE).expect("SIGTERM ends it");
    println!("SIGTERM: ended after {took:?}");
    assert!(status.is_some_and(|s| s.success()), "SIGTERM: {status:?}\n{}", checked.home.log());
    assert!(!checked.release || took <= Duration::from_secs(2), "SIGTERM took {took:?}");
}

fn checked(scratch: &Scratch) -> Checked {
    let (binary, release) = logrun_binary().expect("a binary");
    let home = Home::new(Product::Logrun(binary), scratch.path(), "").expect("a home");
    Checked { home, release }
}

#[test]
fn a_broker_is_there_at_once_however_it_ended() {
    let scratch = Scratch::new("start").expect("a directory");
    let checked = checked(&scratch);

    let mut running = checked.start("on an empty directory");
    stop(&checked, &mut running);

    let mut running = checked.start("after a clean stop");
    running.kill().expect("kill -9");
    // Apache Kafka would now wait for its former self's registration to expire.
    for _ in 0..3 {
        let mut running = checked.start("after kill -9");
        running.kill().expect("kill -9");
    }
}

#[test]
fn a_thousand_partitions_make_neither_start_nor_stop_slow() {
    let scratch = Scratch::new("start-1000").expect("a directory");
    let checked = checked(&scratch);
    let mut running = checked.start("on an empty directory");
    let soon = Instant::now() + PATIENCE;
    probe::create_topic(checked.home.addr(), "many", 1000, soon).expect("a topic with 1,000 partitions");
    stop(&checked, &mut running);
    let mut running = checked.start("1,000 partitions, after a clean stop");
    running.kill().expect("kill -9");
    let mut running = checked.start("1,000 partitions, after kill -9");
    stop(&checked, &mut running);
}
