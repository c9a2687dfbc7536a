//! What a shard does of its own accord or for an administrator: expiry (KIP-211), deletion of groups (KIP-229) and of
//! the offsets of deleted topics. Each is done in appends of a bounded size; what fails is tried again at its next turn.

use logrun_coordinator::{Answer, Failure};
use logrun_model::{GroupId, Now, Str, TopicId};
use logrun_wire::ErrorCode;

use super::{GroupShard, Ticket, Turn, error_of};
use crate::classic::{Expiry, State, Subscribed};
use crate::ledger::{Command, ForeignKind};

impl GroupShard {
    /// Topics were deleted: what was committed for them goes too.
    pub fn topics_deleted(&mut self, turn: &mut Turn<'_>, topics: &[(Str, TopicId)]) {
        for (name, topic_id) in topics {
            let command = || Command::TopicDeleted { name: name.clone(), topic_id: *topic_id };
            // A topic that leaves offsets behind does no harm: they expire.
            let _ = self.upkeep(turn, command);
        }
        self.forget_vacant();
    }

    /// Looks through all groups for offsets to expire and groups to forget.
    pub(super) fn cleanup(&mut self, turn: &mut Turn<'_>) {
        let Some(ledger) = self.driver.machine() else { return };
        let mut work: Vec<(GroupId, Expiry, Subscribed, bool)> = Vec::new();
        for (id, group) in &self.groups {
            work.push((id.clone(), group.expiry(), group.subscribed(), group.state() == State::Empty));
        }
        let simple = ledger.simple_groups().filter(|id| !self.groups.contains_key(*id));
        work.extend(simple.map(|id| (id.clone(), Expiry::SinceCommit, Subscribed::Nothing, true)));
        // The offsets of a group whose members are served elsewhere are none of ours. Share groups have none.
        let foreign = ledger.foreign_groups().filter(|(_, kind, empty)| *empty && *kind != ForeignKind::Share);
        work.extend(foreign.map(|(id, ..)| (id.clone(), Expiry::SinceCommit, Subscribed::Nothing, false)));
        for (group_id, expiry, subscribed, is_empty) in work {
            let command =
                || Command::Expire { group_id: group_id.clone(), expiry, subscribed: subscribed.clone(), is_empty };
            let done = self.upkeep(turn, command);
            // What a log does not take of this group must not hold up the others.
            if let Err(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable) = done {
                // The log takes nothing now; the next cleanup finds the same work.
                break;
            }
        }
        self.forget_vacant();
    }

    /// Deletes a group and its offsets, if nobody is in it.
    pub(super) fn delete_group(&mut self, turn: &mut Turn<'_>, id: &GroupId) -> ErrorCode {
        let checked = match (self.groups.get(id), self.foreign(turn.now, id)) {
            (Some(group), _) => group.check_delete(),
            (None, Some((_, is_empty))) => {
                if is_empty {
                    Ok(())
                } else {
                    Err(ErrorCode::NonEmptyGroup)
                }
            }
            (None, None) if self.ledger_knows(id) => Ok(()),
            (None, None) => Err(ErrorCode::GroupIdNotFound),
        };
        if let Err(error) = checked {
            return error;
        }
        match self.upkeep(turn, || Command::DeleteGroup { group_id: id.clone() }) {
            Ok(()) => {
                // Ids that it has given to members to come are no longer good.
                self.forget(id);
                ErrorCode::None
            }
            Err(error) => error,
        }
    }

    /// Makes room for a classic group of the same name; its offsets stay.
    pub(super) fn bury_foreign(&mut self, turn: &mut Turn<'_>, id: &GroupId) -> Result<(), ErrorCode> {
        self.upkeep(turn, || Command::BuryForeign { group_id: id.clone() })
    }

    /// The kind of a group that is not classic, and whether it is empty. Members that have not been heard of for a
    /// session's time are gone: nobody serves their heartbeats here.
    pub(super) fn foreign(&self, now: Now, id: &str) -> Option<(ForeignKind, bool)> {
        let (kind, is_empty) = self.driver.machine()?.foreign(id)?;
        let expired = self.active_since.plus_ms(self.config.group_consumer_session_timeout_ms) <= now.monotonic;
        Some((kind, is_empty || expired))
    }

    /// Gives the command again and again until it has nothing more to write.
    fn upkeep(&mut self, turn: &mut Turn<'_>, command: impl Fn() -> Command) -> Result<(), ErrorCode> {
        loop {
            let before = self.driver.last_written();
            let mut answers = Vec::new();
            self.submit(turn, Ticket::Upkeep, command(), &mut answers);
            let failed = answers.iter().find_map(|a| match a {
                Answer { ticket: Ticket::Upkeep, outcome: Err(failure) } => Some(failure.clone()),
                _ => None,
            });
            self.settle(turn, answers);
            if let Some(failure) = failed {
                debug_assert!(!matches!(failure, Failure::TimedOut | Failure::NeverCommitted));
                return Err(error_of(&failure));
            }
            if self.driver.last_written() == before {
                return Ok(());
            }
        }
    }

    fn forget_vacant(&mut self) {
        let ids: Vec<GroupId> = self.groups.keys().cloned().collect();
        for id in ids {
            self.forget_if_vacant(&id);
        }
    }
}
