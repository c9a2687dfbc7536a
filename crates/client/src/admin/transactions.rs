//! Transactions and the producers that a partition remembers.

use std::collections::BTreeSet;

use logrun_model::{NodeId, ProducerEpoch, ProducerId, Str, TopicPartition};
use logrun_wire::messages::describe_producers_request::TopicRequest;
use logrun_wire::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use logrun_wire::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest,
};

use super::groups::by_id;
use super::{Admin, Each, TopicPartitions, by_topic};
use crate::client::Target;
use crate::coordinators::CoordinatorKey;
use crate::error::{Error, check};

pub use logrun_wire::messages::describe_producers_response::ProducerState;

/// A transaction in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionListing {
    /// Its transactional id.
    pub transactional_id: Str,
    /// The producer id that it has now.
    pub producer_id: ProducerId,
    /// `Empty`, `Ongoing`, `PrepareCommit`, …
    pub state: Str,
    /// Who coordinates it.
    pub coordinator: NodeId,
}

/// A transaction, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// Who coordinates it.
    pub coordinator: NodeId,
    /// `Empty`, `Ongoing`, `PrepareCommit`, …
    pub state: Str,
    /// The producer id that it has now.
    pub producer_id: ProducerId,
    /// The epoch of that.
    pub producer_epoch: ProducerEpoch,
    /// After how many milliseconds it is aborted.
    pub timeout_ms: i32,
    /// When it began, in milliseconds since 1970, if one is open.
    pub start_time_ms: Option<i64>,
    /// The partitions that it has written to.
    pub partitions: TopicPartitions,
}

fn transactions(ids: &[Str]) -> BTreeSet<CoordinatorKey> {
    ids.iter().cloned().map(CoordinatorKey::Transaction).collect()
}

fn id_of(key: &CoordinatorKey) -> Str {
    match key {
        CoordinatorKey::Group(id) | CoordinatorKey::Transaction(id) | CoordinatorKey::Share(id) => id.clone(),
    }
}

impl Admin {
    /// The producers that partitions remember, as their leaders see them, or as this broker does.
    pub async fn describe_producers(
        &self,
        partitions: &[TopicPartition],
        broker: Option<NodeId>,
    ) -> Each<TopicPartition, Vec<ProducerState>> {
        let request = |items: &[TopicPartition]| {
            let topics = by_topic(items.iter().map(|tp| (tp, ()))).into_iter().map(|(name, p)| TopicRequest {
                name: name.clone(),
                partition_indexes: p.into_iter().map(|(i, ())| i).collect(),
                ..Default::default()
            });
            DescribeProducersRequest { topics: topics.collect(), ..Default::default() }
        };
        let read = |response: logrun_wire::messages::DescribeProducersResponse| -> Vec<_> {
            let all = response.topics.into_iter().flat_map(|t| {
                let result = move |p: logrun_wire::messages::describe_producers_response::PartitionResponse| {
                    let tp = TopicPartition::new(t.name.clone(), p.partition_index);
                    (tp, check(p.error_code, p.error_message.as_ref()).map(|()| p.active_producers))
                };
                t.partitions.into_iter().map(result)
            });
            all.collect()
        };
        match broker {
            None => {
                let items = partitions.iter().cloned().collect();
                self.at_brokers_of(items, (0, i16::MAX), |_, items| Ok(request(items)), |_, r, _| read(r)).await
            }
            Some(node) => match self.ask(Target::Node(node), request(partitions), |_| Ok(())).await {
                Ok(response) => read(response).into_iter().collect(),
                Err(e) => partitions.iter().map(|tp| (tp.clone(), Err(e.clone()))).collect(),
            },
        }
    }

