//! Apache Kafka's own programs as clients of both brokers: the cross-check of the cases in `load`, with clients that
//! people really use. On two cores the client takes most of the machine.

use super::{CPU_PER_GB, GB, Scale, both};
use crate::bench::measure::{Quantity, Table};
use crate::bench::side::{Contest, Produce, Side};

pub struct ProduceCase {
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

pub const PRODUCE_1K_ACKSALL: ProduceCase =
    ProduceCase { records: 2_000_000, record_bytes: 1024, properties: &["acks=all", "batch.size=131072"] };
pub const PRODUCE_100B: ProduceCase = ProduceCase { records: 10_000_000, record_bytes: 100, properties: &["acks=all"] };

pub fn produce(contest: &Contest, scale: Scale, table: &mut Table, case: &ProduceCase) -> Result<(), String> {
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
        if case.record_bytes >= 1024 {
            table.add(Quantity::more("throughput", "MiB/s"), ours.mib_per_second, theirs.mib_per_second);
        } else {
            table.add(Quantity::more("throughput", "records/s"), ours.records_per_second, theirs.records_per_second);
        }
        table.add(CPU_PER_GB, our_cpu / gb, their_cpu / gb);
    }
    Ok(())
}

pub fn consume_hot(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    let mut sides = contest.start("")?;
    let records = 2_000_000 / scale.divisor;
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
        let rate = Quantity::more("throughput", "MiB/s");
        table.add(rate, ours.fetch_mib_per_second, theirs.fetch_mib_per_second);
        let gb = |mib: f64| mib * f64::from(1 << 20) / GB;
        table.add(CPU_PER_GB, our_cpu / gb(ours.mib), their_cpu / gb(theirs.mib));
    }
    Ok(())
}

pub fn latency(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    const PER_SECOND: u64 = 20_000;
    let mut sides = contest.start("")?;
    let warmup = 10 * PER_SECOND / scale.divisor;
    let records = 30 * PER_SECOND / scale.divisor;
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
        // The program rounds percentiles to whole milliseconds.
        table.add(Quantity::less("mean", "ms", 0.01), ours.mean_ms, theirs.mean_ms);
        table.add(Quantity::less("p50", "ms", 1.0), ours.p50_ms, theirs.p50_ms);
        table.add(Quantity::less("p99", "ms", 1.0), ours.p99_ms, theirs.p99_ms);
        table.add(Quantity::less("p99.9", "ms", 1.0), ours.p999_ms, theirs.p999_ms);
        let gb = (records * 1024) as f64 / GB;
        table.add(CPU_PER_GB, our_cpu / gb, their_cpu / gb);
    }
    Ok(())
}

pub fn end_to_end(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    let mut sides = contest.start("")?;
    let records = 10_000 / scale.divisor;
    both(&mut sides, |s| {
        s.create("one", 1)?;
        s.end_to_end("one", records / 2, 100)
    })?;
    for _ in 0..scale.rounds {
        let (ours, theirs) = both(&mut sides, |s| s.end_to_end("one", records, 100))?;
        table.add(Quantity::less("mean", "ms", 0.001), ours.mean_ms, theirs.mean_ms);
        table.add(Quantity::less("p50", "ms", 1.0), ours.p50_ms, theirs.p50_ms);
        table.add(Quantity::less("p99", "ms", 1.0), ours.p99_ms, theirs.p99_ms);
        table.add(Quantity::less("p99.9", "ms", 1.0), ours.p999_ms, theirs.p999_ms);
    }
    Ok(())
}
