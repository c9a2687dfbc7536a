//! "Did you mean": what an unknown option was probably meant to be.
//!
//! Names are compared letter by letter (Damerau and Levenshtein: two swapped letters are one mistake) and word by word
//! (a wrong word among right ones is one mistake, however long). The clients' names are searched too, since a
//! client's option in a broker's file is the commonest mistake of all.

use std::sync::OnceLock;

use crate::tables::{
    Options, admin_options, broker_options, client_metrics_options, consumer_options, group_options, producer_options,
    topic_options,
};

/// Where an unknown name was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Broker,
    Topic,
    Group,
    ClientMetrics,
    /// A client of any kind: producer, consumer or admin client.
    Client,
}

impl Scope {
    fn options(self) -> &'static [&'static Options] {
        static ALL: OnceLock<[&'static Options; 7]> = OnceLock::new();
        let all = ALL.get_or_init(|| {
            [
                broker_options(),
                topic_options(),
                group_options(),
                client_metrics_options(),
                producer_options(),
                consumer_options(),
                admin_options(),
            ]
        });
        match self {
            Self::Broker => &all[0..1],
            Self::Topic => &all[1..2],
            Self::Group => &all[2..3],
            Self::ClientMetrics => &all[3..4],
            Self::Client => &all[4..7],
        }
    }

    const fn whose(self) -> &'static str {
        match self {
            Self::Broker => "a broker",
            Self::Topic => "a topic",
            Self::Group => "a group",
            Self::ClientMetrics => "a client-metrics subscription",
            Self::Client => "a client",
        }
    }
}

/// A word of another's cost at most this much: one wrong word is one mistake.
const WORD_COST: usize = 4;

/// One clause that helps with the unknown `name`, or `None` if nothing is near.
pub fn hint(name: &str, scope: Scope) -> Option<String> {
    if let Some(hint) = elsewhere(name, scope) {
        return Some(hint);
    }
    let mut best: Option<(usize, String)> = None;
    let mut offer = |distance: usize, sentence: &dyn Fn() -> String| {
        if distance <= allowed(name) && best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, sentence()));
        }
    };
    if scope == Scope::Broker {
        // A topic's name, with or without the `log.` that most brokers' names for it have.
        let rest = name.strip_prefix("log.");
        for key in topic_options().iter() {
            if let Some(synonym) = key.synonyms.first() {
                let plain = distance(name, key.name);
                let distance = rest.map_or(plain, |rest| distance(rest, key.name).min(plain));
                offer(distance, &|| {
                    format!("did you mean `{}`? (`{}` is the topic's name for it)", synonym.name, key.name)
                });
            }
        }
    }
    for key in scope.options().iter().flat_map(|options| options.iter()).filter(|key| !key.internal) {
        offer(distance(name, key.name), &|| format!("did you mean `{}`?", key.name));
    }
    if scope != Scope::Client {
        for key in Scope::Client.options().iter().flat_map(|options| options.iter()) {
            offer(distance(name, key.name), &|| {
                format!(
                    "did you mean `{}`? That is an option of {}, not of {}",
                    key.name,
                    whose(key.name),
                    scope.whose()
                )
            });
        }
    }
    best.map(|(_, sentence)| sentence)
}

/// The one of `names` that the unknown `name` was probably meant to be, if any is near.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.into_iter().map(|other| (distance(name, other), other));
    near.filter(|(distance, _)| *distance <= allowed(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// A name that is right, and elsewhere.
fn elsewhere(name: &str, scope: Scope) -> Option<String> {
    if scope == Scope::Broker
        && let Some(key) = topic_options().get(name)
    {
        return Some(match key.synonyms.first() {
            Some(synonym) => format!("that is an option of topics; a broker calls it `{}`", synonym.name),
            None => "that is an option of topics, not of a broker".to_owned(),
        });
    }
    if scope == Scope::Topic {
        let meant = topic_options().iter().find(|key| key.synonyms.iter().any(|synonym| synonym.name == name));
        if let Some(key) = meant {
            return Some(format!("that is an option of brokers; a topic calls it `{}`", key.name));
        }
    }
    if scope != Scope::Broker && broker_options().get(name).is_some() {
        return Some(format!("that is an option of brokers, not of {}", scope.whose()));
    }
    (scope != Scope::Client && is_client_option(name))
        .then(|| format!("that is an option of {}, not of {}", whose(name), scope.whose()))
}

fn is_client_option(name: &str) -> bool {
    Scope::Client.options().iter().any(|options| options.get(name).is_some())
}

/// "producers", "producers and consumers", "clients": who has the client option.
fn whose(name: &str) -> &'static str {
    let has = |options: &'static Options| options.get(name).is_some();
    match (has(producer_options()), has(consumer_options()), has(admin_options())) {
        (true, true, true) => "clients",
        (true, true, false) => "producers and consumers",
        (true, false, true) => "producers and admin clients",
        (false, true, true) => "consumers and admin clients",
        (true, false, false) => "producers",
        (false, true, false) => "consumers",
        (false, false, _) => "admin clients",
    }
}

/// How far a suggestion may be from what was written.
fn allowed(name: &str) -> usize {
    if name.len() < 10 { 2 } else { (name.len() / 5).max(3) }
}

/// The lesser of the distances by letters and by words.
fn distance(a: &str, b: &str) -> usize {
    // Each letter more is a mistake more, each word more three: beyond this no way leads to a small distance.
    if a.len().abs_diff(b.len()) > 16 {
        return usize::MAX;
    }
    letters(a, b).min(words(a, b))
}

/// The optimal string alignment distance.
fn letters(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let swapped = |i: usize, j: usize| i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
    align(a.len(), b.len(), 1, &|i, j| usize::from(a[i] != b[j]), &swapped)
}

/// As [`letters`] over the words between dots.
fn words(a: &str, b: &str) -> usize {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.split('.').collect(), b.split('.').collect());
    align(a.len(), b.len(), 3, &|i, j| letters(a[i], b[j]).min(WORD_COST), &|_, _| false)
}

