//! `cargo xtask bench`: Apache Kafka's own performance programs against Logrun and against Apache Kafka, interleaved.
//!
//! Machines are noisy and differ, so a single number means little: every round measures both brokers one right after
//! the other with the same configuration and the same client, and what is reported is the ratio within the rounds.
//! Nothing here may treat the two differently; `--null` puts Apache Kafka on both sides and must then print ratios
//! around 1, which also shows how large the noise is.

mod cases;
mod machine;
mod measure;
mod plot;
mod report;
mod side;
mod tools;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use logrun_testkit::{Product, judge, repository};

use cases::{CASES, Case, Scale, client};
use measure::Table;
use side::{Contest, Judge};

pub const USAGE: &str =
    "  bench [OPTION]…  measure Logrun against Apache Kafka, interleaved; writes bench/results/NAME.md and .svg
                     --quick          a tenth of the work, one round: shows that it runs, not how fast
                     --only CASE      one of the cases, may be repeated (`--list` names them)
                     --rounds N       rounds of each case (3)
                     --logrun PATH    the binary (LOGRUN_BIN, or target/release/logrun)
                     --name NAME      of the files written (latest, or quick)
                     --null           Apache Kafka on both sides: the size of the noise
                     --against PATH   another build of Logrun in Apache Kafka's place: what a change does
                     --check          fail when Logrun is behind in anything";

/// What the command line asks for.
#[derive(Debug, Default)]
struct Options {
    quick: bool,
    null: bool,
    check: bool,
    list: bool,
    only: Vec<String>,
    rounds: Option<usize>,
    logrun: Option<PathBuf>,
    against: Option<PathBuf>,
    name: Option<String>,
}

fn parse(args: &[&str]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(&arg) = args.next() {
        let mut value = || args.next().copied().ok_or_else(|| format!("{arg} needs a value"));
        match arg {
            "--quick" => options.quick = true,
            "--null" => options.null = true,
            "--check" => options.check = true,
            "--list" => options.list = true,
            "--only" => options.only.push(value()?.to_owned()),
            "--logrun" => options.logrun = Some(PathBuf::from(value()?)),
            "--against" => options.against = Some(PathBuf::from(value()?)),
            "--name" => options.name = Some(value()?.to_owned()),
            "--rounds" => {
                let n = value()?.parse().ok().filter(|n| (1..=100).contains(n));
                options.rounds = Some(n.ok_or("--rounds needs a number from 1 to 100")?);
            }
            other => return Err(format!("bench has no option {other}\n{USAGE}")),
        }
    }
    let unknown = options.only.iter().find(|name| !CASES.iter().any(|c| c.name == name.as_str()));
    if let Some(name) = unknown {
        let names: Vec<_> = CASES.iter().map(|c| c.name).collect();
        return Err(format!("no case is named {name}; there are {}", names.join(", ")));
    }
    if options.name.as_deref().is_some_and(|n| n.is_empty() || n.contains(['/', '\0'])) {
        return Err("--name is a file's name without its ending".to_owned());
    }
    Ok(options)
}

/// Runs the chore.
///
/// # Errors
/// A sentence: a wrong option, no binary, no judge, a broker or a program that failed, or with `--check` a ratio
/// below 1.
pub fn run(args: &[&str]) -> Result<(), String> {
    let options = parse(args)?;
    if options.list {
        for case in CASES {
            println!("{:<16} {}", case.name, case.about);
        }
        return Ok(());
    }
    let script = judge().ok_or("Apache Kafka is not there: set KAFKA_JUDGE to the script that runs it")?;
    let theirs = match &options.against {
        Some(path) => Product::Logrun(found(path)?),
        None => Product::Kafka(script.clone()),
    };
    let ours = if options.null { theirs.clone() } else { Product::Logrun(binary(&options)?) };
    let contest = Contest::new(ours, theirs, Judge::new(script));
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 3 });
    let scale = Scale { rounds, divisor: if options.quick { 10 } else { 1 } };

    let machine = machine::describe();
    println!("{machine}\n");
    let name = options.name.as_deref().unwrap_or(match (options.null, options.against.is_some(), options.quick) {
        (true, ..) => "null",
        (_, true, _) => "against",
        (.., true) => "quick",
        _ => "latest",
    });
    let wanted = |case: &&Case| options.only.is_empty() || options.only.iter().any(|n| n == case.name);
    let cases: Vec<&Case> = CASES.iter().filter(wanted).collect();
    // A page of clients alone doesn't compare brokers.
    let clients_only = cases.iter().all(|c| client::NAMES.contains(&c.name));
    let mut table = Table::new(if clients_only { client::sides() } else { contest.names() });
    for case in cases {
        println!("# {}: {}", case.name, case.about);
        table.begin(case.name);
        (case.run)(&contest, scale, &mut table).map_err(|e| format!("{}: {e}", case.name))?;
        // After each: what was measured in half an hour is not lost with the last case.
        write(name, &table, &machine, scale).map_err(|e| format!("bench/results/{name}: {e}"))?;
    }
    println!("\n{}", report::text(&table));

    println!("written: bench/results/{name}.md, bench/results/{name}.svg");
    if options.check {
        let behind = table.behind();
        if !behind.is_empty() {
            return Err(format!("behind in: {}", behind.join(", ")));
        }
    }
    Ok(())
}

fn binary(options: &Options) -> Result<PathBuf, String> {
    let path = match (&options.logrun, std::env::var_os("LOGRUN_BIN")) {
        (Some(path), _) => path.clone(),
        (None, Some(path)) => PathBuf::from(path),
        (None, None) => repository().join("target/release/logrun"),
    };
    found(&path)
}

fn found(path: &Path) -> Result<PathBuf, String> {
    fs::canonicalize(path).map_err(|e| format!("{}: {e}; `cargo build --release` makes it", path.display()))
}

fn write(name: &str, table: &Table, machine: &str, scale: Scale) -> io::Result<()> {
    let dir = repository().join("bench/results");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(format!("{name}.svg")), plot::svg(table))?;
    fs::write(dir.join(format!("{name}.md")), report::markdown(name, table, machine, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let options = parse(&["--quick", "--only", "start", "--rounds", "2"]).expect("options");
        assert!(options.quick && options.rounds == Some(2) && options.only == ["start"]);
        for (args, says) in [
            (vec!["--only"], "needs a value"),
            (vec!["--only", "nothing"], "produce-1k"),
            (vec!["--rounds", "0"], "1 to 100"),
            (vec!["--fast"], "no option --fast"),
            (vec!["--name", "../x"], "file's name"),
        ] {
            let error = parse(&args).expect_err("refused");
            assert!(error.contains(says), "{error}");
        }
    }
}
