//! The cases: what is run, how much of it, and what is taken from it.
//!
//! Every case starts both brokers afresh, lets both warm up on a tenth of the work (Apache Kafka's compiler needs
//! it), and then measures ours and theirs in turn, round by round.

use std::time::Duration;

use super::measure::{Quantity, Table};
use super::side::{Contest, Produce, Side};

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
        name: "produce-1k-acks1",
        about: "1 KiB records in batches of 128 KiB, acks=1, 6 partitions, as fast as it goes",
        run: |c, s, t| produce(c, s, t, &PRODUCE_1K_ACKS1),
    },
    Case {
        name: "produce-1k-acksall",
        about: "the same with acks=all",
        run: |c, s, t| produce(c, s, t, &PRODUCE_1K_ACKSALL),
    },
    Case {
        name: "produce-100b",
        about: "100-byte records with the producer's default settings and acks=all, 6 partitions",
        run: |c, s, t| produce(c, s, t, &PRODUCE_100B),
    },
    Case {
        name: "consume-hot",
        about: "1 KiB records that were just produced, 6 partitions, one consumer",
        run: consume_hot,
    },
    Case {
        name: "latency",
        about: "20,000 records of 1 KiB a second, linger.ms=0, acks=all, 6 partitions; after 10 s of warm-up",
        run: latency,
    },
    Case {
        name: "end-to-end",
        about: "one record of 100 bytes at a time, acks=all, from send to poll",
        run: end_to_end,
    },
    Case { name: "memory", about: "resident memory: idle after the start, and with 1,000 partitions", run: memory },
    Case {
        name: "start",
        about: "from exec to the first reply to ApiVersions, and until Metadata lists a live broker; and SIGTERM to the end",
        run: start,
    },
];

const GB: f64 = 1e9;

struct ProduceCase {
    name: &'static str,
    records: u64,
    record_bytes: u64,
    properties: &'static [&'static str],
}

impl ProduceCase {
    fn work<'a>(&self, topic: &'a str, records: u64) -> Produce<'a> {
        let (record_bytes, properties) = (self.record_bytes, self.properties);
        Produce { topic, records, record_bytes, throughput: None, warmup: 0, properties }
    }
}

const PRODUCE_1K_ACKS1: ProduceCase = ProduceCase {
    name: "produce-1k-acks1",
    records: 2_000_000,
    record_bytes: 1024,
    properties: &["acks=1", "batch.size=131072"],
};
const PRODUCE_1K_ACKSALL: ProduceCase = ProduceCase {
    name: "produce-1k-acksall",
    records: 2_000_000,
    record_bytes: 1024,
    properties: &["acks=all", "batch.size=131072"],
};
const PRODUCE_100B: ProduceCase =
    ProduceCase { name: "produce-100b", records: 10_000_000, record_bytes: 100, properties: &["acks=all"] };

const CPU_PER_GB: Quantity = Quantity::less("broker CPU", "s/GB", 0.01);

/// Runs `measure` on ours and then on theirs.
fn both<T>(
    sides: &mut (Side, Side),
    mut measure: impl FnMut(&mut Side) -> Result<T, String>,
) -> Result<(T, T), String> {
    let ours = measure(&mut sides.0)?;
    Ok((ours, measure(&mut sides.1)?))
}

fn produce(contest: &Contest, scale: Scale, table: &mut Table, case: &ProduceCase) -> Result<(), String> {
    let mut sides = contest.start("")?;
    let records = case.records / scale.divisor;
    let run = |side: &mut Side, topic: &str, records: u64| {
        side.create(topic, 6)?;
        let measured = side.with_cpu(|s| s.produce(&case.work(topic, records)))?;
        side.delete(topic)?;
        Ok(measured)
    };
    both(&mut sides, |s| run(s, "warm-up", records / 10))?;
    let gb = (records * case.record_bytes) as f64 / GB;
    for round in 0..scale.rounds {
        let topic = format!("round-{round}");
        let ((ours, our_cpu), (theirs, their_cpu)) = both(&mut sides, |s| run(s, &topic, records))?;
        let mut add = |quantity, a, b| table.add(case.name, quantity, a, b);
        if case.record_bytes >= 1024 {
            add(Quantity::more("throughput", "MiB/s"), ours.mib_per_second, theirs.mib_per_second);
        } else {
            add(Quantity::more("throughput", "records/s"), ours.records_per_second, theirs.records_per_second);
        }
        add(CPU_PER_GB, our_cpu / gb, their_cpu / gb);
    }
    Ok(())
}

fn consume_hot(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    let mut sides = contest.start("")?;
    let records = 3_000_000 / scale.divisor;
    let work = Produce {
        topic: "hot",
        records,
        record_bytes: 1024,
        throughput: None,
        warmup: 0,
        properties: &["acks=1", "batch.size=131072"],
    };
    both(&mut sides, |s| {
        s.create("hot", 6)?;
        s.produce(&work)?;
        s.consume("hot", records / 10)
    })?;
    for _ in 0..scale.rounds {
        let ((ours, our_cpu), (theirs, their_cpu)) = both(&mut sides, |s| s.with_cpu(|s| s.consume("hot", records)))?;
        let name = "consume-hot";
        let rate = Quantity::more("throughput", "MiB/s");
        table.add(name, rate, ours.fetch_mib_per_second, theirs.fetch_mib_per_second);
        let gb = |mib: f64| mib * f64::from(1 << 20) / GB;
        table.add(name, CPU_PER_GB, our_cpu / gb(ours.mib), their_cpu / gb(theirs.mib));
    }
    Ok(())
}