/// The cheapest way from a sequence of `n` to one of `m`: `gap` for one more or less, `change` for one instead of
/// another, one for two neighbours that are `swapped`. Both callbacks get indices within the sequences.
fn align(
    n: usize,
    m: usize,
    gap: usize,
    change: &dyn Fn(usize, usize) -> usize,
    swapped: &dyn Fn(usize, usize) -> bool,
) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=m).map(|j| j * gap).collect();
    for i in 1..=n {
        let mut row = Vec::with_capacity(m + 1);
        row.push(i * gap);
        for j in 1..=m {
            let mut least = (above[j] + gap).min(row[j - 1] + gap).min(above[j - 1] + change(i - 1, j - 1));
            if swapped(i, j) {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[m]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(name: &str) -> String {
        hint(name, Scope::Broker).unwrap_or_default()
    }

    #[test]
    fn names_from_courses_that_do_not_exist() {
        assert_eq!(
            broker("retries.backoff.ms"),
            "did you mean `retry.backoff.ms`? That is an option of clients, not of a broker"
        );
        assert_eq!(
            broker("max.partitions.fetch.bytes"),
            "did you mean `max.partition.fetch.bytes`? That is an option of consumers, not of a broker"
        );
        assert_eq!(broker("offset.retention.minutees"), "did you mean `offsets.retention.minutes`?");
        assert_eq!(
            broker("max.in.flight.messages.per.connection"),
            "did you mean `max.in.flight.requests.per.connection`? That is an option of producers, not of a broker"
        );
        for name in ["log.segment.ms", "log.segments.ms"] {
            assert_eq!(broker(name), "did you mean `log.roll.ms`? (`segment.ms` is the topic's name for it)");
        }
    }

    #[test]
    fn names_that_are_right_elsewhere() {
        assert_eq!(broker("retention.ms"), "that is an option of topics; a broker calls it `log.retention.ms`");
        assert_eq!(
            broker("retention.mss"),
            "did you mean `log.retention.ms`? (`retention.ms` is the topic's name for it)"
        );
        assert_eq!(broker("group.id"), "that is an option of consumers, not of a broker");
        let topic = |name| hint(name, Scope::Topic).unwrap_or_default();
        assert_eq!(topic("log.retention.hours"), "that is an option of brokers; a topic calls it `retention.ms`");
        assert_eq!(topic("num.partitions"), "that is an option of brokers, not of a topic");
        assert_eq!(topic("retntion.ms"), "did you mean `retention.ms`?");
    }

    #[test]
    fn slips_of_the_hand() {
        for (name, meant) in [
            ("log.dir.s", "log.dirs"),
            ("lgo.dirs", "log.dirs"),
            ("listener", "listeners"),
            ("advertized.listeners", "advertised.listeners"),
            ("auto.create.topic.enable", "auto.create.topics.enable"),
            ("message.max.byte", "message.max.bytes"),
            ("procces.roles", "process.roles"),
            ("node_id", "node.id"),
        ] {
            assert!(broker(name).contains(&format!("`{meant}`")), "{name}: {}", broker(name));
        }
        for name in ["x", "foo.bar.baz", "", "my.plugin.secret.setting"] {
            assert_eq!(hint(name, Scope::Broker), None, "{name}");
        }
        assert_eq!(nearest("kafka-topcis", ["kafka-configs", "kafka-topics"]), Some("kafka-topics"));
        assert_eq!(nearest("elephant", ["kafka-configs", "kafka-topics"]), None);
        // Not ASCII, and long.
        assert_eq!(hint("téma", Scope::Broker), None);
        assert_eq!(hint(&"a.".repeat(3000), Scope::Broker), None);
    }
}
