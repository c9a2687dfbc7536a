//! Producer ids in blocks from the controller (KIP-730), so that none is ever given twice, by this broker or another.
//!
//! A block that was begun when the process ended is lost; there are enough.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_model::ProducerId;
use logrun_wire::ErrorCode;
use logrun_wire::messages::AllocateProducerIdsRequest;
use tokio::sync::Mutex;

use crate::Broker;
use crate::controller::refused;
use crate::errors::Failure;

/// What is left of the present block.
#[derive(Debug, Default)]
pub struct ProducerIds(Mutex<Block>);

#[derive(Debug, Default)]
struct Block {
    next: i64,
    /// Exclusive.
    end: i64,
}

impl ProducerIds {
    /// A producer id that nobody has had before.
    pub async fn next(&self, broker: &Arc<Broker>) -> Result<ProducerId, Failure> {
        let mut block = self.0.lock().await;
        if block.next == block.end {
            let request = AllocateProducerIdsRequest {
                broker_id: broker.node_id().get(),
                broker_epoch: broker.epoch().get(),
                ..Default::default()
            };
            let response = match broker.controller().submit(Command::AllocateProducerIds { request }).await? {
                Reply::AllocateProducerIds(response) => response,
                other => return Err(refused(other)),
            };
            match ErrorCode::from_code(response.error_code) {
                Some(ErrorCode::None) => {}
                // The client asks again; Kafka says so too while its broker waits for a block.
                _ => return Err(Failure::of(ErrorCode::CoordinatorLoadInProgress)),
            }
            let start = response.producer_id_start;
            *block = Block { next: start, end: start + i64::from(response.producer_id_len) };
        }
        let id = ProducerId(block.next);
        block.next += 1;
        Ok(id)
    }
}
