//! How fast a broker is there and what it weighs, on an empty directory, after a clean stop and after `kill -9`.
//!
//! The bounds are five times the aim (50 ms to the first reply to ApiVersions, 40 MB resident) and hold for a release
//! build only: a test must not fail because the machine is busy. `cargo xtask bench --only start` gives the numbers.

use std::time::Duration;

use logrun_testkit::{Home, Product, Ready, Running, Scratch, logrun_binary};

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

#[test]
fn a_broker_is_there_at_once_however_it_ended() {
    let (binary, release) = logrun_binary().expect("a binary");
    let scratch = Scratch::new("start").expect("a directory");
    let home = Home::new(Product::Logrun(binary), scratch.path(), "").expect("a home");
    let checked = Checked { home, release };

    let mut running = checked.start("on an empty directory");
    let (took, status) = running.terminate(PATIENCE).expect("SIGTERM ends it");
    assert!(status.is_some_and(|s| s.success()), "SIGTERM: {status:?}\n{}", checked.home.log());
    assert!(!release || took <= Duration::from_secs(2), "SIGTERM took {took:?}");

    let mut running = checked.start("after a clean stop");
    running.kill().expect("kill -9");
    // Apache Kafka would now wait for its former self's registration to expire.
    for _ in 0..3 {
        let mut running = checked.start("after kill -9");
        running.kill().expect("kill -9");
    }
}