fn latency(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    const PER_SECOND: u64 = 20_000;
    let mut sides = contest.start("")?;
    let warmup = 10 * PER_SECOND / scale.divisor;
    let records = 40 * PER_SECOND / scale.divisor;
    let work = |topic, records, warmup| Produce {
        topic,
        records,
        record_bytes: 1024,
        throughput: Some(PER_SECOND),
        warmup,
        properties: &["acks=all", "linger.ms=0"],
    };
    both(&mut sides, |s| {
        s.create("steady", 6)?;
        s.produce(&work("steady", warmup, 0))
    })?;
    for _ in 0..scale.rounds {
        let run = |s: &mut Side| s.with_cpu(|s| s.produce(&work("steady", records, warmup)));
        let ((ours, our_cpu), (theirs, their_cpu)) = both(&mut sides, run)?;
        let name = "latency";
        // The program rounds percentiles to whole milliseconds.
        table.add(name, Quantity::less("mean", "ms", 0.01), ours.mean_ms, theirs.mean_ms);
        table.add(name, Quantity::less("p50", "ms", 1.0), ours.p50_ms, theirs.p50_ms);
        table.add(name, Quantity::less("p99", "ms", 1.0), ours.p99_ms, theirs.p99_ms);
        table.add(name, Quantity::less("p99.9", "ms", 1.0), ours.p999_ms, theirs.p999_ms);
        let gb = (records * 1024) as f64 / GB;
        table.add(name, CPU_PER_GB, our_cpu / gb, their_cpu / gb);
    }
    Ok(())
}

fn end_to_end(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    let mut sides = contest.start("")?;
    let records = 10_000 / scale.divisor;
    both(&mut sides, |s| {
        s.create("one", 1)?;
        s.end_to_end("one", records / 2, 100)
    })?;
    for _ in 0..scale.rounds {
        let (ours, theirs) = both(&mut sides, |s| s.end_to_end("one", records, 100))?;
        let name = "end-to-end";
        table.add(name, Quantity::less("mean", "ms", 0.001), ours.mean_ms, theirs.mean_ms);
        table.add(name, Quantity::less("p50", "ms", 1.0), ours.p50_ms, theirs.p50_ms);
        table.add(name, Quantity::less("p99", "ms", 1.0), ours.p99_ms, theirs.p99_ms);
        table.add(name, Quantity::less("p99.9", "ms", 1.0), ours.p999_ms, theirs.p999_ms);
    }
    Ok(())
}

/// Long enough for what a start leaves to be done in the background.
const SETTLE: Duration = Duration::from_secs(3);

fn memory(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    for _ in 0..scale.rounds {
        let mut sides = contest.start("")?;
        std::thread::sleep(SETTLE);
        let (ours, theirs) = both(&mut sides, |s| s.resident_mib())?;
        table.add("memory", Quantity::less("idle", "MiB", 0.1), ours, theirs);
        both(&mut sides, |s| s.create("many", 1000))?;
        std::thread::sleep(SETTLE);
        let (ours, theirs) = both(&mut sides, |s| s.resident_mib())?;
        table.add("memory", Quantity::less("1,000 partitions", "MiB", 0.1), ours, theirs);
    }
    Ok(())
}

fn start(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    const RECORDS: u64 = 1_000_000;
    const CLEAN: Restart = Restart { kill: false, quantities: ["stop", "clean, answers", "clean, serves"] };
    const KILLED: Restart = Restart { kill: true, quantities: ["", "after kill -9, answers", "after kill -9, serves"] };
    const MANY_CLEAN: Restart = Restart {
        kill: false,
        quantities: ["1,000 partitions: stop", "1,000 partitions: clean, answers", "1,000 partitions: clean, serves"],
    };
    const MANY_KILLED: Restart = Restart {
        kill: true,
        quantities: ["", "1,000 partitions: after kill -9, answers", "1,000 partitions: after kill -9, serves"],
    };
    let mut sides = contest.start("")?;
    for _ in 0..scale.rounds {
        CLEAN.measure(&mut sides, table)?;
        KILLED.measure(&mut sides, table)?;
    }
    both(&mut sides, |s| {
        s.create("many", 1000)?;
        let work = Produce {
            topic: "many",
            records: RECORDS / scale.divisor,
            record_bytes: 1000,
            throughput: None,
            warmup: 0,
            properties: &["acks=1"],
        };
        s.produce(&work)
    })?;
    for _ in 0..scale.rounds {
        MANY_KILLED.measure(&mut sides, table)?;
        MANY_CLEAN.measure(&mut sides, table)?;
    }
    for _ in 0..scale.rounds {
        let sides = contest.start("")?;
        let ms = |s: &Side| s.first.serves.as_secs_f64() * 1000.0;
        table.add("start", Quantity::less("from nothing, serves", "ms", 0.1), ms(&sides.0), ms(&sides.1));
    }
    Ok(())
}

/// A restart and what is measured in it: the stop (unless it is killed), the first answer, the first service.
struct Restart {
    kill: bool,
    quantities: [&'static str; 3],
}

impl Restart {
    fn measure(&self, sides: &mut (Side, Side), table: &mut Table) -> Result<(), String> {
        let (ours, theirs) = both(sides, |s| s.restart(self.kill))?;
        let [stop, answers, serves] = self.quantities;
        let mut add = |name, ours: Duration, theirs: Duration| {
            let ms = |d: Duration| d.as_secs_f64() * 1000.0;
            table.add("start", Quantity::less(name, "ms", 0.1), ms(ours), ms(theirs));
        };
        if !self.kill {
            add(stop, ours.0, theirs.0);
        }
        add(answers, ours.1.answers, theirs.1.answers);
        add(serves, ours.1.serves, theirs.1.serves);
        Ok(())
    }
}
