//! When records were written, by their offsets: what tells lag in seconds, and the date behind an offset.
//!
//! Kafka has no call for it: the batch with the offset is fetched, the smallest piece that a broker gives.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use logrun_model::TopicPartition;
use logrun_record::{BatchError, Limits, split_batches};
use logrun_wire::messages::FetchRequest;
use logrun_wire::messages::fetch_request::{FetchPartition, FetchTopic};

use super::{Admin, Each};
use crate::client::Target;
use crate::error::{Error, check};

/// Questions under way at a time.
const AT_A_TIME: usize = 64;
/// So many batches without a record at or behind the offset are looked into: compaction leaves such.
const BATCHES_MAX: usize = 8;
/// From version 13 topics have ids instead of names.
const NAMES_MAX: i16 = 12;

impl Admin {
    /// The time, in milliseconds since 1970, of the first record at or behind each of these offsets; `None` where none
    /// is there yet. The partitions must exist: for one that doesn't, the call waits until its timeout.
    pub async fn record_times(&self, offsets: &BTreeMap<TopicPartition, i64>) -> Each<TopicPartition, Option<i64>> {
        let ask = |(tp, offset): (&TopicPartition, &i64)| {
            let (tp, offset) = (tp.clone(), *offset);
            async move {
                let time = self.record_time(&tp, offset).await;
                (tp, time)
            }
        };
        stream::iter(offsets).map(ask).buffer_unordered(AT_A_TIME).collect().await
    }

    async fn record_time(&self, tp: &TopicPartition, offset: i64) -> Result<Option<i64>, Error> {
        let mut from = offset;
        for _ in 0..BATCHES_MAX {
            let request = FetchRequest {
                max_wait_ms: 0,
                min_bytes: 0,
                // A broker gives one batch though it is larger.
                max_bytes: 1,
                session_epoch: -1,
                topics: vec![FetchTopic {
                    topic: tp.topic.clone(),
                    partitions: vec![FetchPartition {
                        partition: tp.partition,
                        current_leader_epoch: -1,
                        fetch_offset: from,
                        last_fetched_epoch: -1,
                        log_start_offset: -1,
                        partition_max_bytes: 1,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            };
            let call = self.to(Target::Leader(tp.clone())).versions(4, NAMES_MAX);
            let response = self
                .client
                .call_with(
                    call,
                    |_| Ok(request.clone()),
                    |_, response| {
                        check(response.error_code, None)?;
                        let mut partitions = response.responses.iter().flat_map(|t| &t.partitions);
                        partitions.try_for_each(|p| check(p.error_code, None))
                    },
                )
                .await?;
            let bytes = response.responses.into_iter().flat_map(|t| t.partitions).find_map(|p| p.records);
            let unreadable = |e: &dyn std::fmt::Display| Error::Invalid(format!("a batch of {tp} can't be read: {e}"));
            let mut next = None;
            for batch in bytes.into_iter().flat_map(|b| split_batches(b.into_bytes())) {
                let batch = match batch {
                    Err(BatchError::Incomplete { .. }) => break,
                    batch => batch.map_err(|e| unreadable(&e))?,
                };
                for record in batch.records(&Limits::default()).map_err(|e| unreadable(&e))? {
                    let record = record.map_err(|e| unreadable(&e))?;
                    if record.offset.get() >= offset {
                        return Ok(Some(record.timestamp.get()));
                    }
                }
                next = Some(batch.header.last_offset().get().saturating_add(1));
            }
            match next.filter(|next| *next > from) {
                Some(next) => from = next,
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}
