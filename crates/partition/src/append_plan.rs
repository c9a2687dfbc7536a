//! The plan of one append: offsets for validated batches, the producers' part checked, nothing changed yet.
//!
//! A leader assigns offsets and its epoch ([`plan_append_as_leader`]); a follower takes the leader's batches verbatim
//! ([`plan_append_as_follower`]), whatever gaps compaction has left in them. The log writes the batches and then hands
//! the producers' part to [`ProducerStateManager::update`].

use logrun_model::{LeaderEpoch, Offset, TimestampMs};
use logrun_record::{AppendOrigin, BatchError, Limits, PreparedBatch, Validated, end_txn_marker};
use thiserror::Error;

use crate::producer_state::{Prepared, ProducerStateError, ProducerStateManager, ProducerUpdate, TransactionVersion};

/// Batches with their places, and what they change.
#[derive(Clone, Debug)]
pub struct AppendPlan {
    pub batches: Vec<PreparedBatch>,
    /// The offset of the first record.
    pub first_offset: Offset,
    /// The offset of the last record (inclusive).
    pub last_offset: Offset,
    /// The highest timestamp and the first record that has it; none if no record has one.
    pub max_timestamp: TimestampMs,
    pub offset_of_max_timestamp: Offset,
    /// For [`ProducerStateManager::update`], once the log holds the batches.
    pub producers: ProducerUpdate,
}

/// What to do with an append.
#[derive(Clone, Debug)]
pub enum Planned {
    Append(AppendPlan),
    /// The producer has sent this before: it is answered as the first time, and nothing is written.
    Duplicate {
        first_offset: Offset,
        last_offset: Offset,
        timestamp: TimestampMs,
    },
    /// There were no batches.
    Nothing,
}

/// Why an append can't be planned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendPlanError {
    #[error(transparent)]
    Producer(#[from] ProducerStateError),
    /// A leader's batch lies before the end of this log: the fetch was answered for another state of it.
    #[error("a batch at offset {found} can't be appended to a log that ends at {log_end_offset}")]
    UnexpectedAppendOffset { found: Offset, log_end_offset: Offset },
    #[error("offset {found} of a batch comes after offset {last}")]
    OffsetsOutOfOrder { found: Offset, last: Offset },
    #[error("there are no offsets left")]
    OffsetsExhausted,
    #[error("the transaction marker is malformed: {0}")]
    Marker(#[from] BatchError),
}

/// Gives `validated` batches their offsets from `log_end_offset` on and the leader's epoch, and checks their producers.
///
/// `version` is the transaction version of a marker that is being written.
pub fn plan_append_as_leader(
    validated: Validated,
    producers: &ProducerStateManager,
    log_end_offset: Offset,
    leader_epoch: LeaderEpoch,
    origin: AppendOrigin,
    version: TransactionVersion,
) -> Result<Planned, AppendPlanError> {
    let mut batches = validated.batches;
    let mut update = ProducerUpdate::default();
    let mut next = log_end_offset;
    for batch in &mut batches {
        let count = i64::from(batch.header().last_offset_delta) + 1;
        let after = next.get().checked_add(count).filter(|_| count > 0).ok_or(AppendPlanError::OffsetsExhausted)?;
        batch.assign(next, leader_epoch);
        if let Prepared::Duplicate(d) = prepare(producers, &mut update, batch, origin, version)? {
            return Ok(Planned::Duplicate {
                first_offset: d.first_offset(),
                last_offset: d.last_offset,
                timestamp: d.timestamp,
            });
        }
        next = Offset(after);
    }
    if batches.is_empty() {
        return Ok(Planned::Nothing);
    }
    let has_max = validated.offset_delta_of_max_timestamp >= 0;
    Ok(Planned::Append(AppendPlan {
        batches,
        first_offset: log_end_offset,
        last_offset: Offset(next.get() - 1),
        max_timestamp: validated.max_timestamp,
        offset_of_max_timestamp: if has_max {
            Offset(log_end_offset.get().saturating_add(validated.offset_delta_of_max_timestamp))
        } else {
            Offset::NONE
        },
        producers: update,
    }))
}

/// Checks that batches whose offsets a leader has assigned follow each other and the log, with gaps allowed.
pub fn plan_append_as_follower(
    validated: Validated,
    producers: &ProducerStateManager,
    log_end_offset: Offset,
) -> Result<Planned, AppendPlanError> {
    let batches = validated.batches;
    let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return Ok(Planned::Nothing) };
    let first_offset = first.header().base_offset;
    let last_offset = last.header().last_offset();
    if first_offset < log_end_offset {
        return Err(AppendPlanError::UnexpectedAppendOffset { found: first_offset, log_end_offset });
    }
    let mut update = ProducerUpdate::default();
    let mut previous: Option<Offset> = None;
    let mut max = (TimestampMs::NONE, Offset::NONE);
    for batch in &batches {
        let h = batch.header();
        if h.last_offset_delta < 0 || h.next_offset() == h.last_offset() {
            return Err(AppendPlanError::OffsetsExhausted);
        }
        if let Some(last) = previous
            && h.base_offset <= last
        {
            return Err(AppendPlanError::OffsetsOutOfOrder { found: h.base_offset, last });
        }
        previous = Some(h.last_offset());
        if h.max_timestamp > max.0 {
            max = (h.max_timestamp, h.last_offset());
        }
        prepare(producers, &mut update, batch, AppendOrigin::Replication, TransactionVersion::default())?;
    }
    Ok(Planned::Append(AppendPlan {
        batches,
        first_offset,
        last_offset,
        max_timestamp: max.0,
        offset_of_max_timestamp: max.1,
        producers: update,
    }))
}

