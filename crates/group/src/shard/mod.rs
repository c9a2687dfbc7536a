//! [`GroupShard`]: the group coordinator of one partition of `__consumer_offsets`, Kafka's `GroupCoordinatorShard`.
//!
//! It puts the two halves together: requests go to the membership of their group (reactive) or to the ledger
//! (recorded, run by the driver); a group's writes go to the ledger, and their commit goes back to the group.
//! The broker owns one for each partition that it leads, feeds it, and does its [`Effect`]s.

mod handle;
mod maintain;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use logrun_coordinator::{Answer, AppendFailed, Driver, Failure, Phase, RecordLog};
use logrun_model::{GroupId, LeaderEpoch, Monotonic, Now, Offset, ProducerId, Str};
use logrun_wire::messages::OffsetCommitRequest;
use logrun_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use logrun_wire::{DecodeError, ErrorCode};

use crate::classic::{self, ClassicGroup, Event, WriteId};
use crate::config::GroupConfig;
use crate::ledger::{Command, Entry, Ledger, Reply};
use crate::request::{Effect, Request, Response, Token, commit_refused, fetch_refused, list_refused};
use crate::timers::Timers;

/// Key and value of a record of `__consumer_offsets`; no value is a tombstone.
pub type KeyValue = (Bytes, Option<Bytes>);

/// What finds the asker of a command again, and what it is told if there is no reply.
#[derive(Debug)]
enum Ticket {
    Client {
        token: Token,
        refusal: Refusal,
    },
    Write {
        group_id: GroupId,
        write: WriteId,
    },
    /// Upkeep of our own: it is tried again at its next turn.
    Upkeep,
}

/// The shape of a refusal, kept while the request itself is under way.
#[derive(Debug)]
enum Refusal {
    Commit(Arc<OffsetCommitRequest>),
    Fetch(Arc<OffsetFetchRequestGroup>),
    OffsetDelete,
    Describe(Vec<Str>),
    List,
    Delete(Vec<Str>),
}

impl Refusal {
    fn response(&self, error: ErrorCode) -> Response {
        match self {
            Self::Commit(request) => Response::OffsetCommit(commit_refused(request, error)),
            Self::Fetch(group) => Response::OffsetFetch(fetch_refused(group, error)),
            Self::OffsetDelete => Response::OffsetDelete(crate::request::offset_delete_refused(error)),
            Self::Describe(ids) => Request::DescribeGroups(ids.clone()).refused(error),
            Self::List => Response::ListGroups(list_refused(error)),
            Self::Delete(ids) => Request::DeleteGroups(ids.clone()).refused(error),
        }
    }
}

/// The coordinator of the groups of one partition of `__consumer_offsets`.
pub struct GroupShard {
    config: GroupConfig,
    driver: Driver<Ledger, Ticket>,
    groups: BTreeMap<GroupId, ClassicGroup>,
    /// The next deadline of each group.
    deadlines: Timers<GroupId>,
    /// When expired offsets are looked for next; set while active.
    next_cleanup: Option<Monotonic>,
    /// When this node became active: members of KIP-848 groups in the log have not been heard of since.
    active_since: Monotonic,
}

/// The log of records as the ledger writes them, over the log of bytes that the broker gives.
struct Encoded<'a>(&'a mut dyn RecordLog<Record = KeyValue>);

impl RecordLog for Encoded<'_> {
    type Record = Entry;

    fn append(&mut self, records: &[Entry]) -> Result<Offset, AppendFailed> {
        let mut encoded = Vec::with_capacity(records.len());
        for record in records {
            match record.encode() {
                Ok(key_value) => encoded.extend(key_value),
                // A name or a subscription that the record's version has no room for.
                Err(e) => return Err(AppendFailed::new(ErrorCode::UnknownServerError, e.to_string())),
            }
        }
        self.0.append(&encoded)
    }
}

/// A turn of the shard: the time, the log partition to append to, and where effects go.
pub struct Turn<'a> {
    pub now: Now,
    /// `__consumer_offsets`: an append gives offsets at once, and need not be durable on return.
    pub log: &'a mut dyn RecordLog<Record = KeyValue>,
    /// To be done in this order.
    pub effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    fn reply(&mut self, token: Token, response: Response) {
        self.effects.push(Effect::Reply { token, response });
    }
}

type Answers = Vec<Answer<Ticket, Reply>>;

