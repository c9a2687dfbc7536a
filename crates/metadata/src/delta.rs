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

    /// Takes a snapshot's records for all that there is: what the image before had and they don't is gone.
    pub fn install(&mut self, records: &[MetadataRecord], provenance: Provenance) -> Result<Published, ReplayError> {
        let mut image = MetadataImage::empty(self.image.cluster_id.clone());
        for record in records {
            image.replay(record, &mut Changes::default())?;
        }
        let image = Arc::new(MetadataImage { provenance, ..image });
        let base = std::mem::replace(&mut self.image, Arc::clone(&image));
        (self.delta, self.in_transaction) = (None, false);
        let changes = Arc::new(Changes::between(&base, &image));
        Ok(Published { base, image, changes })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::*;
    use logrun_model::{Str, Uuid};

    fn topic(n: u8) -> MetadataRecord {
        TopicRecord { name: format!("t{n}").into(), topic_id: Uuid([n; 16]), ..Default::default() }.into()
    }

    fn begin() -> MetadataRecord {
        BeginTransactionRecord::default().into()
    }

    fn end() -> MetadataRecord {
        EndTransactionRecord::default().into()
    }

    fn abort() -> MetadataRecord {
        AbortTransactionRecord::default().into()
    }

    /// The offset and the topics of each image that `batches` publish.
    fn run(batches: &[&[MetadataRecord]]) -> Result<Vec<(i64, usize)>, ReplayError> {
        let mut loader = MetadataLoader::new(MetadataImage::empty("c"));
        let (mut next, mut out) = (0, Vec::new());
        for batch in batches {
            next += batch.len() as i64;
            for p in loader.commit(batch, MetadataOffset(next - 1), RaftEpoch(1), TimestampMs(1))? {
                assert_eq!(p.changes.topics_created.len(), p.image.topics.len() - p.base.topics.len());
                out.push((p.image.provenance.offset.get(), p.image.topics.len()));
            }
        }
        Ok(out)
    }

    #[test]
    fn a_snapshot_is_told_by_what_it_changes() {
        let partition = |n: u8, leader: i32| {
            let record = PartitionRecord {
                topic_id: Uuid([n; 16]),
                replicas: vec![leader],
                isr: vec![leader],
                leader,
                ..Default::default()
            };
            MetadataRecord::from(record)
        };
        let config = |name: &str| {
            let (resource_name, name, value) = (name.into(), "retention.ms".into(), Some("1".into()));
            MetadataRecord::from(ConfigRecord { resource_type: 2, resource_name, name, value, ..Default::default() })
        };
        let mut loader = MetadataLoader::new(MetadataImage::empty("c"));
        let before = [topic(1), partition(1, 1), topic(2), partition(2, 1), topic(3), partition(3, 1), config("t1")];
        loader.commit(&before, MetadataOffset(6), RaftEpoch(1), TimestampMs(1)).unwrap();
        loader.commit(&[begin(), topic(9)], MetadataOffset(8), RaftEpoch(1), TimestampMs(1)).unwrap();
        let snapshot = [topic(2), partition(2, 1), topic(3), partition(3, 2), topic(4), partition(4, 1), config("t3")];
        let at = Provenance { offset: MetadataOffset(40), epoch: RaftEpoch(2), timestamp: TimestampMs(2) };
        let Published { image, changes, .. } = loader.install(&snapshot, at).unwrap();
        assert_eq!((image.topics.len(), image.provenance), (3, at));
        assert_eq!(changes.topics_created, [Uuid([4; 16])].into());
        assert_eq!(changes.topics_deleted, [(Uuid([1; 16]), Str::from("t1"))].into());
        assert_eq!(changes.partitions.keys().copied().collect::<Vec<_>>(), [Uuid([3; 16]), Uuid([4; 16])]);
        assert_eq!(changes.configs, ["t1", "t3"].map(crate::ConfigResource::topic).into());
        // Goes on from there, outside of the transaction that the snapshot has ended.
        let next = loader.commit(&[topic(5)], MetadataOffset(41), RaftEpoch(2), TimestampMs(3)).unwrap();
        assert_eq!((next.len(), next[0].image.topics.len()), (1, 4));
    }

    #[test]
    fn a_transaction_is_published_as_a_whole() {
        let published = run(&[&[topic(1), begin(), topic(2)], &[topic(3)], &[topic(4), end(), topic(5)]]).unwrap();
        assert_eq!(published, [(0, 1), (6, 5)]);
        assert_eq!(run(&[&[begin(), topic(2)], &[abort(), topic(3)], &[topic(4)]]).unwrap(), [(3, 1), (4, 2)]);
    }

    #[test]
    fn bounds_that_do_not_fit_are_errors() {
        assert!(run(&[&[begin(), begin()]]).is_err());
        assert!(run(&[&[end()]]).is_err());
        assert!(run(&[&[abort()]]).is_err());
    }

    #[test]
    fn what_contradicts_the_log_is_an_error() {
        let id = Uuid([9; 16]);
        let bad: Vec<MetadataRecord> = vec![
            RemoveTopicRecord { topic_id: id, ..Default::default() }.into(),
            PartitionRecord { topic_id: id, ..Default::default() }.into(),
            PartitionChangeRecord { topic_id: id, ..Default::default() }.into(),
            PartitionChangeRecord { topic_id: Uuid([1; 16]), partition_id: 4, ..Default::default() }.into(),
            ClearElrRecord { topic_name: "nosuch".into(), ..Default::default() }.into(),
            UnfenceBrokerRecord { id: 1, epoch: 1, ..Default::default() }.into(),
            UnregisterBrokerRecord { broker_id: 1, ..Default::default() }.into(),
        ];
        for record in bad {
            assert!(run(&[&[topic(1), record.clone()]]).is_err(), "{record:?}");
        }
        let stale = FenceBrokerRecord { id: 1, epoch: 6, ..Default::default() };
        let registered = RegisterBrokerRecord { broker_id: 1, broker_epoch: 5, ..Default::default() };
        assert!(run(&[&[registered.clone().into(), stale.clone().into()]]).is_err());
        let fits = FenceBrokerRecord { epoch: 5, ..stale };
        assert!(run(&[&[registered.into(), fits.into()]]).is_ok());
    }

    #[test]
    fn what_comes_and_goes_at_once_was_never_there() {
        let mut delta = MetadataDelta::new(Arc::new(MetadataImage::empty("c")));
        delta.replay(&topic(1)).unwrap();
        let config = ConfigRecord {
            resource_type: 2,
            resource_name: "t1".into(),
            name: "retention.ms".into(),
            value: Some("1".into()),
            ..Default::default()
        };
        delta.replay(&config.into()).unwrap();
        delta.replay(&RemoveTopicRecord { topic_id: Uuid([1; 16]), ..Default::default() }.into()).unwrap();
        assert!(delta.changes().topics_created.is_empty() && delta.changes().topics_deleted.is_empty());
        assert!(delta.apply(Provenance::default()).is_empty());
    }

    #[test]
    fn what_only_others_use_is_kept_in_a_snapshot() {
        let id = |n: u8| Uuid([n; 16]);
        let tag = logrun_wire::RawTaggedField { tag: 99, data: bytes::Bytes::from_static(b"later") };
        let records: Vec<MetadataRecord> = vec![
            FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30, ..Default::default() }.into(),
            FeatureLevelRecord { name: "of.a.later.kafka".into(), feature_level: 3, ..Default::default() }.into(),
            AccessControlEntryRecord { id: id(1), principal: "User:a".into(), ..Default::default() }.into(),
            AccessControlEntryRecord { id: id(2), ..Default::default() }.into(),
            RemoveAccessControlEntryRecord { id: id(2), ..Default::default() }.into(),
            UserScramCredentialRecord { name: "a".into(), mechanism: 1, iterations: 4096, ..Default::default() }.into(),
            DelegationTokenRecord { token_id: "t".into(), ..Default::default() }.into(),
            ConfigRecord { resource_type: 77, name: "k".into(), value: Some("v".into()), ..Default::default() }.into(),
            TopicRecord { name: "t".into(), topic_id: id(3), unknown_tagged_fields: vec![tag.clone()] }.into(),
            PartitionRecord {
                partition_id: 0,
                topic_id: id(3),
                replicas: vec![1],
                directories: vec![id(4)],
                unknown_tagged_fields: vec![tag],
                ..Default::default()
            }
            .into(),
        ];
        let replay = |records: &[MetadataRecord]| {
            let mut image = MetadataImage::empty("c");
            records.iter().for_each(|r| image.replay(r, &mut Changes::default()).unwrap());
            image
        };
        let image = replay(&records);
        let snapshot = image.to_records();
        assert_eq!(snapshot.len(), records.len() - 2);
        assert_eq!(replay(&snapshot), image);
        assert_eq!(image.configs.iter().count(), 1);
        assert_eq!(image.feature_level("of.a.later.kafka"), 3);
        assert_eq!(image.topics.iter_by_name(Some("s")).map(|t| t.name.clone()).collect::<Vec<_>>(), [Str::from("t")]);
    }
}
