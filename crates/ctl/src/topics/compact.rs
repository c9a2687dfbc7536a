//! `logrun topics compact`: the topic config `logrun.compact.requested.ms` is set to now, and with `--wait` the logs are
//! watched.
//!
//! Kafka's protocol has no word for how far a compaction is. What can be seen is what the logs take on disk
//! (DescribeLogDirs), and only that is shown: it is over when nothing has changed for a while.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use logrun_client::TopicPartition;
use logrun_client::admin::{ConfigAlteration, ConfigResource, TopicDescription};

use super::{bytes, sizes};
use crate::Failure;
use crate::configs;
use crate::output::progress::size;
use crate::output::{Cell, Column, Screen, Table, Tone};
use crate::session::{Session, about};
use crate::time::span;

const REQUESTED: &str = "logrun.compact.requested.ms";

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// So long nothing may change until it counts as over; longer than a cleaner without work rests
/// (`log.cleaner.backoff.ms`, 15 s) and writes one segment.
const STILL: Duration = Duration::from_secs(20);

/// Asks for it, and watches if wanted.
///
/// # Errors
/// A topic isn't there, isn't compacted, or the cluster doesn't know of compaction on request.
pub async fn compact(screen: &mut Screen, session: &Session, names: &[String], wait: bool) -> Result<(), Failure> {
    let topics = session.topics(names).await?;
    let now = session.now_ms();
    let mut changes = BTreeMap::new();
    for topic in &topics {
        let resource = ConfigResource::topic(topic.name.clone());
        let known = configs::described(session, &resource, false).await?;
        if !known.iter().any(|c| c.name == REQUESTED) {
            return Err(Failure::new(format!(
                "this cluster can't compact on request: {REQUESTED} is a config of Logrun. Elsewhere a smaller \
                 min.cleanable.dirty.ratio and segment.ms make compaction come sooner"
            )));
        }
        let policy = known.iter().find(|c| c.name == "cleanup.policy").and_then(|c| c.raw.clone());
        if !policy.as_deref().unwrap_or_default().contains("compact") {
            return Err(Failure::new(format!(
                "topic {0} isn't compacted (cleanup.policy={1}): `logrun configs set {0} cleanup.policy=compact` first",
                topic.name,
                policy.unwrap_or_default()
            )));
        }
        changes.insert(resource, vec![ConfigAlteration::set(REQUESTED, now.to_string())]);
    }
    let before = sizes::of(session, &topics).await?;
    for (resource, result) in session.admin.incremental_alter_configs(&changes, false).await {
        result.map_err(|e| about(&format!("topic {}", resource.name), &e))?;
    }
    if !wait {
        for topic in &topics {
            screen.done(
                &format!("topic {} is being compacted", topic.name),
                &[("topic", (&topic.name).into()), ("requested_ms", now.into())],
            )?;
        }
        return Ok(());
    }
    let after = watch(session, &topics, &before).await?;
    let mut table = Table::new([
        Column::long("topic"),
        Column::number("bytes_before"),
        Column::number("bytes_after"),
        Column::number("saved"),
    ]);
    for topic in &topics {
        let sum = |sizes: &BTreeMap<TopicPartition, i64>| -> i64 {
            sizes.iter().filter(|(tp, _)| tp.topic == topic.name).map(|(_, n)| *n).sum()
        };
        let (before, after) = (sum(&before), sum(&after));
        let saved = if before > 0 { (before - after) * 100 / before } else { 0 };
        table.push(vec![
            Cell::from(&topic.name).tone(Tone::Name),
            bytes(Some(before)),
            bytes(Some(after)),
            Cell::shown(before - after, format!("{saved} %")),
        ]);
    }
    screen.table(&table)
}

/// Looks until nothing changes any more; the sizes then.
async fn watch(
    session: &Session,
    topics: &[TopicDescription],
    before: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let clock = &session.client.io().clock;
    let begun = clock.now();
    let mut last = before.clone();
    let mut changed_at = begun;
    let draws = std::io::stderr().is_terminal();
    let total: i64 = before.values().sum();
    loop {
        clock.sleep(LOOK).await;
        let sizes = sizes::of(session, topics).await?;
        if sizes != last {
            last = sizes;
            changed_at = clock.now();
        }
        let now = clock.now();
        let still = now.since(changed_at);
        if draws {
            let line = line(total, last.values().sum(), now.since(begun), still);
            write!(std::io::stderr(), "\r\x1b[K{line}")?;
        }
        if still >= STILL {
            if draws {
                write!(std::io::stderr(), "\r\x1b[K")?;
            }
            return Ok(last);
        }
    }
}

fn line(before: i64, now: i64, took: Duration, still: Duration) -> String {
    const WIDTH: usize = 30;
    let bytes = |n: i64| size(u64::try_from(n).unwrap_or(0));
    let ms = |d: Duration| span(i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
    let left = if before > 0 { (now.clamp(0, before) as f64 / before as f64 * WIDTH as f64) as usize } else { WIDTH };
    let quiet = match still.as_secs() {
        0..3 => String::new(),
        s => format!(", unchanged for {s} of {} s", STILL.as_secs()),
    };
    format!(
        "[{}{}] {} → {} in {}{quiet}",
        "#".repeat(left),
        ".".repeat(WIDTH - left),
        bytes(before),
        bytes(now),
        ms(took)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_what_is_left() {
        let seconds = Duration::from_secs;
        assert_eq!(
            line(2_000_000, 500_000, seconds(12), seconds(1)),
            "[#######.......................] 2.0 MB → 500 kB in 12s"
        );
        assert!(line(0, 0, seconds(1), seconds(9)).ends_with("unchanged for 9 of 20 s"));
        assert!(line(10, 30, seconds(1), seconds(0)).starts_with("[##############################]"));
    }
}
