//! [`Seen`]: what the clients were told, and whether it can be true of what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use logrun_client::admin::Admin;
use logrun_client::producer::RecordMetadata;
use logrun_client::{Call, Client, Error, Target, TopicPartition};
use logrun_io::Io;
use logrun_record::{Limits, split_batches};
use logrun_wire::messages::FetchRequest;
use logrun_wire::messages::fetch_request::{FetchPartition, FetchTopic};

use super::clients::{GROUP, TOPIC};
use super::{broken, no_answer};
use crate::model::{Checked, Violation};
use crate::stats::Stats;

/// A record's place: partition and offset.
type Place = (i32, i64);

/// A record that is there.
#[derive(Clone, Debug)]
pub struct Found {
    place: Place,
    /// Of the batch that it came in.
    producer_id: i64,
    producer_epoch: i16,
    text: String,
}

/// See the module. The clients are tasks of their own.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    sent: BTreeSet<String>,
    /// Every acknowledged record, with its place if that was said.
    acknowledged: BTreeMap<String, Option<Place>>,
    failed: Vec<String>,
    /// What the group's members were given.
    read: BTreeMap<Place, String>,
    /// The last committed offset that was seen of each partition.
    committed: BTreeMap<i32, i64>,
    done: bool,
    stats: Stats,
    events: Vec<(i64, String)>,
    /// What can't be, noticed by a task.
    wrong: Option<Violation>,
}

impl Seen {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an event.
    pub fn note(&self, io: &Io, event: String) {
        self.told().events.push((io.clock.now().as_ms(), event));
    }

    pub fn take_events(&self) -> Vec<(i64, String)> {
        std::mem::take(&mut self.told().events)
    }

    pub fn count(&self, what: &'static str) {
        self.told().stats.add(what, 1);
    }

    pub fn stats(&self) -> Stats {
        self.told().stats.clone()
    }

    pub fn sent(&self, text: &str) {
        self.told().sent.insert(text.to_owned());
    }

    pub fn acknowledged(&self, io: &Io, text: String, written: &RecordMetadata) {
        let place = written.offset.map(|offset| (written.partition.partition, offset));
        self.note(io, format!("{text} is acknowledged at {place:?}"));
        let mut told = self.told();
        told.stats.add("library records acknowledged", 1);
        if told.acknowledged.insert(text.clone(), place).is_some() {
            told.wrong.get_or_insert(Violation::new("fate", format!("{text} is acknowledged for the second time")));
        }
    }

    pub fn failed(&self, io: &Io, what: String, e: &Error) {
        self.note(io, format!("{what} fails: {e}"));
        self.told().failed.push(format!("{what}: {e}"));
    }

    pub fn read(&self, place: Place, text: String) {
        let mut told = self.told();
        told.stats.add("library records read", 1);
        if let Some(before) = told.read.insert(place, text.clone())
            && before != text
        {
            let what = format!("{before} was read at {place:?}, and then {text}");
            told.wrong.get_or_insert(Violation::new("read", what));
        }
    }

    /// All is done: the members may end.
    pub fn done(&self) {
        self.told().done = true;
    }

    pub fn is_done(&self) -> bool {
        self.told().done
    }

    /// Looks at what is committed, if that is to be had.
    pub async fn look_at_commits(&self, io: &Io, admin: &Admin) -> Checked {
        let found = admin.list_group_offsets(&GROUP.into(), None, false).await;
        let mut told = self.told();
        for (tp, offset) in found.into_iter().flatten() {
            let Ok(Some(committed)) = offset else { continue };
            let last = told.committed.insert(tp.partition, committed.offset).unwrap_or(-1);
            if last > committed.offset {
                let text = format!("{last} was committed of {tp}, and then {}", committed.offset);
                return Err(Violation::new("commits", text));
            }
        }
        let event = format!("committed: {:?}", told.committed);
        told.events.push((io.clock.now().as_ms(), event));
        Ok(())
    }

