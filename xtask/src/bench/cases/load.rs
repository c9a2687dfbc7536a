//! Workloads by a generator whose own cost is small beside a broker's (`crates/testkit` `load/`).

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logrun_testkit::load::{Consume, Load, Pace, Produced};

use super::{CPU_PER_GB, GB, Scale, both};
use crate::bench::measure::{Quantity, Table};
use crate::bench::side::{Contest, Side};

/// As a client that is never short of batches: one for each partition in a request, five requests on their way.
fn flat(topic: &str, batch_records: u32, value_bytes: usize, records: u64) -> Load<'_> {
    const PARTITIONS: u32 = 6;
    let requests = records / u64::from(PARTITIONS * batch_records);
    Load {
        topic,
        partitions: PARTITIONS,
        value_bytes,
        acks: -1,
        in_flight: 5,
        connections: 2,
        pace: Pace::Flat { requests, batches: PARTITIONS, batch_records },
        warm_up: Duration::ZERO,
    }
}

/// 128 KiB.
fn flat_1k(topic: &str, records: u64) -> Load<'_> {
    flat(topic, 126, 1024, records)
}

fn throughput(
    contest: &Contest,
    scale: Scale,
    table: &mut Table,
    records: u64,
    load: impl Fn(&str, u64) -> Load<'_>,
) -> Result<(), String> {
    let mut sides = contest.start("")?;
    let records = records / scale.divisor;
    let run = |side: &mut Side, topic: &str, records: u64| {
        side.create_now(topic, 6)?;
        let measured = side.with_cpu(|s| s.load(&load(topic, records)))?;
        side.delete(topic)?;
        Ok(measured)
    };
    both(&mut sides, |s| run(s, "warm-up", records / 4))?;
    for round in 0..scale.rounds {
        let topic = format!("round-{round}");
        let ((ours, our_cpu), (theirs, their_cpu)) = both(&mut sides, |s| run(s, &topic, records))?;
        let mut add = |quantity, of: &dyn Fn(&Produced, f64) -> f64| {
            table.add(quantity, of(&ours, our_cpu), of(&theirs, their_cpu));
        };
        add(Quantity::more("throughput", "MiB/s"), &|p, _| p.mib_per_second());
        add(Quantity::more("records", "1/s"), &|p, _| p.records_per_second());
        add(CPU_PER_GB, &|p, cpu| cpu / (p.bytes as f64 / GB));
        add(Quantity::less("broker CPU per record", "µs", 0.001), &|p, cpu| cpu * 1e6 / p.records as f64);
    }
    Ok(())
}

pub fn produce_1k(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    throughput(contest, scale, table, 2_000_000, flat_1k)
}

pub fn produce_100b(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    // 16 KiB, the default batch.size, of 100-byte records.
    throughput(contest, scale, table, 10_000_000, |topic, records| flat(topic, 150, 100, records))
}

/// Adds what a load at a given pace shows.
fn add_paced(table: &mut Table, (ours, theirs): ((Produced, f64), (Produced, f64))) {
    const FRACTIONS: [f64; 3] = [0.5, 0.99, 0.999];
    let (a, b) = (ours.0.latencies.at_ms(FRACTIONS), theirs.0.latencies.at_ms(FRACTIONS));
    table.add(Quantity::less("mean", "ms", 0.001), ours.0.latencies.mean_ms(), theirs.0.latencies.mean_ms());
    for (i, percentile) in ["p50", "p99", "p99.9"].into_iter().enumerate() {
        table.add(Quantity::less(percentile, "ms", 0.001), a[i], b[i]);
    }
    let cores = |p: &(Produced, f64)| p.1 / p.0.elapsed.as_secs_f64();
    table.add(Quantity::less("broker CPU", "cores", 0.001), cores(&ours), cores(&theirs));
}

pub fn many_partitions(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    const PARTITIONS: u32 = 5_000;
    let mut sides = contest.start("")?;
    both(&mut sides, |s| s.create_now("many", PARTITIONS as i32))?;
    let load = |seconds: u64, warm_up: u64| Load {
        topic: "many",
        partitions: PARTITIONS,
        value_bytes: 200,
        acks: -1,
        in_flight: 5,
        connections: 2,
        pace: Pace::Spread { per_second: 10_000, time: Duration::from_secs(seconds), linger: Duration::from_millis(5) },
        warm_up: Duration::from_secs(warm_up),
    };
    both(&mut sides, |s| s.load(&load(8, 0)))?;
    for _ in 0..scale.rounds {
        let seconds = (20 / scale.divisor).max(3);
        let measured = both(&mut sides, |s| s.with_cpu(|s| s.load(&load(seconds, 1))))?;
        add_paced(table, measured);
    }
    Ok(())
}

