//! [`ShareRecords`]: what a share consumer's poll gives: records as views on what was fetched, each with the number of its
//! delivery.

use std::ops::Deref;
use std::sync::Arc;

use logrun_model::Offset;

use crate::consumer::ConsumerRecord;
use crate::consumer::record::Part;

/// Records of one batch that were acquired.
#[derive(Clone, Debug)]
pub(crate) struct SharePart {
    pub part: Part,
    /// One for each of the part's slots.
    pub deliveries: Vec<i16>,
}

impl SharePart {
    /// Only the records at these offsets; `None` if there are none.
    pub fn only(&self, wanted: impl Fn(Offset) -> bool) -> Option<Self> {
        let kept = || self.part.slots.iter().zip(&self.deliveries).filter(|(slot, _)| wanted(slot.offset));
        let part = Part { slots: kept().map(|(slot, _)| *slot).collect(), ..self.part.clone() };
        let deliveries: Vec<i16> = kept().map(|(_, count)| *count).collect();
        (!deliveries.is_empty()).then_some(Self { part, deliveries })
    }
}

/// The records of one poll, in the order in which they were fetched.
#[derive(Clone, Debug, Default)]
pub struct ShareRecords {
    parts: Vec<Arc<SharePart>>,
    len: usize,
}

impl ShareRecords {
    pub(crate) fn of(parts: Vec<Arc<SharePart>>) -> Self {
        let len = parts.iter().map(|p| p.deliveries.len()).sum();
        Self { parts, len }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them.
    pub fn iter(&self) -> ShareIter<'_> {
        ShareIter { parts: self.parts.iter(), current: None }
    }
}

impl<'a> IntoIterator for &'a ShareRecords {
    type Item = ShareRecord<'a>;
    type IntoIter = ShareIter<'a>;

    fn into_iter(self) -> ShareIter<'a> {
        self.iter()
    }
}

/// See [`ShareRecords::iter`].
#[derive(Clone, Debug)]
pub struct ShareIter<'a> {
    parts: std::slice::Iter<'a, Arc<SharePart>>,
    current: Option<(&'a SharePart, usize)>,
}

impl<'a> Iterator for ShareIter<'a> {
    type Item = ShareRecord<'a>;

    fn next(&mut self) -> Option<ShareRecord<'a>> {
        loop {
            if let Some((part, at)) = &mut self.current
                && let Some(slot) = part.part.slots.get(*at)
                && let Some(delivery_count) = part.deliveries.get(*at)
            {
                *at += 1;
                let record = ConsumerRecord::of(&part.part, slot);
                return Some(ShareRecord { record, delivery_count: *delivery_count });
            }
            self.current = Some((self.parts.next()?, 0));
        }
    }
}

/// One record, as a view on the poll that gave it; everything that a [`ConsumerRecord`] has, and how often it was
/// delivered.
#[derive(Clone, Copy, Debug)]
pub struct ShareRecord<'a> {
    record: ConsumerRecord<'a>,
    delivery_count: i16,
}

impl ShareRecord<'_> {
    /// How often it has been delivered, this time included: 1 at first.
    pub fn delivery_count(&self) -> i16 {
        self.delivery_count
    }
}

impl<'a> Deref for ShareRecord<'a> {
    type Target = ConsumerRecord<'a>;

    fn deref(&self) -> &ConsumerRecord<'a> {
        &self.record
    }
}