    /// Whether what was told of the writers' records can be true. `in_flight`: how many requests each had under way;
    /// `restarts`: processes have ended meanwhile.
    pub fn judge(&self, there: &[Found], in_flight: &[u64], restarts: bool) -> Checked {
        let told = self.told();
        let wrong = |what, text: String| Err(Violation::new(what, text));
        if let Some(wrong) = &told.wrong {
            return Err(wrong.clone());
        }
        if let Some(failed) = told.failed.first() {
            return wrong("fate", failed.clone());
        }
        if let Some(text) = told.sent.iter().find(|text| !told.acknowledged.contains_key(*text)) {
            return wrong("fate", format!("nothing was heard of {text}"));
        }
        let mut places: BTreeMap<&str, Vec<&Found>> = BTreeMap::new();
        let mut last: BTreeMap<(i32, &str), &Found> = BTreeMap::new();
        for found in there {
            let Found { place, text, .. } = found;
            if !told.sent.contains(text) {
                return wrong("read", format!("{text:?} is at {place:?}, which nobody sent"));
            }
            places.entry(text).or_default().push(found);
            let writer = text.split(' ').next().unwrap_or_default();
            if let Some(before) = last.insert((place.0, writer), found) {
                if before.producer_id != found.producer_id {
                    return wrong("once", format!("{text} is under another producer id than {}", before.text));
                }
                if (before.producer_epoch, &before.text) >= (found.producer_epoch, text) {
                    return wrong("order", format!("{text} at {place:?} lies behind {}", before.text));
                }
            }
        }
        for (text, found) in &places {
            let writer: Option<usize> = text.split(' ').next().and_then(|w| w.strip_prefix('w')?.parse().ok());
            let one_at_a_time = writer.and_then(|w| in_flight.get(w)).is_none_or(|n| *n == 1);
            if found.len() > 1 && (one_at_a_time || !restarts) {
                return wrong("once", format!("{text} is there {} times: {found:?}", found.len()));
            }
        }
        for (text, place) in &told.acknowledged {
            let found = places.get(text.as_str());
            let is_there = found.is_some_and(|all| place.is_none_or(|place| all.iter().any(|f| f.place == place)));
            if !is_there {
                return wrong("kept", format!("{text} was acknowledged at {place:?}; there it is at {found:?}"));
            }
        }
        Ok(())
    }

    /// Whether the group has read everything and is at the end. What it has read must be there.
    pub fn group_has(&self, there: &[Found]) -> Result<bool, Violation> {
        let told = self.told();
        if let Some(wrong) = &told.wrong {
            return Err(wrong.clone());
        }
        if let Some(failed) = told.failed.first() {
            return Err(Violation::new("fate", failed.clone()));
        }
        let all: BTreeMap<Place, &str> = there.iter().map(|f| (f.place, f.text.as_str())).collect();
        for (place, text) in &told.read {
            if all.get(place) != Some(&text.as_str()) {
                let text = format!("a member was given {text} at {place:?}; there is {:?}", all.get(place));
                return Err(Violation::new("read", text));
            }
        }
        let committed: i64 = told.committed.values().sum();
        Ok(told.read.len() == all.len() && committed == all.len() as i64)
    }
}

/// All records of the topic, by partition and offset.
pub async fn whole(client: &Client, partitions: i32) -> Result<Vec<Found>, Violation> {
    let mut all = Vec::new();
    for partition in 0..partitions {
        let mut at = 0;
        loop {
            let asked =
                FetchPartition { partition, fetch_offset: at, partition_max_bytes: 1 << 20, ..Default::default() };
            let request = FetchRequest {
                max_wait_ms: 10,
                max_bytes: 50 << 20,
                session_epoch: -1,
                topics: vec![FetchTopic { topic: TOPIC.into(), partitions: vec![asked], ..Default::default() }],
                ..Default::default()
            };
            let call = Call::to(Target::Leader(TopicPartition::new(TOPIC, partition))).versions(4, 12);
            let response = client.call(call, request).await.map_err(broken)?;
            let data = response.responses.into_iter().next().and_then(|t| t.partitions.into_iter().next());
            let data = data.ok_or_else(|| no_answer(TOPIC))?;
            logrun_client::check(data.error_code, None).map_err(broken)?;
            let before = all.len();
            let malformed = |e: logrun_record::BatchError| Violation::new("read", e.to_string());
            for batch in split_batches(data.records.unwrap_or_default().into_bytes()) {
                let batch = batch.map_err(malformed)?;
                batch.verify_crc().map_err(malformed)?;
                let header = &batch.header;
                for record in batch.records(&Limits::default()).map_err(malformed)? {
                    let record = record.map_err(malformed)?;
                    if record.offset.get() < at {
                        continue;
                    }
                    at = record.offset.get() + 1;
                    all.push(Found {
                        place: (partition, record.offset.get()),
                        producer_id: header.producer_id.get(),
                        producer_epoch: header.producer_epoch.get(),
                        text: String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned(),
                    });
                }
            }
            if all.len() == before {
                break;
            }
        }
    }
    Ok(all)
}
