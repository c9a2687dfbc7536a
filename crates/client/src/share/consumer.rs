//! [`ShareConsumer`]: what programs use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use logrun_config::{ClientKind, ConsumerConfig};
use logrun_io::Io;
use logrun_model::{Offset, Str, TopicPartition};
use parking_lot::Mutex;

use super::acknowledgements::AcknowledgeType;
use super::core::{self, Core};
use super::membership::{self, Member};
use super::record::{ShareRecord, ShareRecords};
use super::session;
use super::task::{self, Shared};
use crate::backoff::Backoff;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::group::{Leaving, Polling, Waker};
use crate::{Client, Result};

/// Options that mean nothing in a share group, whose place is kept by the brokers.
const NOT_OF_SHARE_GROUPS: [&str; 9] = [
    "auto.offset.reset",
    "enable.auto.commit",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "partition.assignment.strategy",
    "session.timeout.ms",
];

/// How long closing takes at most, unless it is said: as Kafka's.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// What became of acknowledgements: for [`ShareConsumer::set_acknowledgement_callback`].
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledged {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The offsets that were acknowledged.
    pub offsets: Vec<Offset>,
    /// Whether the broker took them. If it didn't, the records will be delivered again, perhaps to another member.
    pub result: Result<()>,
}

type Callback = Box<dyn Fn(&Acknowledged) + Send + Sync>;

/// Reads topics as a member of a share group: each record goes to one member at a time, which has it until it is
/// acknowledged or the group's `share.record.lock.duration.ms` is over.
///
/// With `share.acknowledgement.mode=implicit`, the default, a poll accepts all records of the poll before it; with
/// `explicit` the program calls [`Self::acknowledge`] for each. Where a group begins that is new, and whether it reads
/// committed records only, are configs of the group (`share.auto.offset.reset`, `share.isolation.level`).
///
/// Dropping it leaves the group; what isn't acknowledged goes to others. [`Self::close`] sends what is acknowledged first.
pub struct ShareConsumer {
    shared: Arc<Shared>,
    callback: Mutex<Option<Callback>>,
}

impl fmt::Debug for ShareConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareConsumer").field("group_id", &self.shared.group).finish_non_exhaustive()
    }
}

