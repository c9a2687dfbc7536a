//! The cases: what is run, how much of it, and what is taken from it.
//!
//! Every case starts both brokers afresh, lets both warm up on a part of the work (Apache Kafka's compiler needs it),
//! and then measures ours and theirs in turn, round by round.

pub mod client;
mod clients;
mod lifetime;
mod load;
mod tools;

use super::measure::{Quantity, Table};
use super::side::{Contest, Side};

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub rounds: usize,
    /// The work of a full run is divided by this.
    pub divisor: u64,
}

/// A case of the bench.
pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&Contest, Scale, &mut Table) -> Result<(), String>,
}

pub const CASES: &[Case] = &[
    Case {
        name: "produce-1k",
        about: "1 KiB records in batches of 128 KiB, acks=all, 6 partitions, as fast as it goes",
        run: load::produce_1k,
    },
    Case {
        name: "produce-100b",
        about: "100-byte records in batches of 16 KiB, acks=all, 6 partitions, as fast as it goes",
        run: load::produce_100b,
    },
    Case {
        name: "many-partitions",
        about: "10,000 records of 200 bytes a second, each in a batch of its own, over 5,000 partitions; acks=all",
        run: load::many_partitions,
    },
    Case {
        name: "consume-hot",
        about: "1 KiB records that were just produced, 6 partitions, one reader",
        run: load::consume_hot,
    },
    Case {
        name: "consume-cold",
        about: "20,000 records of 1 KiB a second, acks=all, while another reads a log that is in no memory",
        run: load::consume_cold,
    },
    Case {
        name: "latency",
        about: "20,000 records of 1 KiB a second, sent as they are due, acks=all, 6 partitions; after 5 s of warm-up",
        run: load::latency,
    },
    Case {
        name: "sync",
        about: "1 KiB records one to a batch over 100 partitions, each on the device before it is acknowledged: \
                logrun.durability=sync against flush.messages=1",
        run: load::sync,
    },
    Case {
        name: "clients-produce-1k",
        about: "ProducerPerformance: 1 KiB records, batch.size=131072, acks=all, 6 partitions",
        run: |c, s, t| clients::produce(c, s, t, &clients::PRODUCE_1K_ACKSALL),
    },
    Case {
        name: "clients-produce-100b",
        about: "ProducerPerformance: 100-byte records with the producer's default settings, 6 partitions",
        run: |c, s, t| clients::produce(c, s, t, &clients::PRODUCE_100B),
    },
    Case {
        name: "clients-consume",
        about: "ConsumerPerformance: 1 KiB records that were just produced, 6 partitions",
        run: clients::consume_hot,
    },
    Case {
        name: "clients-latency",
        about: "ProducerPerformance: 20,000 records of 1 KiB a second, linger.ms=0, acks=all; after 10 s of warm-up",
        run: clients::latency,
    },
    Case {
        name: "clients-end-to-end",
        about: "EndToEndLatency: one record of 100 bytes at a time, acks=all, from send to poll",
        run: clients::end_to_end,
    },
    Case {
        name: client::PRODUCE_1K.name,
        about: "our client, librdkafka and the Java client on Logrun: 1 KiB records, batch.size=131072, acks=all",
        run: |c, s, t| client::compare(c, s, t, &client::PRODUCE_1K),
    },
    Case {
        name: client::PRODUCE_100B.name,
        about: "our client, librdkafka and the Java client on Logrun: 100-byte records, batch.size=16384, acks=all",
        run: |c, s, t| client::compare(c, s, t, &client::PRODUCE_100B),
    },
    Case {
        name: client::CONSUME_1K.name,
        about: "our client, librdkafka and the Java client on Logrun: 1 KiB records that were just produced",
        run: |c, s, t| client::compare(c, s, t, &client::CONSUME_1K),
    },
    Case {
        name: client::CONSUME_100B.name,
        about: "our client, librdkafka and the Java client on Logrun: 100-byte records that were just produced",
        run: |c, s, t| client::compare(c, s, t, &client::CONSUME_100B),
    },
    Case {
        name: "tools",
        about: "the command line tools, each from being called to having answered, on the same broker",
        run: tools::answer,
    },
    Case {
        name: "memory",
        about: "resident memory: idle after the start, and with 5,000 partitions",
        run: lifetime::memory,
    },
    Case {
        name: "start",
        about: "from exec to the first reply to ApiVersions, and until Metadata lists a live broker; SIGTERM to the end",
        run: lifetime::start,
    },
    Case {
        name: "start-full",
        about: "the same after kill -9 with 13 GB in 5,000 partitions, and until a record is acknowledged",
        run: lifetime::start_full,
    },
];

const GB: f64 = 1e9;
const CPU_PER_GB: Quantity = Quantity::less("broker CPU", "s/GB", 0.01);

/// Runs `measure` on ours and then on theirs.
fn both<T>(
    sides: &mut (Side, Side),
    mut measure: impl FnMut(&mut Side) -> Result<T, String>,
) -> Result<(T, T), String> {
    let ours = measure(&mut sides.0)?;
    Ok((ours, measure(&mut sides.1)?))
}
