//! The logrun command line.