fn prepare(
    producers: &ProducerStateManager,
    update: &mut ProducerUpdate,
    batch: &PreparedBatch,
    origin: AppendOrigin,
    version: TransactionVersion,
) -> Result<Prepared, AppendPlanError> {
    let h = batch.header();
    let marker = match h.is_control() && h.has_producer_id() {
        // Markers are a hundred bytes: copying one is nothing.
        true => end_txn_marker(&batch.to_batch(), &Limits::default())?,
        false => None,
    };
    Ok(producers.prepare(update, h, marker.as_ref(), origin, version)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_model::{ProducerEpoch, ProducerId, Sequence};
    use logrun_record::{BatchBuilder, Compression, ValidationRules, validate};

    fn batch(sequence: i32, records: i32) -> BatchBuilder {
        let mut b = BatchBuilder::new(Compression::NONE);
        if sequence >= 0 {
            b = b.producer(ProducerId(9), ProducerEpoch(0), Sequence(sequence));
        }
        for i in 0..records {
            b.append(TimestampMs(1000 + i64::from(i)), None, Some(b"v"), &[]).unwrap();
        }
        b
    }

    fn validated(b: BatchBuilder, origin: AppendOrigin) -> Validated {
        validate(b.build().unwrap().bytes, &ValidationRules::new(origin, TimestampMs(1000))).unwrap()
    }

    fn lead(p: &ProducerStateManager, b: BatchBuilder, end: i64) -> Result<Planned, AppendPlanError> {
        let v = validated(b, AppendOrigin::Client);
        plan_append_as_leader(v, p, Offset(end), LeaderEpoch(3), AppendOrigin::Client, TransactionVersion(0))
    }

    #[test]
    fn a_leader_assigns_offsets_and_knows_retries() {
        let mut p = ProducerStateManager::new(Offset(0), 1000);
        let Planned::Append(plan) = lead(&p, batch(0, 5), 40).unwrap() else { panic!("not an append") };
        assert_eq!((plan.first_offset, plan.last_offset), (Offset(40), Offset(44)));
        assert_eq!((plan.max_timestamp, plan.offset_of_max_timestamp), (TimestampMs(1004), Offset(44)));
        let stored = plan.batches[0].to_batch();
        assert_eq!(stored.header.partition_leader_epoch, LeaderEpoch(3));
        stored.verify_crc().unwrap();
        p.update(plan.producers);
        let Planned::Duplicate { first_offset, last_offset, .. } = lead(&p, batch(0, 5), 45).unwrap() else {
            panic!("not a duplicate")
        };
        assert_eq!((first_offset, last_offset), (Offset(40), Offset(44)));
        assert!(matches!(
            lead(&p, batch(9, 1), 45),
            Err(AppendPlanError::Producer(ProducerStateError::OutOfOrderSequenceNumber { .. }))
        ));
        assert!(matches!(lead(&p, batch(-1, 2), i64::MAX - 1), Err(AppendPlanError::OffsetsExhausted)));
    }

    #[test]
    fn a_follower_takes_gaps_but_no_overlap() {
        let p = ProducerStateManager::new(Offset(0), 1000);
        let two = |a: i64, b: i64| {
            let mut bytes = batch(-1, 3).base_offset(Offset(a)).build().unwrap().bytes.to_vec();
            bytes.extend_from_slice(&batch(-1, 3).base_offset(Offset(b)).build().unwrap().bytes);
            let rules = ValidationRules::new(AppendOrigin::Replication, TimestampMs(0));
            plan_append_as_follower(validate(bytes.into(), &rules).unwrap(), &p, Offset(10))
        };
        let Planned::Append(plan) = two(12, 20).unwrap() else { panic!("not an append") };
        assert_eq!((plan.first_offset, plan.last_offset), (Offset(12), Offset(22)));
        assert!(matches!(two(9, 20), Err(AppendPlanError::UnexpectedAppendOffset { .. })));
        assert!(matches!(two(12, 14), Err(AppendPlanError::OffsetsOutOfOrder { .. })));
        assert!(matches!(two(12, i64::MAX - 1), Err(AppendPlanError::OffsetsExhausted)));
    }
}