    /// Transactions, whole.
    pub async fn describe_transactions(&self, ids: &[Str]) -> Each<Str, TransactionDescription> {
        let mut described = by_id(
            self.at_brokers_of(
                transactions(ids),
                (0, i16::MAX),
                |_, keys| {
                    let transactional_ids = keys.iter().map(id_of).collect();
                    Ok(DescribeTransactionsRequest { transactional_ids, ..Default::default() })
                },
                |_, response, _| {
                    let describe = |t: logrun_wire::messages::describe_transactions_response::TransactionState| {
                        let outcome = check(t.error_code, None);
                        let description = TransactionDescription {
                            coordinator: NodeId::NONE,
                            state: t.transaction_state,
                            producer_id: ProducerId(t.producer_id),
                            producer_epoch: ProducerEpoch(t.producer_epoch),
                            timeout_ms: t.transaction_timeout_ms,
                            start_time_ms: (t.transaction_start_time_ms >= 0).then_some(t.transaction_start_time_ms),
                            partitions: t
                                .topics
                                .into_iter()
                                .flat_map(|t| {
                                    t.partitions.into_iter().map(move |p| TopicPartition::new(t.topic.clone(), p))
                                })
                                .collect(),
                        };
                        (CoordinatorKey::Transaction(t.transactional_id), outcome.map(|()| description))
                    };
                    response.transaction_states.into_iter().map(describe).collect()
                },
            )
            .await,
        );
        for (id, description) in &mut described {
            if let Ok(description) = description
                && let Ok(node) = self.client.coordinator(&CoordinatorKey::Transaction(id.clone())).await
            {
                description.coordinator = node;
            }
        }
        described
    }

    /// All transactions that the brokers know: in these states, of these producers, open for longer than so many
    /// milliseconds, with an id that the pattern matches, where any of it is given.
    ///
    /// # Errors
    /// If the brokers are not known, or one can't be asked.
    pub async fn list_transactions(
        &self,
        states: &[Str],
        producer_ids: &[ProducerId],
        longer_than_ms: Option<i64>,
        pattern: Option<&str>,
    ) -> Result<Vec<TransactionListing>, Error> {
        let request = |version: i16, _| {
            if (version < 1 && longer_than_ms.is_some()) || (version < 2 && pattern.is_some()) {
                return Err(Error::Invalid(
                    "the broker is too old to list transactions by age or by a pattern".to_owned(),
                ));
            }
            Ok(ListTransactionsRequest {
                state_filters: states.to_vec(),
                producer_id_filters: producer_ids.iter().map(|id| id.get()).collect(),
                duration_filter: longer_than_ms.unwrap_or(-1),
                transactional_id_pattern: pattern.map(Str::from),
                ..Default::default()
            })
        };
        let answers =
            self.at_nodes(None, request, |r| check(r.error_code, None).map(|()| r.transaction_states)).await?;
        let mut listings = Vec::new();
        for (coordinator, answer) in answers {
            listings.extend(answer?.into_iter().map(|t| TransactionListing {
                transactional_id: t.transactional_id,
                producer_id: ProducerId(t.producer_id),
                state: t.transaction_state,
                coordinator,
            }));
        }
        Ok(listings)
    }

    /// Writes an abort marker into a partition for a transaction that hangs there. Whoever calls it must know that no
    /// coordinator will finish it.
    ///
    /// # Errors
    /// If the marker can't be written.
    pub async fn abort_transaction(
        &self,
        partition: &TopicPartition,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        coordinator_epoch: i32,
    ) -> Result<(), Error> {
        let topic = WritableTxnMarkerTopic {
            name: partition.topic.clone(),
            partition_indexes: vec![partition.partition],
            ..Default::default()
        };
        let marker = WritableTxnMarker {
            producer_id: producer_id.get(),
            producer_epoch: producer_epoch.get(),
            transaction_result: false,
            topics: vec![topic],
            coordinator_epoch,
            ..Default::default()
        };
        let request = WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() };
        let first = |r: &logrun_wire::messages::WriteTxnMarkersResponse| {
            let partition = r.markers.iter().flat_map(|m| &m.topics).flat_map(|t| &t.partitions).next();
            partition.map_or(Ok(()), |p| check(p.error_code, None))
        };
        self.ask(Target::Leader(partition.clone()), request, first).await.map(drop)
    }

    /// Shuts out the producers that have these transactional ids now, aborting what they have open. The result is the
    /// producer id and epoch that shut them out.
    pub async fn fence_producers(&self, ids: &[Str]) -> Each<Str, (ProducerId, ProducerEpoch)> {
        let fence = |id: Str| async move {
            let request = InitProducerIdRequest {
                transactional_id: Some(id.clone()),
                transaction_timeout_ms: self.timeout_ms(),
                ..Default::default()
            };
            let target = Target::Coordinator(CoordinatorKey::Transaction(id.clone()));
            let response = self.ask(target, request, |r| check(r.error_code, None)).await;
            (id, response.map(|r| (ProducerId(r.producer_id), ProducerEpoch(r.producer_epoch))))
        };
        futures_util::future::join_all(ids.iter().cloned().map(fence)).await.into_iter().collect()
    }
}
