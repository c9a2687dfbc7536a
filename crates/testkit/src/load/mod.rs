//! A load generator that costs next to nothing: requests are made once and sent again and again by the kernel from the
//! pages that hold them, and of responses only the heads of batches are looked at.
//!
//! What it measures is the broker, on a machine whose cores the two must share. It never retries, never batches by
//! itself and asks for no metadata: one broker leads everything. It is no client; those are tested elsewhere.

mod batch;
mod consume;
mod latency;
mod produce;
mod wire;

pub use consume::{Consume, Consumed, wait_led};
pub use latency::Latencies;
pub use produce::{Load, Pace, Produced};
