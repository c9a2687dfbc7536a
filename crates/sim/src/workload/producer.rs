//! A producer: batches of one or several records to random partitions, up to five under way at once, again when the
//! answer was lost, with the same sequences if it is idempotent.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use logrun_model::{ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicPartition, Uuid};
use logrun_record::{BatchBuilder, Compression, CompressionType};
use logrun_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use logrun_wire::messages::{InitProducerIdRequest, ProduceResponse};
use logrun_wire::{ErrorCode, Records};

use super::{Link, Lost, error, is_disk_trouble, is_not_ready};
use crate::model::topics::Known;
use crate::model::{Partition, Violation, Writing};
use crate::phase::Phase;
use crate::plan::{Durability, ProducerPlan};
use crate::tag::Tag;

const TIMEOUT_MS: u64 = 20_000;
/// The first version with topic ids.
const TOPIC_ID_VERSION: i16 = 13;
const VERSIONS: [i16; 6] = [3, 7, 8, 9, 12, 13];
/// A batch that has failed so often is given up by one that may give up.
const ATTEMPTS_MAX: u32 = 4;

/// A producer, from its first batch to the run's end.
pub struct Producer {
    writer: u16,
    plan: ProducerPlan,
    /// Its id and epoch, if it is idempotent and has them.
    id: Option<(i64, i16)>,
    partitions: BTreeMap<TopicPartition, Writer>,
}

/// What it does in one partition.
#[derive(Default)]
struct Writer {
    next_number: u32,
    next_sequence: i32,
    /// Sent and not settled, in order.
    unsettled: VecDeque<Batch>,
    /// Several were under way when the process ended. What it writes down of a producer is the last batch only
    /// (`ProducerStateManager`), so the next process may take the retry of an earlier one for a gap.
    ///
    /// The same if a disk failed: a partition that knows nothing of a producer takes any first sequence of it, also
    /// that of the batch behind the one that could not be written.
    in_doubt: bool,
}

/// A batch that may be sent again.
#[derive(Clone)]
struct Batch {
    tags: Vec<Tag>,
    records: Records,
    attempts: u32,
    /// When it was sent for the first time.
    sent_ms: i64,
}

/// What became of a batch.
enum Outcome {
    Settled,
    /// It will be sent again.
    Again,
    /// It will be sent again, though those behind it may have overtaken it.
    Doubt,
    /// The producer id is of no more use.
    NewId,
}

impl Producer {
    pub fn new(writer: u16, plan: ProducerPlan) -> Self {
        Self { writer, plan, id: None, partitions: BTreeMap::new() }
    }

    /// Produces for as long as the phase lasts.
    pub async fn work(&mut self, phase: Rc<Phase>) {
        let mut link = Link::new(&phase, format!("producer-{}", self.writer));
        self.partitions.values_mut().for_each(|w| w.in_doubt |= w.unsettled.len() > 1);
        if self.plan.acks == 0 {
            link.closing_is_an_answer();
        }
        while !phase.is_over() {
            if self.plan.idempotent && self.id.is_none() && self.new_id(&mut link).await.is_err() {
                phase.pause(phase.pace_ms).await;
                continue;
            }
            let tp = phase.any_partition();
            // A failure is tried again after a pause like any other.
            let _ = self.produce(&mut link, &tp).await;
            phase.pause(phase.pace_ms).await;
        }
    }

    /// The power failed and took what was acknowledged: an idempotent producer's sequences are out of step.
    pub fn forget(&mut self) {
        self.id = None;
        self.partitions.values_mut().for_each(|w| {
            w.unsettled.clear();
            w.next_sequence = 0;
        });
    }

