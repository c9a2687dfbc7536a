//! `cargo xtask sim`: builds the simulation with optimisation and every assertion, and runs it.
//!
//! The simulation is a program of its own: this one must go on building when the node does not.

use std::path::Path;
use std::process::Command;

/// Passes `args` on to `logrun-sim`, which prints its usage if they make no sense.
///
/// # Errors
/// If it can't be built or if a seed fails.
pub fn run(root: &Path, args: &[&str]) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["run", "--quiet", "--profile", "sim", "--package", "logrun-sim", "--"])
        .args(args)
        .status()
        .map_err(|e| format!("cargo does not start: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("the simulation ended with {status}")) }
}
