//! The cluster's metadata: generated records, the immutable image and its deltas.

pub mod records;
