//! The chores of the repository, run as `cargo xtask NAME`.
//!
//! Each chore is a module with one entry; this file only finds it.

mod bench;
mod docs;
mod schema;
mod sim;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask CHORE

  docs             rewrite the reference pages in docs/ from the tables that they describe
  schema JAR_DIR   rewrite schema/ from the jars of Apache Kafka in JAR_DIR
                   (mvn -f tests/oracle/pom.xml dependency:copy-dependencies fetches them)
  sim --seeds N    a whole node under seeded virtual time with faults; --seed N replays one seed";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if args.contains(&"--help") || args.contains(&"-h") {
        println!("{USAGE}\n\n{}", bench::USAGE);
        return ExitCode::SUCCESS;
    }
    let result = match args.as_slice() {
        ["bench", options @ ..] => bench::run(options).map_err(Into::into),
        ["docs"] => docs::run(&root().join("docs")).map_err(Into::into),
        ["sim", args @ ..] => sim::run(&root(), args).map_err(Into::into),
        ["schema", jars] => schema::run(Path::new(jars), &root().join("schema")),
        _ => {
            eprintln!("{USAGE}\n\n{}", bench::USAGE);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root, which holds this crate's directory.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