impl GroupShard {
    /// A shard that is not active yet.
    pub fn new(config: GroupConfig) -> Self {
        Self {
            config,
            driver: Driver::new(),
            groups: BTreeMap::new(),
            deadlines: Timers::default(),
            next_cleanup: None,
            active_since: Monotonic::default(),
        }
    }

    /// Loading, active or neither, and in which epoch of the partition's leader.
    pub fn phase(&self) -> Phase {
        self.driver.phase()
    }

    /// This node leads the partition in `epoch`: the log is to be fed to [`Self::replay`], then [`Self::loaded`]
    /// called. Requests are refused with COORDINATOR_LOAD_IN_PROGRESS meanwhile.
    pub fn elected(&mut self, epoch: LeaderEpoch, effects: &mut Vec<Effect>) {
        self.resigned(effects);
        // Nothing waits any more, so nothing is answered here.
        self.driver.load(epoch, Ledger::new(&self.config), &mut Vec::new());
    }

    /// Takes a record of the log while loading. `producer_id` is that of its batch if the batch is transactional,
    /// else [`ProducerId::NONE`].
    ///
    /// A record of an unknown type is skipped. One that can't be read is an error and is skipped too, so that the
    /// broker can say which it was and go on; Kafka would load nothing of the partition for its sake.
    pub fn replay(
        &mut self,
        offset: Offset,
        producer_id: ProducerId,
        key: Bytes,
        value: Option<Bytes>,
    ) -> Result<(), DecodeError> {
        if let Some(entry) = Entry::decode(producer_id, key, value)? {
            self.driver.replay(offset, &entry);
        }
        Ok(())
    }

    /// Takes a transaction marker of the log while loading.
    pub fn replay_marker(&mut self, offset: Offset, producer_id: ProducerId, committed: bool) {
        self.driver.replay(offset, &Entry::EndTransaction { producer_id, committed });
    }

    /// The whole log was fed: groups are there again, their members have a session's time to come back. Whether the
    /// shard became active; false if another election came between.
    pub fn loaded(&mut self, turn: &mut Turn<'_>, epoch: LeaderEpoch) -> bool {
        if !self.driver.loaded(epoch) {
            return false;
        }
        let now = turn.now;
        if let Some(ledger) = self.driver.machine() {
            let found = ledger.classic_groups();
            let group = |(id, value): (&GroupId, &_)| (id.clone(), ClassicGroup::from_record(id.clone(), value, now));
            self.groups = found.map(group).collect();
        }
        self.active_since = now.monotonic;
        self.next_cleanup = Some(now.monotonic.plus_ms(self.config.offsets_retention_check_interval_ms));
        let ids: Vec<GroupId> = self.groups.keys().cloned().collect();
        for id in ids {
            self.group_event(turn, &id, Event::Elected);
        }
        true
    }

    /// This node leads no more, or the log took a record that was never committed: all that waits is refused with
    /// NOT_COORDINATOR, and everything is forgotten.
    pub fn resigned(&mut self, effects: &mut Vec<Effect>) {
        let mut group_effects = Vec::new();
        for mut group in std::mem::take(&mut self.groups).into_values() {
            let mut turn = classic::Turn { now: Now::default(), config: &self.config, effects: &mut group_effects };
            group.on(&mut turn, Event::Resigned);
        }
        for effect in group_effects {
            if let classic::Effect::Reply { token, response } = effect {
                effects.push(Effect::Reply { token, response });
            }
        }
        self.deadlines = Timers::default();
        self.next_cleanup = None;
        let mut answers = Vec::new();
        self.driver.unload(&mut answers);
        for Answer { ticket, outcome } in answers {
            effects.extend(reply(ticket, outcome));
        }
    }

    /// The partition is committed below `high_watermark`.
    pub fn on_committed(&mut self, turn: &mut Turn<'_>, high_watermark: Offset) {
        let mut answers = Vec::new();
        self.driver.committed(high_watermark, &mut answers);
        self.settle(turn, answers);
        self.run_due(turn);
    }

