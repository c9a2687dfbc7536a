//! A consumer's commits, one exchange with the coordinator at a time, in the order in which they were decided.
//!
//! A commit goes out under the identity that the member had when it was decided: under a later one it could speak for
//! partitions that are another's. Commits that nobody waits for ([`Shared::commit_later`]) don't pile up: one that has not
//! begun takes up the next, if that says more of the same partitions, and both have one fate.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use logrun_model::TopicPartition;
use parking_lot::Mutex;
use tokio::sync::MutexGuard;

use super::core::Ticket;
use super::offsets::{self, OffsetAndMetadata};
use super::task::Shared;
use crate::deadline::Deadline;
use crate::error::Error;

type Offsets = BTreeMap<TopicPartition, OffsetAndMetadata>;

/// Hears what became of a commit.
pub(super) type Heard = Box<dyn FnOnce(&Offsets, Result<(), Error>) + Send>;

/// The number of the last commit of each partition that may have been written.
type Last = BTreeMap<TopicPartition, u64>;

/// A commit that nobody waits for and that has not begun.
struct Later {
    ticket: Ticket,
    offsets: Offsets,
    heard: Vec<(Offsets, Heard)>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Commits {
    turn: tokio::sync::Mutex<Last>,
    later: Mutex<VecDeque<Later>>,
}

impl Shared {
    /// Commits, and waits for it. What a commit that was decided later has committed already is left out, so that none
    /// goes back.
    ///
    /// # Errors
    /// If it isn't committed before `deadline`.
    pub async fn commit(&self, ticket: &Ticket, offsets: &Offsets, deadline: Deadline) -> Result<(), Error> {
        let mut last = self.commit_turn(deadline).await?;
        self.commit_now(&mut last, ticket, offsets, deadline, true).await
    }

    async fn commit_turn(&self, deadline: Deadline) -> Result<MutexGuard<'_, Last>, Error> {
        let turn = async { Ok(self.group.commits.turn.lock().await) };
        self.client.in_time(deadline, "a commit behind others", turn).await
    }

    async fn commit_now(
        &self,
        last: &mut Last,
        ticket: &Ticket,
        offsets: &Offsets,
        deadline: Deadline,
        retry: bool,
    ) -> Result<(), Error> {
        let group = self.group.required()?;
        let mut news = offsets.clone();
        news.retain(|tp, _| last.get(tp).is_none_or(|other| *other <= ticket.number));
        let (instance_id, left) = (self.group.instance_id.as_ref(), deadline.left(self.now()));
        let sent = offsets::commit(&self.client, &group, instance_id, &ticket.identity, &news, Some(left), retry);
        let result = sent.await;
        if matches!(&result, Ok(()) | Err(Error::TimedOut { .. } | Error::Disconnected { .. })) {
            last.extend(news.into_keys().map(|tp| (tp, ticket.number)));
        }
        result
    }

    /// Commits in the background, once: a commit that is tried again could be overtaken. What was given out, if there are
    /// no `offsets`.
    ///
    /// # Errors
    /// If it can't be committed now at all; nobody hears of it then.
    pub fn commit_later(self: &Arc<Self>, offsets: Option<Offsets>, heard: Heard) -> Result<(), Error> {
        self.group.required()?;
        {
            let mut core = self.core.lock();
            let ticket = core.ticket()?;
            let offsets = offsets.unwrap_or_else(|| core.consumed());
            core.open_commits += 1;
            // Under the core's lock, so that they stand in the order of their tickets.
            let mut later = self.group.commits.later.lock();
            if let Some(back) = later.back_mut()
                && back.ticket.identity == ticket.identity
                && back.offsets.keys().all(|tp| offsets.contains_key(tp))
            {
                back.ticket = ticket;
                back.offsets.clone_from(&offsets);
                back.heard.push((offsets, heard));
                return Ok(());
            }
            later.push_back(Later { ticket, offsets: offsets.clone(), heard: vec![(offsets, heard)] });
        }
        let shared = self.clone();
        self.client.io().tasks.spawn(async move { shared.commit_next().await });
        Ok(())
    }

    /// Commits the first that was put off. There is one call of this for each.
    async fn commit_next(&self) {
        let deadline = self.client.deadline(None);
        let turn = self.commit_turn(deadline).await;
        let Some(Later { ticket, offsets, heard }) = self.group.commits.later.lock().pop_front() else { return };
        let result = match turn {
            Ok(mut last) => self.commit_now(&mut last, &ticket, &offsets, deadline, false).await,
            Err(e) => Err(e),
        };
        if let Err(e) = &result {
            self.change(|core, now| core.commit_failed(now, e));
        }
        let count = heard.len();
        for (offsets, heard) in heard {
            heard(&offsets, result.clone());
        }
        self.core.lock().open_commits -= count;
        self.to_app.notify_waiters();
    }
}
