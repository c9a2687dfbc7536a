//! What the acknowledgements of a topic are worth: `logrun.durability` and `flush.messages`, which change while it is
//! written.
//!
//! | the topic's setting | counts for what was sent |
//! |---|---|
//! | made with it | always |
//! | is being changed, or the answer was lost | not at all |
//! | was changed to it | from a little later on, until the next change |

use std::collections::BTreeMap;

use logrun_model::Str;

use crate::plan::Durability;

/// A change is acknowledged when it is committed; it comes into force a little later.
const IN_FORCE_AFTER_MS: i64 = 1_000;

/// The settings of all data topics.
#[derive(Debug, Default)]
pub struct Promises {
    of: BTreeMap<Str, Promise>,
}

#[derive(Debug)]
struct Promise {
    /// None: nobody knows.
    durability: Option<Durability>,
    /// In the run's virtual time.
    since_ms: i64,
    changed: bool,
}

impl Promises {
    /// The topic is about to be made with this setting.
    pub fn made(&mut self, topic: &Str, durability: Durability) {
        self.of.insert(topic.clone(), Promise { durability: Some(durability), since_ms: 0, changed: false });
    }

    /// The setting is about to be changed.
    pub fn changing(&mut self, topic: &Str) {
        self.of.insert(topic.clone(), Promise { durability: None, since_ms: 0, changed: true });
    }

    /// The change was acknowledged.
    pub fn changed(&mut self, topic: &Str, durability: Durability, now_ms: i64) {
        let since_ms = now_ms + IN_FORCE_AFTER_MS;
        self.of.insert(topic.clone(), Promise { durability: Some(durability), since_ms, changed: true });
    }

    /// What an acknowledgement is worth that is heard now, of what was first sent at `sent_ms`.
    pub fn worth(&self, topic: &Str, sent_ms: i64) -> Durability {
        let in_force = self.of.get(topic).filter(|p| p.since_ms <= sent_ms).and_then(|p| p.durability);
        in_force.unwrap_or(Durability::Memory)
    }

    /// Whether everything that the topic ever acknowledged was worth so much.
    pub fn always(&self, topic: &Str, enough: impl Fn(Durability) -> bool) -> bool {
        self.of.get(topic).is_some_and(|p| !p.changed && p.durability.is_some_and(enough))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_for_what_is_sent_after_it() {
        let mut p = Promises::default();
        let t = Str::from("t");
        assert_eq!(p.worth(&t, 5), Durability::Memory);
        p.made(&t, Durability::Sync);
        assert_eq!(p.worth(&t, 0), Durability::Sync);
        assert!(p.always(&t, Durability::survives_power_cut));
        p.changing(&t);
        assert_eq!(p.worth(&t, 5), Durability::Memory);
        p.changed(&t, Durability::Write, 10);
        assert_eq!((p.worth(&t, 1_009), p.worth(&t, 1_010)), (Durability::Memory, Durability::Write));
        assert!(!p.always(&t, Durability::survives_kill));
    }
}
