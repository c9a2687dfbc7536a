//! `logrun-sim`: runs seeds and says which one fails. `cargo xtask sim` builds and calls it.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use logrun_sim::{Outcome, Stats};

const USAGE: &str = "\
usage: cargo xtask sim --seed N                            replay one seed, every event printed
       cargo xtask sim --seeds COUNT [--start FIRST] [--twice] [--all]
                                                           run many, on all processors; end at the first that fails
       --all   goes on and tells of every seed that fails
       --twice runs each seed twice and compares the traces";

#[derive(Clone, Copy)]
enum Job {
    One(u64),
    Many { first: u64, count: u64, twice: bool, all: bool },
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match job(&args) {
        Some(Job::One(seed)) => one(seed),
        Some(Job::Many { first, count, twice, all }) => many(first, count, twice, all),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn job(args: &[String]) -> Option<Job> {
    let (mut seed, mut count, mut first, mut twice, mut all) = (None, None, 0, false, false);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let mut number = || args.next()?.parse::<u64>().ok();
        match arg {
            "--seed" => seed = Some(number()?),
            "--seeds" => count = Some(number()?),
            "--start" => first = number()?,
            "--twice" => twice = true,
            "--all" => all = true,
            _ => return None,
        }
    }
    match (seed, count) {
        (Some(seed), None) => Some(Job::One(seed)),
        (None, Some(count)) => Some(Job::Many { first, count, twice, all }),
        _ => None,
    }
}

fn one(seed: u64) -> ExitCode {
    // What the node says for people, among the events: RUST_LOG=debug for more.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).without_time().init();
    let outcome = logrun_sim::seed(seed, Some(Box::new(|line| println!("{line}"))));
    println!(
        "{} events in {:.3} s of virtual time: {}",
        outcome.events,
        outcome.virtual_ms as f64 / 1e3,
        outcome.stats
    );
    println!("trace {:016x}", outcome.trace);
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            eprintln!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn many(first: u64, count: u64, twice: bool, all: bool) -> ExitCode {
    let begun = Instant::now();
    let (next, done, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let found: Mutex<(Stats, Option<Outcome>)> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            let mut stats = Stats::default();
            while !failed.load(Ordering::Relaxed) {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count {
                    break;
                }
                let outcome = checked(first.wrapping_add(i), twice);
                stats.merge(&outcome.stats);
                done.fetch_add(1, Ordering::Relaxed);
                if let Some(violation) = &outcome.violation {
                    failed.store(!all, Ordering::Relaxed);
                    if all {
                        println!("seed {}: {violation}", outcome.seed);
                    }
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    // The lowest of those that the threads came upon.
                    if found.1.as_ref().is_none_or(|other| outcome.seed < other.seed) {
                        found.1 = Some(outcome);
                    }
                }
            }
            found.lock().unwrap_or_else(PoisonError::into_inner).0.merge(&stats);
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut told = Instant::now();
        while !workers.iter().all(|w| w.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
            if told.elapsed() >= Duration::from_secs(5) {
                told = Instant::now();
                eprintln!("{}", progress(done.load(Ordering::Relaxed), begun.elapsed()));
            }
        }
    });
    println!("{}", progress(done.load(Ordering::Relaxed), begun.elapsed()));
    let (stats, outcome) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{stats}");
    match outcome {
        None => ExitCode::SUCCESS,
        Some(Outcome { seed, violation, .. }) => {
            let violation = violation.map_or_else(String::new, |v| v.to_string());
            eprintln!("seed {seed}: {violation}\nreplay it with: cargo xtask sim --seed {seed}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a seed, or runs it twice and minds any difference.
fn checked(seed: u64, twice: bool) -> Outcome {
    let mut outcome = logrun_sim::seed(seed, None);
    if twice && outcome.violation.is_none() {
        let again = logrun_sim::seed(seed, None);
        if again != outcome {
            let text = format!("the trace was {:016x} and then {:016x}", outcome.trace, again.trace);
            outcome.violation = Some(logrun_sim::model::Violation::new("deterministic", text));
        }
    }
    outcome
}

fn progress(done: u64, taken: Duration) -> String {
    let per_minute = done as f64 / taken.as_secs_f64().max(1e-9) * 60.0;
    format!("{done} seeds in {:.1} s, {per_minute:.0} a minute", taken.as_secs_f64())
}
