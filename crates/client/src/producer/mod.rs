//! [`Producer`]: records in batches, sent in the background, each with a promise of what became of it.
//!
//! ```no_run
//! # async fn example() -> Result<(), logrun_client::Error> {
//! use logrun_client::{Config, producer::{Producer, Record}};
//!
//! let producer = Producer::connect(&Config::new("localhost:9092").set("compression.type", "zstd"))?;
//! let delivery = producer.send(Record::to("orders").key("42").value("a book")).await?;
//! let written = delivery.await?;
//! println!("{} at offset {:?}", written.partition, written.offset);
//! producer.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Producer::send`] waits only while `buffer.memory` is used up or nothing is known of the topic yet. Records of one
//! partition are written in the order in which `send` took them. With `enable.idempotence`, the default, each is written
//! once. A batch that a broker finds too large (`max.message.bytes`) goes again in halves, as often as it takes: only a
//! record that is too large by itself fails.

mod accumulator;
mod batch;
mod partitioner;
mod record;
mod sender;
mod shared;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use logrun_config::{ClientKind, Codec, ProducerConfig};
use logrun_io::Io;
use logrun_record::{Compression, CompressionType};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::client::Client;
use crate::config::Config;
use crate::error::Error;

use accumulator::{Accumulator, Settings};
use partitioner::Choice;
use shared::{Shared, State, Waits};
use transactions::Transaction;

pub use crate::consumer::ConsumerGroupMetadata;
pub use batch::{Callback, Delivery};
pub use partitioner::Partitioner;
pub use record::{Record, RecordMetadata};

/// See the module. Cheap to clone; when the last clone is dropped, what was taken is still sent in the background.
#[derive(Clone, Debug)]
pub struct Producer(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    max_block: Duration,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.state.lock().accumulator.begin_flush();
        self.shared.wake.notify_one();
    }
}

/// While it is there, batches are sent though they are not full. The future that has it may be dropped at any time.
struct Hurry<'a> {
    shared: &'a Shared,
    for_memory: bool,
}

impl<'a> Hurry<'a> {
    fn for_memory(shared: &'a Shared) -> Self {
        shared.state.lock().accumulator.waiting_for_memory += 1;
        shared.wake.notify_one();
        Self { shared, for_memory: true }
    }

    fn to_flush(shared: &'a Shared) -> (Self, Vec<Arc<batch::Completion>>) {
        let all = shared.state.lock().accumulator.begin_flush();
        shared.wake.notify_one();
        (Self { shared, for_memory: false }, all)
    }
}

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        let accumulator = &mut self.shared.state.lock().accumulator;
        match self.for_memory {
            true => accumulator.waiting_for_memory = accumulator.waiting_for_memory.saturating_sub(1),
            false => accumulator.end_flush(),
        }
    }
}

