//! [`Partition`]: what is known of one partition: what was sent, what was acknowledged, what was read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checked, Violation, acked_kept, content_fixed, dense, high_watermark, log_start, once, order};
use crate::plan::Durability;
use crate::tag::Tag;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may be in the log or not.
    Unknown,
    /// Acknowledged, at this offset if the node said where.
    Acked(Option<i64>),
    /// Refused in a way that says that it is not in the log.
    Refused,
}

/// A record that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// How many times.
    pub attempts: u32,
    pub fate: Fate,
}

/// How a writer writes to a partition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Writing {
    /// With a producer id and sequences.
    pub idempotent: bool,
    /// Each record only after the one before it is settled.
    pub in_order: bool,
}

/// A whole log, read from its start to its end.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    pub log_start: i64,
    pub high_watermark: i64,
    pub log_end: i64,
    /// In the order of the log.
    pub records: Vec<(i64, Tag)>,
}

/// What is known of one partition.
#[derive(Debug, Default)]
pub struct Partition {
    /// What an offset was seen to hold, by an acknowledgement or by a read.
    pub content: BTreeMap<i64, Tag>,
    /// Where a record was first seen to be.
    pub places: BTreeMap<Tag, i64>,
    pub sent: BTreeMap<Tag, Sent>,
    pub writers: BTreeMap<u16, Writing>,
    /// The highest high watermark seen.
    pub high_watermark: i64,
    /// The highest log start seen.
    pub log_start: i64,
    /// The highest offset that anybody asked to delete up to.
    pub delete_asked: i64,
    /// Below it everything was promised to survive a power cut, and the death of the process.
    pub promised: [i64; 2],
    /// The process ended so that the end of the log may be gone, from here on, until the next audit.
    pub may_have_lost: Option<i64>,
    /// The process did not stop in good order; until the next audit the log start may be one that was told earlier.
    pub log_start_may_fall: bool,
}

impl Partition {
    pub fn writer(&mut self, writer: u16, writing: Writing) {
        self.writers.insert(writer, writing);
    }

    /// Records are on their way, once more or for the first time.
    pub fn sending(&mut self, tags: &[Tag]) {
        for tag in tags {
            self.sent.entry(*tag).or_insert(Sent { attempts: 0, fate: Fate::Unknown }).attempts += 1;
        }
    }

    /// Records were acknowledged from offset `base` on, or at a place that was not told; `worth` is what that means.
    pub fn acked(&mut self, base: Option<i64>, tags: &[Tag], worth: Durability) -> Checked {
        let end = base.map_or(0, |b| b + tags.len() as i64);
        let [power_cut, kill] = &mut self.promised;
        if worth.survives_power_cut() {
            *power_cut = end.max(*power_cut);
        }
        if worth.survives_kill() {
            *kill = end.max(*kill);
        }
        for (i, tag) in (0..).zip(tags) {
            let offset = base.map(|b| b + i);
            if let Some(offset) = offset {
                once::at_one_place(self, offset, *tag)?;
                content_fixed::holds(self, offset, *tag)?;
            }
            if let Some(sent) = self.sent.get_mut(tag) {
                // A retry of a record that is not idempotent leaves the first acknowledgement in force.
                if !matches!(sent.fate, Fate::Acked(Some(_))) {
                    sent.fate = Fate::Acked(offset);
                }
            }
        }
        Ok(())
    }

    /// Records were refused: no attempt of them can be in the log.
    pub fn refused(&mut self, tags: &[Tag]) {
        for tag in tags {
            if let Some(sent) = self.sent.get_mut(tag)
                && sent.attempts == 1
            {
                sent.fate = Fate::Refused;
            }
        }
    }

    /// A record was read at `offset`.
    pub fn read(&mut self, offset: i64, tag: Tag) -> Checked {
        once::was_sent(self, offset, tag)?;
        once::at_one_place(self, offset, tag)?;
        content_fixed::holds(self, offset, tag)
    }

