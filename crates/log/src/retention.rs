//! Deleting old segments: by time, by size, and below the log's start (`cleanup.policy=delete`).
//!
//! Nothing at or above the high watermark goes, so that the log's start never passes it.

use logrun_model::{Now, Offset, TimestampMs};

use crate::error::LogError;
use crate::log::Log;

/// What became too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breach {
    LogStart,
    Size,
    Time,
}

impl Log {
    /// Deletes the segments that `retention.ms`, `retention.bytes` or the log's start offset have no more
    /// room for; returns how many. If all must go, an empty one is begun. The caller writes the log-start
    /// checkpoint if the log's start moved, and runs [`Self::due_removals`] in time.
    pub fn delete_old_segments(&mut self, high_watermark: Offset, now: Now) -> Result<usize, LogError> {
        self.check_online()?;
        let mut deleted = self.delete_while(Breach::LogStart, high_watermark, now)?;
        if self.config.delete {
            deleted += self.delete_while(Breach::Size, high_watermark, now)?;
            deleted += self.delete_while(Breach::Time, high_watermark, now)?;
        }
        Ok(deleted)
    }

    /// The time before which [`Self::delete_old_segments`] takes nothing from the log as it is: so long nobody need look.
    pub fn retained_until(&mut self, high_watermark: Offset, now: Now) -> Result<TimestampMs, LogError> {
        let delete = self.config.delete;
        if !self.breached(Breach::LogStart, high_watermark, now)?.is_empty()
            || (delete && !self.breached(Breach::Size, high_watermark, now)?.is_empty())
        {
            return Ok(TimestampMs(0));
        }
        let retention_ms = self.config.retention_ms;
        let oldest = self.segments.values_mut().next().expect("a log has an active segment");
        if !delete || retention_ms < 0 || oldest.size == 0 {
            return Ok(TimestampMs(i64::MAX));
        }
        Ok(TimestampMs(oldest.largest_timestamp()?.saturating_add(retention_ms).saturating_add(1)))
    }

    fn delete_while(&mut self, breach: Breach, high_watermark: Offset, now: Now) -> Result<usize, LogError> {
        let doomed = self.breached(breach, high_watermark, now)?;
        let Some(last) = doomed.last() else { return Ok(0) };
        if doomed.len() == self.segments.len() {
            self.roll(now)?;
        }
        let next = self.segments.range(last.next()..).next().map(|(o, _)| *o);
        if let Some(next) = next {
            self.set_log_start_offset(next)?;
        }
        tracing::info!(dir = %self.dir.display(), segments = doomed.len(), ?breach, "deleting old segments");
        for base in &doomed {
            self.remove_segment(*base, now)?;
        }
        self.refresh_sealed();
        Ok(doomed.len())
    }

    /// The oldest segments up to the first one that may stay.
    fn breached(&mut self, breach: Breach, high_watermark: Offset, now: Now) -> Result<Vec<Offset>, LogError> {
        let mut excess = match (breach, u64::try_from(self.config.retention_bytes)) {
            (Breach::Size, Ok(limit)) => self.size().saturating_sub(limit),
            (Breach::Size, Err(_)) => return Ok(Vec::new()),
            (Breach::Time, _) if self.config.retention_ms < 0 => return Ok(Vec::new()),
            _ => 0,
        };
        let bases: Vec<Offset> = self.segments.keys().copied().collect();
        let mut doomed = Vec::new();
        for (i, base) in bases.iter().enumerate() {
            let next = bases.get(i + 1).copied();
            let segment = self.segments.get_mut(base).expect("its key was just read");
            if next.unwrap_or(self.log_end_offset) > high_watermark || (next.is_none() && segment.size == 0) {
                break;
            }
            let goes = match breach {
                Breach::LogStart => next.is_some_and(|next| next <= self.log_start_offset),
                Breach::Size if excess >= segment.size => {
                    excess -= segment.size;
                    true
                }
                Breach::Size => false,
                Breach::Time => now.wall.get().saturating_sub(segment.largest_timestamp()?) > self.config.retention_ms,
            };
            if !goes {
                break;
            }
            doomed.push(*base);
        }
        Ok(doomed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogConfig;
    use crate::tests::support::{World, batch_with_time};

    fn filled(config: LogConfig) -> (World, Log) {
        let world = World::with_config(1, config);
        let mut log = world.open_small();
        for i in 0..10 {
            log.append(&[batch_with_time(i, 1, 0, world.now().wall.get() + i * 1000)], world.now()).unwrap();
            log.roll(world.now()).unwrap();
        }
        assert_eq!(log.segment_count(), 11);
        (world, log)
    }

    #[test]
    fn by_time() {
        let (world, mut log) = filled(LogConfig { retention_ms: 5_000, ..LogConfig::default() });
        let mut now = world.now();
        now.wall = now.wall.plus_ms(8_500);
        assert_eq!(log.delete_old_segments(Offset(10), now).unwrap(), 4);
        assert_eq!(log.log_start_offset(), Offset(4));
        assert_eq!(log.retained_until(Offset(10), now).unwrap().get(), world.now().wall.get() + 4 * 1000 + 5_001);
        // The high watermark holds the rest.
        now.wall = now.wall.plus_ms(100_000);
        assert_eq!(log.delete_old_segments(Offset(6), now).unwrap(), 2);
        assert_eq!(log.delete_old_segments(Offset(10), now).unwrap(), 4);
        assert_eq!((log.segment_count(), log.log_start_offset()), (1, Offset(10)));
        assert_eq!(log.delete_old_segments(Offset(10), now).unwrap(), 0);
    }

    #[test]
    fn by_size() {
        let (world, mut log) = filled(LogConfig::default());
        let one = log.size() / 10;
        log.set_config(LogConfig { retention_bytes: (one * 3 + 1) as i64, ..LogConfig::default() });
        assert_eq!(log.delete_old_segments(Offset(10), world.now()).unwrap(), 6);
        assert_eq!(log.size(), one * 4);
        assert!(log.retained_until(Offset(10), world.now()).unwrap() > world.now().wall);
        log.set_config(LogConfig { retention_bytes: 0, ..LogConfig::default() });
        assert_eq!(log.retained_until(Offset(10), world.now()).unwrap(), TimestampMs(0));
        assert_eq!(log.delete_old_segments(Offset(10), world.now()).unwrap(), 4);
    }

    #[test]
    fn by_log_start_even_without_the_policy() {
        let (world, mut log) = filled(LogConfig { delete: false, retention_bytes: 0, ..LogConfig::default() });
        log.set_log_start_offset(Offset(5)).unwrap();
        assert_eq!(log.delete_old_segments(Offset(10), world.now()).unwrap(), 5);
        assert!(log.read(Offset(4), Offset(10), 100, true).is_err());
        assert_eq!(log.read(Offset(5), Offset(10), 1, true).unwrap().next_offset, Offset(6));
        // The files stay for their delay.
        let mut now = world.now();
        assert!(log.due_removals(now).is_empty());
        now.monotonic = now.monotonic.plus_ms(60_000);
        let before = world.io.disk.list(log.dir()).unwrap().len();
        log.due_removals(now).run().unwrap();
        let left = world.io.disk.list(log.dir()).unwrap();
        assert!(left.len() < before && left.iter().all(|e| !e.name.ends_with(".deleted")));
    }
}
