//! A write and a read through a topic of the doctor's own, which is removed whatever happens.

use std::time::Duration;

use logrun_client::admin::NewTopic;
use logrun_client::consumer::Consumer;
use logrun_client::{Client, ClientKind, Config, Error, ErrorCode, Producer, Record, Str, TopicPartition};
use logrun_io::Io;

use super::probe::ms_since;
use super::{Check, State, Verdict};
use crate::session::{Session, explain};
use crate::time::span;

/// Clocks that differ by more make times in records misleading.
const SKEW_MAX_MS: i64 = 1000;
/// How long a record may take to come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Does it; a check for each step.
pub async fn write_and_read(session: &Session, report: &mut dyn FnMut(Check)) {
    let io = session.client.io();
    let name = Str::from(format!("logrun-doctor-{:016x}", io.random.u64()));
    let begun = io.clock.now();
    // The broker's own time in each record tells how its clock goes.
    let topic = NewTopic::new(name.clone(), 1).config("message.timestamp.type", "LogAppendTime");
    let created = session.admin.create_topics(&[topic], false).await.and_then(|mut results| {
        results.remove(&name).unwrap_or_else(|| Err(Error::Invalid("the broker says nothing of the topic".to_owned())))
    });
    match created {
        Ok(_) => report(Check::new(
            "create a topic",
            Verdict::ok(format!("created {name} in {} ms", ms_since(&io.clock, begun))),
        )),
        Err(e)
            if matches!(
                e.code(),
                Some(ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed)
            ) =>
        {
            let verdict = Verdict {
                state: State::Warn,
                detail: "this user may not create topics: writing and reading were not tried".to_owned(),
                remedy: Some("grant CREATE on the topic prefix logrun-doctor-, or be content: --no-write".to_owned()),
            };
            return report(Check::new("create a topic", verdict));
        }
        Err(e) => {
            let remedy = "look at the broker's log, and at its replicas and disks";
            return report(Check::new("create a topic", Verdict::bad(explain(&e).sentence, remedy)));
        }
    }
    // Ctrl-C in the middle must not leave the topic behind.
    let stopped = tokio::select! {
        () = through(session, &name, report) => false,
        _ = tokio::signal::ctrl_c() => true,
    };
    let deleted = session.admin.delete_topics(std::slice::from_ref(&name)).await;
    let deleted = deleted.and_then(|mut results| results.remove(&name).unwrap_or(Ok(())));
    let verdict = match deleted {
        Ok(()) if stopped => Verdict::bad(format!("stopped; {name} is removed"), "let it end by itself"),
        Ok(()) => Verdict::ok(format!("removed {name}")),
        Err(e) => {
            let remedy = format!("remove it: logrun topics delete {name}");
            Verdict { state: State::Warn, detail: explain(&e).sentence, remedy: Some(remedy) }
        }
    };
    report(Check::new("remove it", verdict));
}

async fn through(session: &Session, name: &Str, report: &mut dyn FnMut(Check)) {
    let io = session.client.io();
    let payload = format!("{:016x}", io.random.u64());
    let sent_at = io.clock.wall().get();
    let at = match write(&session.config, name, &payload).await {
        Ok((at, took)) => {
            report(Check::new(
                "write a record",
                Verdict::ok(format!("acknowledged by all in-sync replicas in {took} ms")),
            ));
            at
        }
        Err(e) => {
            let remedy = match e.code() {
                Some(ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend) => {
                    "start the brokers that are down, or lower min.insync.replicas"
                }
                Some(ErrorCode::TopicAuthorizationFailed) => "grant WRITE on the topic",
                _ => "look at the broker's log, and whether its disk is full",
            };
            return report(Check::new("write a record", Verdict::bad(explain(&e).sentence, remedy)));
        }
    };
    let acked_at = io.clock.wall().get();
    let begun = io.clock.now();
    match read(&session.config, name, io).await {
        Ok(Some(value)) if value == payload.as_bytes() => {
            let took = ms_since(&io.clock, begun);
            report(Check::new("read it back", Verdict::ok(format!("the same bytes came back in {took} ms"))));
        }
        Ok(Some(_)) => report(Check::new(
            "read it back",
            Verdict::bad("other bytes came back than were written", "check the disk: `logrun log verify`"),
        )),
        Ok(None) => report(Check::new(
            "read it back",
            Verdict::bad(
                format!("the record didn't come within {} s", PATIENCE.as_secs()),
                "look whether the partition's replicas are in sync: `logrun topics list`",
            ),
        )),
        Err(e) => report(Check::new("read it back", Verdict::bad(explain(&e).sentence, "look at the broker's log"))),
    }
    report(Check::new("clocks", clocks(sent_at, at, acked_at)));
}

/// Whether the broker's time lies between when the record was sent and acknowledged.
fn clocks(sent: i64, written: i64, acknowledged: i64) -> Verdict {
    let off = if written < sent {
        written - sent
    } else if written > acknowledged {
        written - acknowledged
    } else {
        0
    };
    match off.abs() {
        0..=SKEW_MAX_MS => Verdict::ok(format!("the broker's and this one agree within {}", span(off.abs().max(1)))),
        _ => {
            let side = if off > 0 { "ahead of" } else { "behind" };
            Verdict {
                state: State::Warn,
                detail: format!("the broker's is {} {side} this machine's", span(off.abs())),
                remedy: Some(
                    "let both follow NTP: retention, --since and logins with tokens go by the clock".to_owned(),
                ),
            }
        }
    }
}

/// When the broker wrote it, by its clock, and how many milliseconds that took once the topic was known.
async fn write(config: &Config, topic: &Str, payload: &str) -> Result<(i64, f64), Error> {
    let config = config.clone().set("linger.ms", 0).set("acks", "all").set("max.block.ms", 10_000);
    let config = config.default_to("delivery.timeout.ms", 40_000);
    let producer = Producer::connect(&config)?;
    producer.client().topic(topic, false, Some(PATIENCE)).await?;
    let clock = &producer.client().io().clock;
    let begun = clock.now();
    let delivery = producer.send(Record::to(topic).value(payload)).await?;
    let written = delivery.await;
    let took = ms_since(clock, begun);
    producer.close().await;
    Ok((written?.timestamp, took))
}

async fn read(config: &Config, topic: &Str, io: &Io) -> Result<Option<Vec<u8>>, Error> {
    let client = Client::new(io.clone(), config, ClientKind::Consumer)?;
    let consumer = Consumer::new(client, config)?;
    let tp = TopicPartition::new(topic.clone(), 0);
    consumer.assign([tp.clone()])?;
    consumer.seek_to_beginning([&tp])?;
    let deadline = io.clock.now().plus(PATIENCE);
    while io.clock.now() < deadline {
        let records = consumer.poll(Duration::from_millis(200)).await?;
        if let Some(record) = records.iter().next() {
            return Ok(record.value().map(<[u8]>::to_vec));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_a_little() {
        assert_eq!(clocks(1000, 1005, 1010).state, State::Ok);
        assert_eq!(clocks(1000, 1900, 1010).state, State::Ok);
        let ahead = clocks(1000, 3_601_010, 1010);
        assert_eq!((ahead.state, ahead.detail.as_str()), (State::Warn, "the broker's is 1h ahead of this machine's"));
        assert!(clocks(100_000, 0, 100_010).detail.contains("behind"));
    }
}
