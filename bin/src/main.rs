//! The program: everything is in the crates.

use std::process::ExitCode;

fn main() -> ExitCode {
    logrun_cli::main()
}
