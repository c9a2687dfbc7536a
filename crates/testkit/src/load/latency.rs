//! Latencies, kept one by one and sorted in the end.

use std::time::Duration;

/// What a load waited for its answers.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    micros: Vec<u32>,
}

impl Latencies {
    /// Takes note of `count` things that took `time` each.
    pub fn add(&mut self, time: Duration, count: usize) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.micros.extend(std::iter::repeat_n(micros, count));
    }

    /// Takes those of another load in.
    pub fn merge(&mut self, other: &Self) {
        self.micros.extend_from_slice(&other.micros);
    }

    /// The mean in milliseconds; 0 of nothing.
    pub fn mean_ms(&self) -> f64 {
        let sum: f64 = self.micros.iter().map(|m| f64::from(*m)).sum();
        sum / self.micros.len().max(1) as f64 / 1000.0
    }

    /// Those at the `fractions` (0.99 for p99), in milliseconds; 0 of nothing.
    pub fn at_ms<const N: usize>(&self, fractions: [f64; N]) -> [f64; N] {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        fractions.map(|f| {
            let rank = ((sorted.len() as f64 * f).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
            sorted.get(rank).map_or(0.0, |m| f64::from(*m) / 1000.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut l = Latencies::default();
        assert_eq!((l.mean_ms(), l.at_ms([0.5])), (0.0, [0.0]));
        for ms in 1..=100 {
            l.add(Duration::from_millis(ms), 1);
        }
        assert_eq!(l.at_ms([0.5, 0.99, 0.999, 1.0]), [50.0, 99.0, 100.0, 100.0]);
        assert_eq!(l.mean_ms(), 50.5);
        let mut other = Latencies::default();
        other.add(Duration::from_millis(500), 100);
        l.merge(&other);
        assert_eq!(l.at_ms([0.5, 0.51]), [100.0, 500.0]);
    }
}