    /// The whole log was read: every invariant is looked at.
    pub fn audited(&mut self, audit: &Audit) -> Checked {
        if let Some(kept) = self.may_have_lost.take() {
            if audit.log_end < kept {
                let text = format!("the log ends at {}, and all below {kept} was promised to stay", audit.log_end);
                return Err(Violation::new("promised", text));
            }
            self.forgive(audit.log_end);
        }
        if std::mem::take(&mut self.log_start_may_fall) {
            self.log_start = self.log_start.min(audit.log_start);
        }
        dense::check(audit)?;
        for (offset, tag) in &audit.records {
            self.read(*offset, *tag)?;
        }
        acked_kept::check(self, audit)?;
        once::check(self, audit)?;
        order::check(self, audit)?;
        high_watermark::seen(self, self.high_watermark, audit.high_watermark)?;
        log_start::seen(self, self.log_start, audit.log_start)
    }

    /// The process was killed, or the power failed: what was not promised to survive that may be gone.
    pub fn died(&mut self, power_failed: bool) {
        let [power_cut, kill] = self.promised;
        let kept = if power_failed { power_cut } else { kill };
        self.may_have_lost = Some(self.may_have_lost.map_or(kept, |before| before.min(kept)));
    }

    /// The end of a process may have taken the log's end. What it left must still be a beginning of what was: the content
    /// below `log_end` is not forgotten.
    fn forgive(&mut self, log_end: i64) {
        let gone: BTreeSet<Tag> = self.content.split_off(&log_end).into_values().collect();
        self.places.retain(|_, place| *place < log_end);
        for (tag, sent) in &mut self.sent {
            match sent.fate {
                Fate::Acked(Some(offset)) if offset >= log_end => sent.fate = Fate::Unknown,
                Fate::Acked(None) if gone.contains(tag) => sent.fate = Fate::Unknown,
                _ => {}
            }
        }
        self.high_watermark = self.high_watermark.min(log_end);
        self.promised = self.promised.map(|end| end.min(log_end));
    }

    /// What is known of where the log ends, at least.
    pub fn known_end(&self) -> i64 {
        self.content.last_key_value().map_or(self.log_start, |(o, _)| o + 1).max(self.high_watermark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn tags(numbers: std::ops::Range<u32>) -> Vec<Tag> {
        numbers.map(|number| Tag { writer: 1, number }).collect()
    }

    #[test]
    fn a_power_cut_may_take_the_end_and_nothing_else() {
        let mut p = Partition::default();
        p.sending(&tags(0..4));
        p.acked(Some(0), &tags(0..4), Durability::Write).unwrap();
        p.died(true);
        let left = Audit {
            log_end: 2,
            high_watermark: 2,
            records: vec![(0, tags(0..1)[0]), (1, tags(1..2)[0])],
            ..Audit::default()
        };
        p.audited(&left).unwrap();
        // What is lost may be written again elsewhere, but what was left may not go too.
        assert_eq!(p.audited(&Audit::default()).unwrap_err().invariant, "acked_kept");
        p.died(true);
        let other = Audit { log_end: 1, high_watermark: 1, records: vec![(0, tags(3..4)[0])], ..Audit::default() };
        assert_eq!(p.audited(&other).unwrap_err().invariant, "content_fixed");
    }

    #[test]
    fn what_was_promised_stays() {
        let mut p = Partition::default();
        p.sending(&tags(0..4));
        p.acked(Some(0), &tags(0..2), Durability::Sync).unwrap();
        p.acked(Some(2), &tags(2..4), Durability::Write).unwrap();
        let left = |n: u32| Audit {
            log_end: i64::from(n),
            high_watermark: i64::from(n),
            records: (0..).zip(tags(0..n)).collect(),
            ..Audit::default()
        };
        p.died(false);
        assert_eq!(p.audited(&left(3)).unwrap_err().invariant, "promised");
        p.died(true);
        p.audited(&left(3)).unwrap();
        p.died(true);
        assert_eq!(p.audited(&left(1)).unwrap_err().invariant, "promised");
    }
}
