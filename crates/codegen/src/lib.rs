//! Reads the schema notation and writes the Rust message types: used by build scripts and xtask.