pub fn consume_hot(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    let mut sides = contest.start("")?;
    let records = 2_000_000 / scale.divisor;
    let whole = flat_1k("hot", records);
    let consume = |s: &Side, records| s.consume_now(&Consume::new("hot", 6, records), || false);
    let made = both(&mut sides, |s| {
        s.create_now("hot", 6)?;
        let made = s.load(&whole)?;
        consume(s, made.records / 2)?;
        Ok(made.records)
    })?;
    for _ in 0..scale.rounds {
        let ((ours, our_cpu), (theirs, their_cpu)) =
            both(&mut sides, |s| s.with_cpu(|s| consume(s, made.0.min(made.1))))?;
        let gb = |bytes: u64| bytes as f64 / GB;
        let rate = |c: &logrun_testkit::load::Consumed| c.bytes as f64 / f64::from(1 << 20) / c.elapsed.as_secs_f64();
        table.add(Quantity::more("throughput", "MiB/s"), rate(&ours), rate(&theirs));
        table.add(CPU_PER_GB, our_cpu / gb(ours.bytes), their_cpu / gb(theirs.bytes));
    }
    Ok(())
}

fn steady(topic: &str, seconds: u64, warm_up: u64) -> Load<'_> {
    Load {
        topic,
        partitions: 6,
        value_bytes: 1024,
        acks: -1,
        in_flight: 5,
        connections: 1,
        pace: Pace::Stacked { per_second: 20_000, time: Duration::from_secs(seconds) },
        warm_up: Duration::from_secs(warm_up),
    }
}

pub fn consume_cold(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    let mut sides = contest.start("")?;
    let records = 4_000_000 / scale.divisor;
    both(&mut sides, |s| {
        s.create_now("cold", 6)?;
        s.create_now("steady", 6)?;
        s.load(&flat_1k("cold", records))
    })?;
    for _ in 0..scale.rounds {
        let run = |s: &mut Side| {
            // What was written and read is neither in the broker's memory nor in the system's.
            s.restart(false)?;
            s.load(&steady("steady", 4, 0))?;
            forget_page_cache()?;
            let seconds = (15 / scale.divisor).max(3);
            let done = AtomicBool::new(false);
            s.with_cpu(|s| {
                std::thread::scope(|scope| {
                    let reader = scope.spawn(|| {
                        let all = Consume::new("cold", 6, records * 9 / 10);
                        let mut bytes = 0;
                        while !done.load(Ordering::Relaxed) {
                            bytes += s.consume_now(&all, || done.load(Ordering::Relaxed))?.bytes;
                        }
                        Ok::<_, String>(bytes)
                    });
                    let produced = s.load(&steady("steady", seconds, 0));
                    done.store(true, Ordering::Relaxed);
                    let read = reader.join().map_err(|_| "the reader panicked".to_owned())??;
                    Ok((produced?, read))
                })
            })
        };
        let (((ours, our_read), our_cpu), ((theirs, their_read), their_cpu)) = both(&mut sides, run)?;
        let rate = |bytes: u64, p: &Produced| bytes as f64 / f64::from(1 << 20) / p.elapsed.as_secs_f64();
        let (a, b) = (rate(our_read, &ours), rate(their_read, &theirs));
        table.add(Quantity::more("read beside it", "MiB/s"), a, b);
        add_paced(table, ((ours, our_cpu), (theirs, their_cpu)));
    }
    Ok(())
}

/// Writes back and drops what the system keeps of files; needs root.
fn forget_page_cache() -> Result<(), String> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "1").map_err(|e| format!("a cold log needs an empty page cache: {e}"))
}

pub fn latency(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    let mut sides = contest.start("")?;
    both(&mut sides, |s| {
        s.create_now("steady", 6)?;
        s.load(&steady("steady", 10, 0))
    })?;
    for _ in 0..scale.rounds {
        let seconds = (25 / scale.divisor).max(7);
        let measured = both(&mut sides, |s| s.with_cpu(|s| s.load(&steady("steady", seconds, 5))))?;
        add_paced(table, measured);
    }
    Ok(())
}

pub fn sync(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    let mut sides = contest.start_as("logrun.durability=sync", "log.flush.interval.messages=1")?;
    let load = |requests: u64| Load {
        topic: "sync",
        partitions: 100,
        value_bytes: 1024,
        acks: -1,
        in_flight: 5,
        connections: 4,
        pace: Pace::Flat { requests, batches: 10, batch_records: 1 },
        warm_up: Duration::ZERO,
    };
    both(&mut sides, |s| {
        s.create_now("sync", 100)?;
        s.load(&load(500))
    })?;
    for _ in 0..scale.rounds {
        let measured = both(&mut sides, |s| s.with_cpu(|s| s.load(&load(4_000 / scale.divisor))))?;
        let ((ours, our_cpu), (theirs, their_cpu)) = measured;
        let records = Quantity::more("records", "1/s");
        table.add(records, ours.records_per_second(), theirs.records_per_second());
        let each = |p: &Produced, cpu: f64| cpu * 1e6 / p.records as f64;
        let quantity = Quantity::less("broker CPU per record", "µs", 0.1);
        table.add(quantity, each(&ours, our_cpu), each(&theirs, their_cpu));
        let p99 = |p: &Produced| p.latencies.at_ms([0.99])[0];
        table.add(Quantity::less("p99", "ms", 0.001), p99(&ours), p99(&theirs));
    }
    Ok(())
}
