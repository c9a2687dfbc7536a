//! The codec oracle: for every message and every version, our bytes agree with Apache Kafka's own classes.
//!
//! Four questions, all messages, all versions, all with fixed seeds:
//! 1. Values that are made from the schema (nulls, defaults, extremes, unknown tags, big ones) come back the same
//!    from our codec and from Kafka's.
//! 2. Values that Kafka's classes make of themselves come back the same from ours.
//! 3. A value written at another version than it was read at gives the same bytes, or is refused by both.
//! 4. Default values are the same bytes, or refused by both.
//!
//! Kafka's side is `tests/oracle/CodecOracle.java` with the jars of `tests/oracle/pom.xml`, fetched by `mvn` into
//! `tests/.work/` the first time. More values: `CODEC_ORACLE_ROUNDS=50`.

use std::collections::BTreeMap;

use bytes::Bytes;
use logrun_codegen::build::{load, load_wire, schema_dir};
use logrun_codegen::schema::{Kind, MessageSpec};
use logrun_codegen::values::{Rng, Shape, random_message};
use logrun_coordinator::records::{GroupRecord, ShareRecord, TransactionRecord, group, share, transaction};
use logrun_metadata::records::{self as metadata, MetadataRecord};
use logrun_tests::{here, oracle};
use logrun_wire::{DecodeError, EncodeError, MessageInfo};

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".into();
    }
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let byte = |i: usize| u8::from_str_radix(&digits[i..i + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// What of a long value is shown when it differs.
fn short(text: &str) -> &str {
    &text[..text.len().min(400)]
}

fn rounds() -> u64 {
    std::env::var("CODEC_ORACLE_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(3)
}

/// Every message of the schema with the row of its generated type.
fn all() -> Vec<(MessageSpec, MessageInfo)> {
    let dir = schema_dir(&here()).expect("schema/ lies in the repository");
    let mut specs = load_wire(&dir).expect("the schema reads");
    for name in ["metadata", "group", "transaction", "share"] {
        specs.extend(load(&dir, name).expect("the schema reads"));
    }
    let tables = [logrun_wire::messages::INFOS, metadata::INFOS, group::INFOS, transaction::INFOS, share::INFOS];
    let infos: BTreeMap<&str, MessageInfo> = tables.into_iter().flatten().map(|i| (i.name, *i)).collect();
    specs.retain(|s| !s.versions.is_empty());
    assert_eq!(specs.len(), infos.len(), "each message has one type");
    let row = |s: MessageSpec| {
        let info = infos[s.name.as_str()];
        assert_eq!((info.versions.min, info.versions.max), (s.versions.min, s.versions.max), "{}", s.name);
        (s, info)
    };
    specs.into_iter().map(row).collect()
}

/// Random values of every message at every version: message, version, bytes.
fn values(all: &[(MessageSpec, MessageInfo)]) -> Vec<(&MessageSpec, MessageInfo, i16, Vec<u8>)> {
    let mut out = Vec::new();
    for (number, (spec, info)) in all.iter().enumerate() {
        for version in spec.versions.iter() {
            for shape in Shape::ALL {
                let count = match shape {
                    Shape::Empty | Shape::Defaults => 1,
                    Shape::Mixed => 2 * rounds(),
                    Shape::Full => rounds(),
                    Shape::Big => 1,
                };
                for round in 0..count {
                    let seed = (number as u64) << 32 | (version as u64) << 16 | round << 3 | shape as u64;
                    let bytes = random_message(spec, version, shape, &mut Rng::new(seed));
                    out.push((spec, *info, version, bytes));
                }
            }
        }
    }
    out
}

fn report(failures: Vec<String>, asked: usize) {
    let shown = failures.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {asked} differ:\n{shown}", failures.len());
    println!("{asked} values agree");
}

#[test]
fn values_of_the_schema_come_back() {
    if !oracle::is_there() {
        return;
    }
    let all = all();
    let values = values(&all);
    let question = |(spec, _, version, bytes): &(&MessageSpec, MessageInfo, i16, Vec<u8>)| {
        format!("transcode {} {version} {version} {}", spec.name, hex(bytes))
    };
    let answers = oracle::ask("CodecOracle.java", &values.iter().map(question).collect::<Vec<_>>());
    let mut failures = Vec::new();
    for ((spec, info, version, bytes), kafkas) in values.iter().zip(answers) {
        let expected = hex(bytes);
        let ours = (info.transcode)(Bytes::from(bytes.clone()), *version, *version);
        let ours = ours.map(|b| hex(&b)).map_err(|e| e.to_string());
        for (who, answer) in [("ours", ours), ("Kafka's", kafkas)] {
            if answer.as_ref() != Ok(&expected) {
                let got = answer.unwrap_or_else(|e| e);
                failures.push(format!("{who} {} v{version}: {} became {}", spec.name, short(&expected), short(&got)));
            }
        }
    }
    report(failures, values.len());
}

#[test]
fn values_of_kafka_come_back() {
    if !oracle::is_there() {
        return;
    }
    let all = all();
    let mut asked = Vec::new();
    for (spec, info) in &all {
        for version in spec.versions.iter() {
            asked.extend((0..2 * rounds()).map(|seed| (&spec.name, *info, version, seed)));
        }
    }
    let question =
        |(name, _, version, seed): &(&String, MessageInfo, i16, u64)| format!("fill {name} {version} {seed}");
    let answers = oracle::ask("CodecOracle.java", &asked.iter().map(question).collect::<Vec<_>>());
    let mut failures = Vec::new();
    for ((name, info, version, seed), kafkas) in asked.iter().zip(answers) {
        let failure = match kafkas {
            Err(e) => Some(format!("Kafka can't make a value: {e}")),
            Ok(kafkas) => match (info.transcode)(unhex(&kafkas), *version, *version) {
                Err(e) => Some(format!("{} is refused: {e}", short(&kafkas))),
                Ok(ours) if hex(&ours) == kafkas => None,
                Ok(ours) => Some(format!("{} became {}", short(&kafkas), short(&hex(&ours)))),
            },
        };
        failures.extend(failure.map(|f| format!("{name} v{version} seed {seed}: {f}")));
    }
    report(failures, asked.len());
}

#[test]
fn other_versions_agree_on_what_can_be_left_out() {
    if !oracle::is_there() {
        return;
    }
    let all = all();
    let mut asked = Vec::new();
    for (number, (spec, info)) in all.iter().enumerate() {
        for from in spec.versions.iter() {
            for to in spec.versions.iter().filter(|to| *to != from) {
                for shape in [Shape::Empty, Shape::Defaults, Shape::Mixed, Shape::Full] {
                    let seed = (number as u64) << 32 | (from as u64) << 16 | (to as u64) << 8 | shape as u64;
                    let bytes = random_message(spec, from, shape, &mut Rng::new(seed));
                    asked.push((&spec.name, *info, from, to, bytes));
                }
            }
        }
    }
    let question = |(name, _, from, to, bytes): &(&String, MessageInfo, i16, i16, Vec<u8>)| {
        format!("transcode {name} {from} {to} {}", hex(bytes))
    };
    let answers = oracle::ask("CodecOracle.java", &asked.iter().map(question).collect::<Vec<_>>());
    let mut failures = Vec::new();
    let mut refused = 0;
    for ((name, info, from, to, bytes), kafkas) in asked.iter().zip(answers) {
        let ours = (info.transcode)(Bytes::from(bytes.clone()), *from, *to).map(|b| hex(&b));
        match (ours, kafkas) {
            (Ok(ours), Ok(kafkas)) if ours == kafkas => {}
            (Err(_), Err(_)) => refused += 1,
            (ours, kafkas) => {
                let (ours, kafkas) = (ours.unwrap_or_else(|e| e.to_string()), kafkas.unwrap_or_else(|e| e));
                failures.push(format!("{name} v{from} to v{to}: ours {}, Kafka's {}", short(&ours), short(&kafkas)));
            }
        }
    }
    println!("{refused} values are refused by both");
    report(failures, asked.len());
}

#[test]
fn defaults_are_kafkas() {
    if !oracle::is_there() {
        return;
    }
    let all = all();
    let mut asked = Vec::new();
    for (spec, info) in &all {
        asked.extend(spec.versions.iter().map(|version| (&spec.name, *info, version)));
    }
    let question = |(name, _, version): &(&String, MessageInfo, i16)| format!("default {name} {version}");
    let answers = oracle::ask("CodecOracle.java", &asked.iter().map(question).collect::<Vec<_>>());
    let mut failures = Vec::new();
    for ((name, info, version), kafkas) in asked.iter().zip(answers) {
        match ((info.encode_default)(*version).map(|b| hex(&b)), kafkas) {
            (Ok(ours), Ok(kafkas)) if ours == kafkas => {}
            (Err(_), Err(_)) => {}
            (ours, kafkas) => failures.push(format!("{name} v{version}: ours {ours:?}, Kafka's {kafkas:?}")),
        }
    }
    report(failures, asked.len());
}

fn uvarint(mut n: u32) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

#[test]
fn metadata_records_are_framed_as_kafkas() {
    if !oracle::is_there() {
        return;
    }
    let all = all();
    // Remote log records are metadata too, but of another log.
    let ours = metadata::INFOS.iter().map(|i| i.name).collect::<Vec<_>>();
    let mut asked = Vec::new();
    for (spec, _, version, message) in values(&all) {
        if ours.contains(&spec.name.as_str()) {
            let record_type = spec.api_key.expect("a metadata record has a type");
            asked.push([uvarint(1), uvarint(record_type as u32), uvarint(version as u32), message].concat());
        }
    }
    let answers = oracle::ask(
        "CodecOracle.java",
        &asked.iter().map(|value| format!("metadata {}", hex(value))).collect::<Vec<_>>(),
    );
    let mut failures = Vec::new();
    for (value, kafkas) in asked.iter().zip(answers) {
        let ours = MetadataRecord::decode_versioned(Bytes::from(value.clone()))
            .map_err(|e| e.to_string())
            .and_then(|(record, version)| record.encode_value(version).map_err(|e| e.to_string()));
        if ours.as_ref() != Ok(&Bytes::from(value.clone())) || kafkas.as_ref() != Ok(&hex(value)) {
            failures.push(format!("{}: ours {ours:?}, Kafka's {kafkas:?}", short(&hex(value))));
        }
    }
    report(failures, asked.len());
}

/// Decodes and encodes a record of one coordinator: key, value, and the version of the value.
type Recode = fn(Bytes, Option<Bytes>, i16) -> Result<(Bytes, Option<Bytes>), String>;

macro_rules! recode {
    ($record:ty) => {
        |key, value, version| {
            let text = |e: DecodeError| e.to_string();
            <$record>::decode(key, value).map_err(text)?.encode(version).map_err(|e: EncodeError| e.to_string())
        }
    };
}

#[test]
fn coordinator_records_are_framed_as_kafkas() {
    if !oracle::is_there() {
        return;
    }
    let dir = schema_dir(&here()).expect("schema/ lies in the repository");
    let coordinators: [(&str, Recode); 3] =
        [("group", recode!(GroupRecord)), ("transaction", recode!(TransactionRecord)), ("share", recode!(ShareRecord))];
    let mut asked = Vec::new();
    for (name, recode) in coordinators {
        let specs = load(&dir, name).expect("the schema reads");
        for key_spec in specs.iter().filter(|s| s.kind == Kind::CoordinatorKey) {
            let value_spec = specs.iter().find(|s| s.kind == Kind::CoordinatorValue && s.api_key == key_spec.api_key);
            let value_spec = value_spec.expect("every key has a value");
            let record_type = key_spec.api_key.expect("a key has a type");
            for version in value_spec.versions.iter() {
                for round in 0..2 * rounds() {
                    let rng = &mut Rng::new((record_type as u64) << 32 | (version as u64) << 16 | round);
                    let key = random_message(key_spec, 0, Shape::Mixed, rng);
                    let key = [record_type.to_be_bytes().to_vec(), key].concat();
                    let value = random_message(value_spec, version, Shape::Mixed, rng);
                    let value = (round > 0).then(|| [version.to_be_bytes().to_vec(), value].concat());
                    asked.push((name, recode, version, key, value));
                }
            }
        }
    }
    let show = |key: &[u8], value: Option<&[u8]>| format!("{} {}", hex(key), value.map_or("-".into(), hex));
    let questions: Vec<String> =
        asked.iter().map(|(name, _, _, key, value)| format!("{name} {}", show(key, value.as_deref()))).collect();
    let mut failures = Vec::new();
    for (((name, recode, version, key, value), kafkas), question) in
        asked.iter().zip(oracle::ask("CodecOracle.java", &questions)).zip(&questions)
    {
        let expected = question.strip_prefix(name).expect("the question begins so").trim_start();
        let ours = recode(Bytes::from(key.clone()), value.clone().map(Bytes::from), *version);
        let ours = ours.map(|(key, value)| show(&key, value.as_deref()));
        for (who, answer) in [("ours", ours), ("Kafka's", kafkas)] {
            if answer.as_deref() != Ok(expected) {
                let got = answer.unwrap_or_else(|e| e);
                failures.push(format!("{who} {name}: {} became {}", short(expected), short(&got)));
            }
        }
    }
    report(failures, asked.len());
}
