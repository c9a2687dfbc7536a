//! `-Q`: the offset of the first record at or after a time, for each `-t TOPIC:PARTITION:MS`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use logrun_client::consumer::Consumer;
use logrun_client::{Config, TopicPartition};
use logrun_model::TimestampMs;

use super::args::Args;
use super::client_error;
use super::format::quote;

/// Times that are places: Kafka's ListOffsets takes them for the end and the beginning.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Asks and gives what is to be printed.
///
/// # Errors
/// A sentence.
pub async fn run(config: &Config, args: &Args) -> Result<String, String> {
    let mut asked: Vec<(TopicPartition, i64)> = Vec::new();
    for text in &args.topics {
        let (tp, time) = parse(text)?;
        if asked.iter().any(|(other, _)| *other == tp) {
            return Err(format!("-t {text}: a partition is asked about once"));
        }
        asked.push((tp, time));
    }
    if asked.is_empty() {
        return Err("-Q asks for -t TOPIC:PARTITION:MS, at least once".to_owned());
    }
    let consumer = Consumer::connect(config).map_err(|e| client_error(&e))?;
    let of = |time: i64| asked.iter().filter(move |(_, t)| *t == time).map(|(tp, _)| tp.clone());
    let mut found: BTreeMap<TopicPartition, i64> = BTreeMap::new();
    let ends = consumer.end_offsets(of(LATEST)).await.map_err(|e| client_error(&e))?;
    found.extend(ends.into_iter().map(|(tp, o)| (tp, o.get())));
    let begins = consumer.beginning_offsets(of(EARLIEST)).await.map_err(|e| client_error(&e))?;
    found.extend(begins.into_iter().map(|(tp, o)| (tp, o.get())));
    let times = asked.iter().filter(|(_, t)| *t >= 0).map(|(tp, t)| (tp.clone(), TimestampMs(*t)));
    for (tp, at) in consumer.offsets_for_times(times).await.map_err(|e| client_error(&e))? {
        // Behind the last record.
        found.insert(tp, at.map_or(-1, |at| at.offset.get()));
    }
    let answers = asked.iter().map(|(tp, _)| (tp, found.get(tp).copied().unwrap_or(-1)));
    Ok(if args.json { json(answers) } else { text(answers) })
}

fn parse(text: &str) -> Result<(TopicPartition, i64), String> {
    let unlike = || format!("-t {text}: -Q takes TOPIC:PARTITION:MS, the time in milliseconds since 1970");
    let (rest, time) = text.rsplit_once(':').ok_or_else(unlike)?;
    let (topic, partition) = rest.rsplit_once(':').ok_or_else(unlike)?;
    let partition = partition.parse().ok().filter(|p: &i32| *p >= 0).ok_or_else(unlike)?;
    let time = time.parse().ok().filter(|t: &i64| *t >= EARLIEST).ok_or_else(unlike)?;
    Ok((TopicPartition::new(topic, partition), time))
}

fn text<'a>(answers: impl Iterator<Item = (&'a TopicPartition, i64)>) -> String {
    let mut out = String::new();
    for (tp, offset) in answers {
        let _ = writeln!(out, "{} [{}] offset {offset}", tp.topic, tp.partition);
    }
    out
}

fn json<'a>(answers: impl Iterator<Item = (&'a TopicPartition, i64)>) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (tp, offset) in answers {
        let p = tp.partition;
        topics.entry(&tp.topic).or_default().push(format!("\"{p}\":{{\"partition\":{p},\"offset\":{offset}}}"));
    }
    let topics: Vec<String> = topics
        .into_iter()
        .map(|(topic, partitions)| {
            let topic = quote(topic.as_bytes());
            format!("{topic}:{{\"topic\":{topic},{}}}", partitions.join(","))
        })
        .collect();
    format!("{{{}}}\n", topics.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_and_answers_written_as_kcat_does() {
        assert_eq!(parse("t1:0:5"), Ok((TopicPartition::new("t1", 0), 5)));
        for wrong in ["t1", "t1:0", "t1:x:1", "t1:0:-3", "t1:-1:0"] {
            assert!(parse(wrong).expect_err(wrong).contains("TOPIC:PARTITION:MS"));
        }
        let (a, b) = (TopicPartition::new("t1", 0), TopicPartition::new("t2", 1));
        let answers = || [(&a, 0), (&b, 4)].into_iter();
        assert_eq!(text(answers()), "t1 [0] offset 0\nt2 [1] offset 4\n");
        let expected = "{\"t1\":{\"topic\":\"t1\",\"0\":{\"partition\":0,\"offset\":0}},\
                        \"t2\":{\"topic\":\"t2\",\"1\":{\"partition\":1,\"offset\":4}}}\n";
        assert_eq!(json(answers()), expected);
    }
}