impl Producer {
    /// A producer over the operating system's network. Nothing is connected before the first record.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn connect(config: &Config) -> Result<Self, Error> {
        Self::new(Io::real(), config)
    }

    /// A producer over `io`.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn new(io: Io, config: &Config) -> Result<Self, Error> {
        Self::of(Client::new(io, config, ClientKind::Producer)?, config, None)
    }

    /// A producer with a partitioner of the program's own.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn with_partitioner(io: Io, config: &Config, partitioner: Box<dyn Partitioner>) -> Result<Self, Error> {
        Self::of(Client::new(io, config, ClientKind::Producer)?, config, Some(partitioner))
    }

    /// A producer over the connections of `client`, which must have been made as a producer's.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn of(client: Client, config: &Config, partitioner: Option<Box<dyn Partitioner>>) -> Result<Self, Error> {
        let c = ProducerConfig::resolve(config.settings())?;
        let size = |n: i64| usize::try_from(n).unwrap_or(0);
        let ms = |n: i64| Duration::from_millis(u64::try_from(n).unwrap_or(0));
        let (codec, level) = match c.compression_type {
            Codec::None => (CompressionType::None, None),
            Codec::Gzip => (CompressionType::Gzip, (c.compression_gzip_level >= 0).then_some(c.compression_gzip_level)),
            Codec::Snappy => (CompressionType::Snappy, None),
            Codec::Lz4 => (CompressionType::Lz4, None),
            Codec::Zstd => (CompressionType::Zstd, Some(c.compression_zstd_level)),
        };
        let choice = match c.partitioner_class.as_deref().unwrap_or_default() {
            "" => Choice::Default {
                ignore_keys: c.partitioner_ignore_keys,
                adaptive: c.partitioner_adaptive_partitioning_enable,
            },
            name if name.rsplit('.').next() == Some("RoundRobinPartitioner") => Choice::RoundRobin,
            name => {
                return Err(Error::Invalid(format!(
                    "partitioner.class={name} can't be loaded: give RoundRobinPartitioner, nothing, or a `Partitioner` in the program"
                )));
            }
        };
        let settings = Settings {
            batch_size: size(i64::from(c.batch_size)).max(1),
            buffer_memory: size(c.buffer_memory),
            linger: ms(c.linger_ms),
            delivery_timeout: ms(i64::from(c.delivery_timeout_ms)),
            max_request_size: size(i64::from(c.max_request_size)),
            max_in_flight: size(i64::from(c.max_in_flight_requests_per_connection)).max(1),
            retries: u32::try_from(c.retries).unwrap_or(0),
            compression: Compression { codec, level },
            idempotent: c.enable_idempotence,
        };
        let acks = match c.acks.as_str() {
            "0" => 0,
            "1" => 1,
            _ => -1,
        };
        let transaction = c.transactional_id.map(|id| Transaction::new(id.into(), c.transaction_timeout_ms));
        let shared = Arc::new(Shared {
            client,
            state: Mutex::new(State::new(Accumulator::new(settings), transaction)),
            acks,
            choice,
            partitioner,
            wake: Notify::new(),
            memory: Notify::new(),
            ended: Notify::new(),
        });
        shared.client.io().tasks.spawn(sender::Sender::new(shared.clone()).run());
        Ok(Self(Arc::new(Handle { shared, max_block: ms(c.max_block_ms) })))
    }

    fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// The connections beneath.
    pub fn client(&self) -> &Client {
        &self.0.shared.client
    }

    /// Takes a record into a batch. The result is a future of where it was written, which may be dropped.
    ///
    /// # Errors
    /// If it can't be taken: too large, no such topic, or no memory within `max.block.ms`.
    pub async fn send(&self, record: Record<'_>) -> Result<Delivery, Error> {
        self.enqueue(&record, None).await
    }

    /// As [`Self::send`]; `callback` is called with the record's fate, on one of the producer's tasks: it must not wait.
    ///
    /// # Errors
    /// As [`Self::send`]; `callback` isn't called then.
    pub async fn send_with(
        &self,
        record: Record<'_>,
        callback: impl FnOnce(Result<RecordMetadata, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.enqueue(&record, Some(Box::new(callback))).await.map(drop)
    }

    /// As [`Self::send`] without waiting: `None` if it would have to.
    ///
    /// # Errors
    /// If the record can't be taken, ever.
    pub fn try_send(&self, record: Record<'_>) -> Result<Option<Delivery>, Error> {
        match self.append(&record, &mut None) {
            Ok(delivery) => Ok(Some(delivery)),
            Err(Waits::Never(e)) => Err(e),
            Err(_) => Ok(None),
        }
    }

    fn append(&self, record: &Record<'_>, callback: &mut Option<Callback>) -> Result<Delivery, Waits> {
        let shared = self.shared();
        let (delivery, wake) = shared.state.lock().append(shared, record, callback)?;
        if wake {
            shared.wake.notify_one();
        }
        Ok(delivery)
    }

    async fn enqueue(&self, record: &Record<'_>, mut callback: Option<Callback>) -> Result<Delivery, Error> {
        match self.append(record, &mut callback) {
            Ok(delivery) => Ok(delivery),
            Err(Waits::Never(e)) => Err(e),
            Err(_) => self.enqueue_waiting(record, callback).await,
        }
    }

    async fn enqueue_waiting(&self, record: &Record<'_>, mut callback: Option<Callback>) -> Result<Delivery, Error> {
        let shared = self.shared();
        let deadline = shared.client.deadline(Some(self.0.max_block));
        loop {
            // Registered before the attempt, so that memory that comes free in between is not missed.
            let freed = shared.memory.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            match self.append(record, &mut callback) {
                Ok(delivery) => return Ok(delivery),
                Err(Waits::Never(e)) => return Err(e),
                Err(Waits::ForTopic) => {
                    let left = deadline.left(shared.client.io().clock.now());
                    let topic = shared.client.topic(record.topic, true, Some(left)).await?;
                    shared.state.lock().open(&topic);
                }
                Err(Waits::ForPartition(partition)) => {
                    let what = format!("partition {partition} of topic {}", record.topic);
                    let refreshed = shared.client.in_time(deadline, &what, shared.client.refresh()).await;
                    let known = refreshed?.topic(record.topic).cloned();
                    match known {
                        Some(t) if t.partition(partition).is_some() => shared.state.lock().open(&t),
                        _ => {
                            let none = Error::Broker {
                                code: logrun_wire::ErrorCode::UnknownTopicOrPartition,
                                message: Some(what.as_str().into()),
                            };
                            shared.client.pause(deadline, 0, &what, none).await?;
                        }
                    }
                }
                Err(Waits::ForMemory) => {
                    let waiting = Hurry::for_memory(shared);
                    let waited = shared
                        .client
                        .in_time(deadline, "waiting for buffer.memory", async {
                            freed.await;
                            Ok(())
                        })
                        .await;
                    drop(waiting);
                    waited?;
                }
            }
        }
    }

    /// Sends everything that was taken, now, and waits until all of it has its fate. What became of a record, its own
    /// promise tells.
    pub async fn flush(&self) {
        let shared = self.shared();
        let (_hurry, all) = Hurry::to_flush(shared);
        for completion in all {
            completion.whole().await;
        }
    }

    /// Sends everything that was taken, waits for its fate, and ends the producer: all its clones too.
    pub async fn close(&self) {
        self.flush().await;
        let ended = self.shared().ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        let was_closed = std::mem::replace(&mut self.shared().state.lock().closed, true);
        self.shared().wake.notify_one();
        if !was_closed {
            ended.await;
        }
    }

    /// Ends the producer: what isn't written within `timeout` is given up. What is under way then is not sent again, and its
    /// fate is told when the answer comes or is overdue.
    pub async fn close_within(&self, timeout: Duration) {
        let clock = &self.client().io().clock;
        tokio::select! {
            biased;
            () = self.close() => {}
            () = clock.sleep(timeout) => {
                let mut state = self.shared().state.lock();
                state.closed = true;
                state.accumulator.settings.retries = 0;
                state.accumulator.abandon(&Error::Closed);
                drop(state);
                self.shared().wake.notify_one();
            }
        }
    }
}
