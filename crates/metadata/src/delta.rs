//! [`MetadataDelta`]: records on top of a base image; [`MetadataLoader`]: committed batches into published images.
//!
//! | loader is in | Begin | End | Abort | another record |
//! |---|---|---|---|---|
//! | no transaction | batch so far is published, then in one | error | error | replayed, published at the batch's end |
//! | a transaction | error | published at the batch's end | thrown away | replayed, not published |
//!
//! A metadata transaction (KIP-868) lets a change be larger than a batch: no image shows part of it.

use std::sync::Arc;

use logrun_model::{MetadataOffset, RaftEpoch, TimestampMs};

use crate::image::{MetadataImage, Provenance};
use crate::records::MetadataRecord;
use crate::replay::{Changes, ReplayError};

/// Records replayed onto a base image.
#[derive(Clone, Debug)]
pub struct MetadataDelta {
    base: Arc<MetadataImage>,
    image: MetadataImage,
    changes: Changes,
}

impl MetadataDelta {
    pub fn new(base: Arc<MetadataImage>) -> Self {
        Self { image: (*base).clone(), base, changes: Changes::default() }
    }

    /// Applies one record. After an error the delta must be dropped: the log is broken.
    pub fn replay(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        self.image.replay(record, &mut self.changes)
    }

    /// The image that the records were replayed onto.
    pub fn base(&self) -> &Arc<MetadataImage> {
        &self.base
    }

    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The image that results, up to `provenance`; the delta goes on from it with nothing changed.
    pub fn apply(self, provenance: Provenance) -> MetadataImage {
        MetadataImage { provenance, ..self.image }
    }
}

/// A new image and how it came about. What a publisher gets.
#[derive(Clone, Debug)]
pub struct Published {
    pub base: Arc<MetadataImage>,
    pub image: Arc<MetadataImage>,
    pub changes: Arc<Changes>,
}

/// Turns committed batches into images, one for each batch outside a metadata transaction.
#[derive(Clone, Debug)]
pub struct MetadataLoader {
    /// The last published image.
    image: Arc<MetadataImage>,
    delta: Option<MetadataDelta>,
    in_transaction: bool,
}

impl MetadataLoader {
    /// A loader that goes on from `image`.
    pub fn new(image: MetadataImage) -> Self {
        Self { image: Arc::new(image), delta: None, in_transaction: false }
    }

    /// The last published image.
    pub fn image(&self) -> &Arc<MetadataImage> {
        &self.image
    }

    /// Takes in one committed batch whose last record is at `last_offset`. Returns what is to be published: nothing
    /// inside a transaction, and at most two images, if a transaction begins in the middle of the batch.
    pub fn commit(
        &mut self,
        records: &[MetadataRecord],
        last_offset: MetadataOffset,
        epoch: RaftEpoch,
        timestamp: TimestampMs,
    ) -> Result<Vec<Published>, ReplayError> {
        let mut published = Vec::new();
        let first = last_offset.get() - (records.len() as i64 - 1);
        for (offset, record) in (first..).zip(records) {
            match record {
                MetadataRecord::BeginTransaction(_) => {
                    self.expect_transaction("BeginTransactionRecord", false)?;
                    let offset = MetadataOffset(offset - 1);
                    if offset.get() >= first {
                        published.push(self.publish(Provenance { offset, epoch, timestamp }));
                    }
                    self.in_transaction = true;
                }
                MetadataRecord::EndTransaction(_) => {
                    self.expect_transaction("EndTransactionRecord", true)?;
                    self.in_transaction = false;
                }
                MetadataRecord::AbortTransaction(_) => {
                    self.expect_transaction("AbortTransactionRecord", true)?;
                    self.delta = None;
                    self.in_transaction = false;
                }
                _ => {
                    let base = &self.image;
                    self.delta.get_or_insert_with(|| MetadataDelta::new(Arc::clone(base))).replay(record)?;
                }
            }
        }
        if !self.in_transaction {
            published.push(self.publish(Provenance { offset: last_offset, epoch, timestamp }));
        }
        Ok(published)
    }

    fn expect_transaction(&self, record: &'static str, expected: bool) -> Result<(), ReplayError> {
        match (expected, self.in_transaction) {
            (true, false) => Err(ReplayError::Transaction { record, where_: "there is not" }),
            (false, true) => Err(ReplayError::Transaction { record, where_: "there already is" }),
            _ => Ok(()),
        }
    }

    /// Publishes what was replayed, even if it is only a later offset.
    fn publish(&mut self, provenance: Provenance) -> Published {
        let delta = self.delta.take().unwrap_or_else(|| MetadataDelta::new(Arc::clone(&self.image)));
        let changes = Arc::new(delta.changes.clone());
        let image = Arc::new(delta.apply(provenance));
        let base = std::mem::replace(&mut self.image, Arc::clone(&image));
        Published { base, image, changes }
    }
}