    /// When [`Self::on_deadline`] is due; it may be past already.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let commit = self.driver.oldest_waiting().map(|since| since.plus(self.commit_timeout()));
        [self.deadlines.next(), self.next_cleanup, commit].into_iter().flatten().min()
    }

    /// Does what is due: sessions, joins and syncs that ended, replies that waited too long, expiry of offsets. What is
    /// below `high_watermark` is committed, and no longer waited for.
    pub fn on_deadline(&mut self, turn: &mut Turn<'_>, high_watermark: Offset) {
        let mut answers = Vec::new();
        self.driver.committed(high_watermark, &mut answers);
        self.driver.expire(turn.now.monotonic, self.commit_timeout(), &mut answers);
        self.settle(turn, answers);
        if self.next_cleanup.is_some_and(|at| at <= turn.now.monotonic) {
            let interval_ms = self.config.offsets_retention_check_interval_ms;
            // An interval of 0 must not keep us here for ever.
            self.next_cleanup = Some(turn.now.monotonic.plus_ms(interval_ms.max(1)));
            self.cleanup(turn);
        }
        self.run_due(turn);
    }

    fn commit_timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.config.offsets_commit_timeout_ms).unwrap_or(0))
    }

    fn run_due(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.deadlines.pop_due(turn.now.monotonic) {
            self.group_event(turn, &id, Event::DeadlineReached);
        }
    }

    /// Gives an event to a group and does what comes of it.
    fn group_event(&mut self, turn: &mut Turn<'_>, id: &GroupId, event: Event) {
        let mut answers = Vec::new();
        self.group_step(turn, id, event, &mut answers);
        self.settle(turn, answers);
    }

    fn group_step(&mut self, turn: &mut Turn<'_>, id: &GroupId, event: Event, answers: &mut Answers) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let mut effects = Vec::new();
        group.on(&mut classic::Turn { now: turn.now, config: &self.config, effects: &mut effects }, event);
        match group.next_deadline() {
            Some(at) => self.deadlines.set(id.clone(), at),
            None => self.deadlines.cancel(id),
        }
        for effect in effects {
            match effect {
                classic::Effect::Reply { token, response } => turn.reply(token, response),
                classic::Effect::Write { write, value } => {
                    let ticket = Ticket::Write { group_id: id.clone(), write };
                    self.submit(turn, ticket, Command::WriteGroup { group_id: id.clone(), value }, answers);
                }
            }
        }
        // One that was never formed is dropped at once; one that has counted generations goes on counting until
        // the next cleanup.
        if self.groups.get(id).is_some_and(ClassicGroup::is_unformed) {
            self.forget_if_vacant(id);
        }
    }

    fn submit(&mut self, turn: &mut Turn<'_>, ticket: Ticket, command: Command, answers: &mut Answers) {
        self.driver.submit(turn.now, ticket, command, &mut Encoded(&mut *turn.log), answers);
    }

    /// A group that nobody is in and that the log does not know need not be remembered: ids that were given to
    /// members that never came would pile up.
    fn forget_if_vacant(&mut self, id: &GroupId) {
        let vacant = self.groups.get(id).is_some_and(ClassicGroup::is_vacant);
        if vacant && !self.ledger_knows(id) {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: &GroupId) {
        self.groups.remove(id);
        self.deadlines.cancel(id);
    }

    fn ledger_knows(&self, id: &str) -> bool {
        self.driver.machine().is_some_and(|ledger| ledger.knows(id))
    }

    /// Passes answers on: to clients, and to groups, which may write again.
    fn settle(&mut self, turn: &mut Turn<'_>, mut answers: Answers) {
        while !answers.is_empty() {
            let mut more = Vec::new();
            for Answer { ticket, outcome } in answers {
                match ticket {
                    Ticket::Write { group_id, write } => {
                        let outcome = outcome.map(|_| ()).map_err(|failure| error_of(&failure));
                        self.group_step(turn, &group_id, Event::Written { write, outcome }, &mut more);
                    }
                    ticket => turn.effects.extend(reply(ticket, outcome)),
                }
            }
            answers = more;
        }
    }
}

fn reply(ticket: Ticket, outcome: Result<Reply, Failure>) -> Option<Effect> {
    let Ticket::Client { token, refusal } = ticket else { return None };
    let response = match outcome {
        Ok(Reply::Response(response)) => response,
        Ok(Reply::Done) => refusal.response(ErrorCode::None),
        Err(failure) => refusal.response(error_of(&failure)),
    };
    Some(Effect::Reply { token, response })
}

/// What a client is told: that it may try again wherever it may. `CoordinatorOperationExceptionHelper` in Kafka.
fn error_of(failure: &Failure) -> ErrorCode {
    match failure {
        Failure::NotActive | Failure::NeverCommitted => ErrorCode::NotCoordinator,
        Failure::Loading => ErrorCode::CoordinatorLoadInProgress,
        Failure::TimedOut => ErrorCode::CoordinatorNotAvailable,
        Failure::Append(failed) => match failed.error {
            ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
                ErrorCode::CoordinatorNotAvailable
            }
            ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
            ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
                ErrorCode::UnknownServerError
            }
            other => other,
        },
    }
}