    async fn new_id(&mut self, link: &mut Link) -> Result<(), Lost> {
        let request =
            InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 60_000, ..Default::default() };
        let response = link.call([0, 2, 4, 5][link.phase.run.random.below(4) as usize], &request, TIMEOUT_MS).await?;
        match error(response.error_code) {
            ErrorCode::None => {
                link.phase.check(|m| m.producer_ids.given(response.producer_id, response.producer_epoch));
                link.phase.run.stats.borrow_mut().add("producer ids", 1);
                self.forget();
                self.id = Some((response.producer_id, response.producer_epoch));
                Ok(())
            }
            e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
            e => {
                link.phase.fail(Violation::new("errors", format!("InitProducerId: {e}")));
                Err(Lost)
            }
        }
    }

    /// Sends what is unsettled in the partition and new batches behind it, then hears what became of them.
    async fn produce(&mut self, link: &mut Link, tp: &TopicPartition) -> Result<(), Lost> {
        let phase = link.phase.clone();
        let r = &phase.run.random;
        let topic_id = match phase.run.model.borrow().topics.get(&tp.topic) {
            Known::Exists(id) => id,
            _ => return Err(Lost),
        };
        let count = 1 + r.below(self.plan.in_flight);
        let plan = self.plan;
        let (writer_id, id) = (self.writer, self.id);
        let writer = self.partitions.entry(tp.clone()).or_default();
        // Also if the answer that said so was lost.
        writer.in_doubt |= phase.disk_fails.get();
        while (writer.unsettled.len() as u64) < count {
            let batch = writer.batch(&phase, tp.partition, writer_id, id)?;
            writer.unsettled.push_back(batch);
        }
        let mut version = VERSIONS[r.below(VERSIONS.len() as u64) as usize];
        // Before version 7 there is no zstd.
        if version < 7 {
            version = if r.chance(1, 2) { 7 } else { 8 };
        }
        let mut awaited = Vec::new();
        for batch in &mut writer.unsettled {
            if batch.attempts == 0 {
                batch.sent_ms = phase.now_ms();
            }
            batch.attempts += 1;
            let in_order = plan.acks != 0;
            phase.check(|m| {
                let p = m.partition(tp);
                p.writer(writer_id, Writing { idempotent: plan.idempotent, in_order });
                p.sending(&batch.tags);
                Ok(())
            });
            let request = request(tp, topic_id, version, plan.acks, batch.records.clone());
            match link.send(version, &request).await {
                Ok(a) => awaited.push(a),
                Err(Lost) => break,
            }
        }
        if plan.acks == 0 {
            // Nobody will ever say; a copy might come late.
            writer.unsettled.clear();
            phase.run.stats.borrow_mut().add("batches without acks", 1);
            return Ok(());
        }
        if r.chance(1, 30) {
            phase.pause(20).await;
            link.cut();
            return Err(Lost);
        }
        let mut failed = false;
        // Nothing leaves `unsettled` before it is settled: the process, and this with it, may end at any await. What
        // failed stays in front of what was behind it.
        let mut at = 0;
        for a in awaited {
            let response = match link.receive::<ProduceRequest>(a, TIMEOUT_MS).await {
                Ok(response) => response,
                Err(Lost) => {
                    failed = true;
                    break;
                }
            };
            let Some(batch) = writer.unsettled.get(at) else { break };
            match outcome(&phase, tp, batch, &response, plan, failed, writer.in_doubt) {
                Outcome::Settled => {
                    writer.in_doubt &= failed;
                    writer.unsettled.remove(at);
                }
                Outcome::Again if !plan.idempotent && batch.attempts >= ATTEMPTS_MAX => {
                    failed = true;
                    writer.unsettled.remove(at);
                }
                again @ (Outcome::Doubt | Outcome::Again) => {
                    failed = true;
                    writer.in_doubt |= matches!(again, Outcome::Doubt);
                    at += 1;
                }
                Outcome::NewId => {
                    self.id = None;
                    // The answers that are still to come are nobody's any more.
                    link.cut();
                    return Err(Lost);
                }
            }
        }
        if failed { Err(Lost) } else { Ok(()) }
    }
}

