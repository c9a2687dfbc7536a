//! Fuzz targets over everything that reads bytes which somebody else wrote: a socket's or a disk's.
//!
//! They are ordinary tests (`cargo test -p logrun-fuzz`, bounded and without a special toolchain) and bolero targets
//! (`cargo bolero test -p logrun-fuzz NAME` goes on for as long as it is let). Each says: no panic, and no more memory
//! than a bound that follows from the bytes that are really there. [`counting`] measures the memory.

pub mod counting;
