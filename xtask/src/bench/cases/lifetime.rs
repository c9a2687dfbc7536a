//! What a broker costs while it does nothing, and how long it takes to be there again.

use std::time::{Duration, Instant};

use logrun_testkit::load::{Load, Pace};

use super::{Scale, both};
use crate::bench::measure::{Quantity, Table};
use crate::bench::side::{Contest, Produce, Side};

/// Long enough for what a start leaves to be done in the background.
const SETTLE: Duration = Duration::from_secs(3);

pub fn memory(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    for _ in 0..scale.rounds {
        let mut sides = contest.start("")?;
        std::thread::sleep(SETTLE);
        let (ours, theirs) = both(&mut sides, |s| s.resident_mib())?;
        table.add(Quantity::less("idle", "MiB", 0.1), ours, theirs);
        both(&mut sides, |s| s.create_now("many", 5000))?;
        std::thread::sleep(SETTLE);
        let (ours, theirs) = both(&mut sides, |s| s.resident_mib())?;
        table.add(Quantity::less("5,000 partitions", "MiB", 0.1), ours, theirs);
    }
    Ok(())
}

pub fn start(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
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
        table.add(Quantity::less("from nothing, serves", "ms", 0.1), ms(&sides.0), ms(&sides.1));
    }
    Ok(())
}

pub fn start_full(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    const PARTITIONS: u32 = 5_000;
    const BYTES: u64 = 13_000_000_000;
    // One after the other: the disk need not hold both.
    let measure = |side: Side| {
        let mut side = side;
        side.create_now("full", PARTITIONS as i32)?;
        let (batches, batch_records) = (20, 126);
        let request_bytes = u64::from(batches * batch_records) * 1024;
        let load = |requests| Load {
            topic: "full",
            partitions: PARTITIONS,
            value_bytes: 1024,
            acks: -1,
            in_flight: 5,
            connections: 2,
            pace: Pace::Flat { requests, batches, batch_records },
            warm_up: Duration::ZERO,
        };
        side.load(&load(BYTES / request_bytes / scale.divisor))?;
        let (_, ready) = side.restart(true)?;
        // 40 of the partitions, by requests of 20; a broker that serves may not know yet what it leads.
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(e) = side.load(&load(2)) {
            if Instant::now() > deadline {
                return Err(e);
            }
        }
        Ok::<_, String>((ready, side.since_start()?))
    };
    let (ours, theirs) = contest.start("")?;
    let ours = measure(ours)?;
    let theirs = measure(theirs)?;
    let ms = |d: Duration| d.as_secs_f64() * 1000.0;
    let mut add = |name, a, b| table.add(Quantity::less(name, "ms", 0.1), ms(a), ms(b));
    add("answers", ours.0.answers, theirs.0.answers);
    add("serves", ours.0.serves, theirs.0.serves);
    add("40 partitions acknowledge", ours.1, theirs.1);
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
            table.add(Quantity::less(name, "ms", 0.1), ms(ours), ms(theirs));
        };
        if !self.kill {
            add(stop, ours.0, theirs.0);
        }
        add(answers, ours.1.answers, theirs.1.answers);
        add(serves, ours.1.serves, theirs.1.serves);
        Ok(())
    }
}