impl Writer {
    fn batch(&mut self, phase: &Phase, partition: i32, writer: u16, id: Option<(i64, i16)>) -> Result<Batch, Lost> {
        let r = &phase.run.random;
        let codec = CompressionType::ALL[if r.chance(3, 4) { 0 } else { r.below(5) as usize }];
        let mut builder = BatchBuilder::new(Compression::of(codec));
        if let Some((id, epoch)) = id {
            builder = builder.producer(ProducerId(id), ProducerEpoch(epoch), Sequence(self.next_sequence));
        }
        let count = 1 + r.below(6) as i32;
        let now = phase.io.clock.wall().get();
        let mut tags = Vec::new();
        for _ in 0..count {
            let tag = Tag { writer, number: self.next_number };
            self.next_number += 1;
            let key = tag.number.to_be_bytes();
            let timestamp = TimestampMs(now - r.below(50) as i64);
            let headers: &[(&[u8], Option<&[u8]>)] =
                if r.chance(1, 4) { &[(b"h", Some(b"1")), (b"h", None)] } else { &[] };
            let appended = builder.append(timestamp, Some(&key), Some(&tag.value(partition)), headers);
            appended.map_err(|e| phase.fail(Violation::new("simulator", e.to_string()))).map_err(|()| Lost)?;
            tags.push(tag);
        }
        if id.is_some() {
            self.next_sequence = Sequence(self.next_sequence).plus(count).get();
        }
        let batch =
            builder.build().map_err(|e| phase.fail(Violation::new("simulator", e.to_string()))).map_err(|()| Lost)?;
        Ok(Batch { tags, records: batch.bytes.into(), attempts: 0, sent_ms: 0 })
    }
}

fn request(tp: &TopicPartition, topic_id: Uuid, version: i16, acks: i16, records: Records) -> ProduceRequest {
    let partition = PartitionProduceData { index: tp.partition, records: Some(records), ..Default::default() };
    let by_id = version >= TOPIC_ID_VERSION;
    let topic = TopicProduceData {
        name: if by_id { Default::default() } else { tp.topic.clone() },
        topic_id: if by_id { topic_id } else { Uuid::ZERO },
        partition_data: vec![partition],
        ..Default::default()
    };
    ProduceRequest { acks, timeout_ms: 5_000, topic_data: vec![topic], ..Default::default() }
}

/// `failed`: one that was sent before this one, and not settled, failed.
fn outcome(
    phase: &Phase,
    tp: &TopicPartition,
    batch: &Batch,
    response: &ProduceResponse,
    plan: ProducerPlan,
    failed: bool,
    in_doubt: bool,
) -> Outcome {
    let Some(p) = response.responses.first().and_then(|t| t.partition_responses.first()) else {
        phase.fail(Violation::new("answered", "a produce response has no partition"));
        return Outcome::Settled;
    };
    match error(p.error_code) {
        ErrorCode::None => {
            let base = (p.base_offset >= 0).then_some(p.base_offset);
            let count = batch.tags.len() as i64;
            phase.check(|m| {
                let worth = m.promises.worth(&tp.topic, batch.sent_ms);
                let partition: &mut Partition = m.partition(tp);
                partition.acked(base, &batch.tags, worth)?;
                if plan.acks == -1
                    && let Some(base) = base
                {
                    partition.high_watermark = partition.high_watermark.max(base + count);
                }
                Ok(())
            });
            phase.run.stats.borrow_mut().add("batches acknowledged", 1);
            Outcome::Settled
        }
        ErrorCode::DuplicateSequenceNumber if plan.idempotent => {
            phase.check(|m| m.partition(tp).acked(None, &batch.tags, Durability::Memory));
            Outcome::Settled
        }
        ErrorCode::OutOfOrderSequenceNumber if plan.idempotent && in_doubt => Outcome::NewId,
        // The one before it is not there, so this one can't be.
        ErrorCode::OutOfOrderSequenceNumber if plan.idempotent && failed => Outcome::Again,
        e if is_not_ready(e) || is_disk_trouble(e) => {
            phase.run.stats.borrow_mut().add("batches refused", 1);
            if is_disk_trouble(e) && plan.idempotent { Outcome::Doubt } else { Outcome::Again }
        }
        e => {
            let text = p.error_message.as_ref().map_or("", |m| m.as_str());
            phase.fail(Violation::new("errors", format!("Produce to {}-{}: {e} {text}", tp.topic, tp.partition)));
            match e {
                ErrorCode::OutOfOrderSequenceNumber | ErrorCode::InvalidProducerEpoch => Outcome::NewId,
                _ => Outcome::Settled,
            }
        }
    }
}
