//! A broker for a test: Logrun's binary, and Apache Kafka when the ignored tests are run:
//! `KAFKA_JUDGE=... cargo test -p logrun-client --tests -- --ignored`.
#![allow(dead_code, unused_macros, unused_imports)]

use std::time::Duration;

use logrun_client::Config;
use logrun_testkit::{Home, Product, Running, Scratch, judge, logrun_binary};

/// A broker that ends with the test.
pub struct Broker {
    pub home: Home,
    pub running: Running,
    pub is_kafka: bool,
    _dir: Scratch,
}

impl Broker {
    pub fn start(product: Product) -> Self {
        let is_kafka = matches!(product, Product::Kafka(_));
        let dir = Scratch::new("client").expect("a directory");
        let home = Home::new(product, dir.path(), "").expect("a home");
        let (running, _) = home.start(Duration::from_secs(60)).expect("a broker");
        Self { home, running, is_kafka, _dir: dir }
    }

    pub fn config(&self) -> Config {
        Config::new(self.home.bootstrap())
    }
}

/// A test that passes on both brokers.
macro_rules! on_both {
    ($(#[doc = $doc:literal])* $name:ident, $test:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn logrun() {
                support::run_on_logrun($test);
            }

            #[test]
            #[ignore = "needs Apache Kafka"]
            fn kafka() {
                support::run_on_kafka($test);
            }
        }
    };
}

/// A test of what Logrun doesn't serve yet.
macro_rules! on_kafka {
    ($name:ident, $test:expr) => {
        #[test]
        #[ignore = "needs Apache Kafka"]
        fn $name() {
            support::run_on_kafka($test);
        }
    };
}

pub(crate) use {on_both, on_kafka};

pub fn run_on_logrun<F: Future<Output = ()>>(test: impl Fn(Broker) -> F) {
    run(test(Broker::start(Product::Logrun(logrun_binary().expect("a binary").0))));
}

pub fn run_on_kafka<F: Future<Output = ()>>(test: impl Fn(Broker) -> F) {
    run(test(Broker::start(Product::Kafka(judge().expect("Apache Kafka: KAFKA_JUDGE names its script")))));
}

fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(120), test).await.expect("the test hangs");
    });
}

/// What `probe` finds, as soon as it finds something; the test's own timeout ends the wait.
pub async fn eventually<T>(probe: impl AsyncFn() -> Option<T>) -> T {
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