impl ShareConsumer {
    /// A share consumer over the operating system's network. Nothing is connected before it is needed. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn connect(config: &Config) -> Result<Self> {
        Self::new(Client::new(Io::real(), config, ClientKind::Consumer)?, config)
    }

    /// A share consumer over `client`'s connections, which may be shared.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn new(client: Client, config: &Config) -> Result<Self> {
        if let Some(name) = NOT_OF_SHARE_GROUPS.into_iter().find(|name| config.get(name).is_some()) {
            return Err(Error::Invalid(format!(
                "{name} can't be set for a share consumer: the group's configs say it"
            )));
        }
        let options = ConsumerConfig::resolve(config.settings())?;
        let group_id: Str = options.group_id.filter(|g| !g.is_empty()).map(Into::into).ok_or_else(|| {
            let sentence = "a share consumer needs a group.id";
            Error::Invalid(sentence.to_owned())
        })?;
        let common = client.config();
        let settings = core::Settings {
            session: session::Settings {
                group_id: group_id.clone(),
                max_wait_ms: options.fetch_max_wait_ms,
                min_bytes: options.fetch_min_bytes,
                max_bytes: options.fetch_max_bytes,
                max_records: options.max_poll_records,
                acquire_mode: i8::from(options.share_acquire_mode.eq_ignore_ascii_case("record_limit")),
            },
            max_poll_records: usize::try_from(options.max_poll_records).unwrap_or(1).max(1),
            check_crcs: options.check_crcs,
            explicit: options.share_acknowledgement_mode == "explicit",
            allow_auto_create_topics: options.allow_auto_create_topics,
        };
        let membership = membership::Settings {
            group_id: group_id.clone(),
            rack_id: Some(options.client_rack).filter(|r| !r.is_empty()).map(Into::into),
            max_poll_interval_ms: options.max_poll_interval_ms,
            backoff: Backoff::new(common.retry_backoff_ms, common.retry_backoff_max_ms),
        };
        let member = Member::new(membership, client.io().random.clone());
        let core = Core::new(client.clone(), settings, member);
        let shared = Arc::new(Shared::new(client.clone(), core, group_id));
        client.io().tasks.spawn(task::run(shared.clone()));
        Ok(Self { shared, callback: Mutex::new(None) })
    }

    /// The connections that it uses.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Ends polls from elsewhere.
    pub fn waker(&self) -> Waker {
        Waker::of(&self.shared)
    }

    /// Subscribes to topics; replaces a former subscription. No topics are the same as [`Self::unsubscribe`], without its
    /// waiting.
    ///
    /// # Errors
    /// After [`Self::close`].
    pub fn subscribe<T: Into<Str>>(&self, topics: impl IntoIterator<Item = T>) -> Result<()> {
        let topics: BTreeSet<Str> = topics.into_iter().map(Into::into).collect();
        self.shared.change(|core, now| {
            if core.is.closing {
                return Err(Error::Closed);
            }
            match topics.is_empty() {
                true => core.unsubscribe(now),
                false => core.subscribe(now, topics),
            }
            Ok(())
        })
    }

    /// The topics that it is subscribed to.
    pub fn subscription(&self) -> Vec<Str> {
        self.shared.core.lock().subscription().iter().cloned().collect()
    }

    /// Leaves the group.
    ///
    /// # Errors
    /// If that takes longer than `default.api.timeout.ms`.
    pub async fn unsubscribe(&self) -> Result<()> {
        let deadline = self.shared.client.deadline(None);
        let _leaving = Leaving::of(&self.shared);
        self.shared.change(|core, now| core.unsubscribe(now));
        self.until(deadline, "leaving the share group", |core| core.is.gone.then_some(())).await
    }

    /// What `found` finds, as soon as it finds something.
    async fn until<T>(
        &self,
        deadline: Deadline,
        what: &str,
        mut found: impl FnMut(&mut Core) -> Option<T>,
    ) -> Result<T> {
        let found = self.shared.until(deadline, |core| {
            let found = found(core).map(Ok);
            found.or_else(|| core.is.ended.then_some(Err(Error::Closed)))
        });
        found.await.unwrap_or_else(|| Err(deadline.missed(what, None)))
    }

    /// Tells the callback what became of acknowledgements.
    fn call_back(&self) {
        let settled = std::mem::take(&mut self.shared.core.lock().settled);
        if let Some(callback) = &*self.callback.lock() {
            settled.iter().for_each(callback);
        }
    }

    /// Gives out records, waiting at most `timeout` for the first ones; about `max.poll.records` (exactly so many at most
    /// with `share.acquire.mode=record_limit`). With implicit acknowledgement the records of the poll before are accepted.
    /// Records that were renewed come again, and nothing else with them.
    ///
    /// # Errors
    /// What the application must hear: that not all records of the poll before are acknowledged, that it may not read,
    /// that a record is damaged, [`Error::Woken`]. Polling may go on after any of them.
    pub async fn poll(&self, timeout: Duration) -> Result<ShareRecords> {
        let deadline = self.shared.client.deadline(Some(timeout));
        self.call_back();
        let _polling = {
            let now = self.shared.now();
            let mut core = self.shared.core.lock();
            if core.is.closing {
                return Err(Error::Closed);
            }
            if core.is.polling {
                return Err(Error::Invalid("another poll is under way on this share consumer".to_owned()));
            }
            if core.subscription().is_empty() {
                return Err(Error::Invalid("the share consumer is not subscribed to any topics".to_owned()));
            }
            let begun = core.begin_poll(now);
            drop(core);
            self.shared.to_task.notify_one();
            begun?;
            Polling(&self.shared)
        };
        let result = self.until(deadline, "a poll", |core| {
            if std::mem::take(&mut core.is.woken) {
                return Some(Err(Error::Woken));
            }
            if let Some(e) = core.errors.pop_front() {
                return Some(Err(e));
            }
            let records = core.take();
            (!records.is_empty()).then_some(Ok(records))
        });
        match result.await {
            Ok(result) => result,
            Err(Error::TimedOut { .. }) => Ok(ShareRecords::default()),
            Err(e) => Err(e),
        }
    }

    /// Says what becomes of a record of the last poll. It is sent with the next poll or commit; until then it may be said
    /// otherwise.
    ///
    /// # Errors
    /// With implicit acknowledgement, or if the record isn't one of the last poll.
    pub fn acknowledge(&self, record: &ShareRecord<'_>, kind: AcknowledgeType) -> Result<()> {
        self.acknowledge_offset(record.topic_partition(), record.offset(), kind)
    }

    /// As [`Self::acknowledge`], of the record with this offset.
    ///
    /// # Errors
    /// As [`Self::acknowledge`].
    pub fn acknowledge_offset(&self, tp: &TopicPartition, offset: Offset, kind: AcknowledgeType) -> Result<()> {
        self.shared.core.lock().acknowledge(tp, offset, kind)
    }

    /// Sends the acknowledgements (with implicit acknowledgement: of all records given out) and waits for the brokers'
    /// answers, of each partition.
    ///
    /// # Errors
    /// If not all answers came in `timeout` or `default.api.timeout.ms`.
    pub async fn commit(&self, timeout: Option<Duration>) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let deadline = self.shared.client.deadline(timeout);
        self.call_back();
        let Some(number) = self.shared.change(|core, _| core.commit()) else { return Ok(BTreeMap::new()) };
        let result = self.until(deadline, "a commit", |core| core.committed(number)).await;
        if result.is_err() {
            self.shared.core.lock().forget_commit(number);
        }
        result
    }

    /// Sends the acknowledgements without waiting; the callback hears what became of them.
    pub fn commit_later(&self) {
        self.call_back();
        self.shared.change(|core, _| {
            if let Some(number) = core.commit() {
                core.forget_commit(number);
            }
        });
    }

    /// From now on `callback` hears what became of acknowledgements, inside of polls, commits and closing: it must not
    /// wait.
    pub fn set_acknowledgement_callback(&self, callback: impl Fn(&Acknowledged) + Send + Sync + 'static) {
        self.shared.core.lock().tells = true;
        *self.callback.lock() = Some(Box::new(callback));
    }

    /// How long the broker keeps a record for this member after it was acquired or renewed; known once something was
    /// fetched.
    pub fn acquisition_lock_timeout(&self) -> Option<Duration> {
        self.shared.core.lock().lock_timeout
    }

    /// Sends the acknowledgements, gives back what isn't acknowledged, and leaves the group; in `timeout` or 30 s. With
    /// implicit acknowledgement the records of the last poll are not accepted by this: another [`Self::poll`] or a
    /// [`Self::commit`] does that.
    ///
    /// # Errors
    /// If it took longer; the consumer is closed all the same.
    pub async fn close(&self, timeout: Option<Duration>) -> Result<()> {
        let deadline = self.shared.client.deadline(Some(timeout.unwrap_or(CLOSE_WITHIN)));
        self.shared.change(|core, _| core.close());
        let closed = self.until(deadline, "closing", |core| core.is.ended.then_some(())).await;
        self.call_back();
        closed
    }
}

impl Drop for ShareConsumer {
    fn drop(&mut self) {
        self.shared.change(|core, _| core.close());
    }
}
