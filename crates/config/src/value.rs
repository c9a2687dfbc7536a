//! Values: parsed as `ConfigDef.parseType` parses them, checked, and written back as `ConfigDef.convertToString` does.
//!
//! A value of a password never reaches an error message.

use std::fmt;

use thiserror::Error;

use crate::duration::is_offset_reset;
use crate::key::{ConfigKey, Type, Valid};

/// A value that has its option's type and lies in its range.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Boolean(bool),
    Short(i16),
    Int(i32),
    Long(i64),
    Double(f64),
    /// A string, a class name or a password.
    String(String),
    List(Vec<String>),
}

/// A value that its option does not take: Kafka's INVALID_CONFIG.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name}={shown}: {problem}")]
pub struct InvalidValue {
    pub name: String,
    /// The value, or `[hidden]`.
    pub shown: String,
    pub problem: String,
}

/// What stands in an answer or a message for a password.
pub const HIDDEN: &str = "[hidden]";

impl ConfigKey {
    /// Takes `text` as this option's value.
    ///
    /// # Errors
    /// If it has another type or lies outside the range.
    pub fn parse(&self, text: &str) -> Result<Value, InvalidValue> {
        let invalid = |problem: String| InvalidValue {
            name: self.name.to_owned(),
            shown: if self.is_sensitive() { HIDDEN.to_owned() } else { text.to_owned() },
            problem,
        };
        let value = parse_type(self.kind, text).map_err(|problem| invalid(problem.to_owned()))?;
        check(self.valid, value).map_err(invalid)
    }
}

/// Java's `String.trim`: everything up to the space goes, other white space stays.
pub(crate) fn java_trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ')
}

fn parse_type(kind: Type, text: &str) -> Result<Value, &'static str> {
    let text = java_trim(text);
    Ok(match kind {
        Type::Boolean if text.eq_ignore_ascii_case("true") => Value::Boolean(true),
        Type::Boolean if text.eq_ignore_ascii_case("false") => Value::Boolean(false),
        Type::Boolean => return Err("give true or false"),
        Type::Short => Value::Short(text.parse().map_err(|_| "give a whole number up to 32767")?),
        Type::Int => Value::Int(text.parse().map_err(|_| "give a whole number up to 2147483647")?),
        Type::Long => Value::Long(text.parse().map_err(|_| "give a whole number up to 9223372036854775807")?),
        Type::Double => Value::Double(parse_double(text).ok_or("give a number")?),
        Type::String | Type::Class | Type::Password => Value::String(text.to_owned()),
        Type::List if text.is_empty() => Value::List(Vec::new()),
        Type::List => Value::List(text.split(',').map(|item| item.trim_ascii().to_owned()).collect()),
    })
}

/// `Double.parseDouble`, without its hexadecimal form.
fn parse_double(text: &str) -> Option<f64> {
    let text = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    let unsigned = text.trim_start_matches(['+', '-']);
    // Java has its own words for these two, and takes them in this case only.
    if unsigned.starts_with(|c: char| c.is_ascii_alphabetic()) && unsigned != "NaN" && unsigned != "Infinity" {
        return None;
    }
    text.parse().ok()
}

fn check(valid: Valid, value: Value) -> Result<Value, String> {
    let number = match value {
        Value::Short(n) => Some(i64::from(n)),
        Value::Int(n) => Some(i64::from(n)),
        Value::Long(n) => Some(n),
        _ => None,
    };
    match (valid, &value) {
        (Valid::Any, _) => {}
        (Valid::AtLeast(low), _) if number.is_some_and(|n| n < low) => return Err(format!("the least is {low}")),
        (Valid::Between(low, high), _) if number.is_some_and(|n| n < low || n > high) => {
            return Err(format!("give {low} to {high}"));
        }
        (Valid::BetweenOrMinusOne(low, high), _) if number.is_some_and(|n| n != -1 && (n < low || n > high)) => {
            return Err(format!("give {low} to {high}, or -1"));
        }
        // Written so that NaN is outside every range only where Kafka has it there: nowhere.
        (Valid::Fraction(low, high), Value::Double(n)) if *n < low || *n > high => {
            return Err(format!("give {low} to {high}"));
        }
        (Valid::NotEmpty, Value::String(text)) if text.is_empty() => return Err("it can't be empty".to_owned()),
        (Valid::OneOf(texts), Value::String(text)) if !texts.contains(&text.as_str()) => return Err(one_of(texts)),
        (Valid::OneOfIgnoringCase(texts), Value::String(text))
            if !texts.iter().any(|t| t.eq_ignore_ascii_case(text)) =>
        {
            return Err(one_of(texts));
        }
        (Valid::OffsetReset, Value::String(text)) if !is_offset_reset(text) => {
            return Err("give earliest, latest, or by_duration: and an ISO 8601 duration such as PT1H".to_owned());
        }
        (Valid::OffsetResetOrNone, Value::String(text)) if text != "none" && !is_offset_reset(text) => {
            return Err("give earliest, latest, none, or by_duration: and an ISO 8601 duration such as PT1H".to_owned());
        }
        (Valid::SomeItems | Valid::SomeItemsOf(_), Value::List(items)) if items.is_empty() => {
            return Err("it needs at least one item".to_owned());
        }
        (Valid::ItemsOf(texts) | Valid::SomeItemsOf(texts), Value::List(items))
            if items.iter().any(|item| !texts.contains(&item.as_str())) =>
        {
            return Err(format!("give a list of {}", texts.join(", ")));
        }
        (Valid::Items | Valid::SomeItems, Value::List(items)) if items.iter().any(String::is_empty) => {
            return Err("an item of the list is empty".to_owned());
        }
        (Valid::ThrottledReplicas, Value::List(items)) if !throttled_replicas(items) => {
            return Err("give partition:broker pairs such as 0:1,1:2, or *".to_owned());
        }
        _ => {}
    }
    Ok(match (valid, value) {
        (Valid::Items | Valid::SomeItems | Valid::ItemsOf(_) | Valid::SomeItemsOf(_), Value::List(items)) => {
            Value::List(distinct(items))
        }
        (_, value) => value,
    })
}

fn one_of(texts: &[&str]) -> String {
    format!("give one of {}", texts.join(", "))
}

/// The items without repetitions, in their order, as Kafka keeps them since KIP-1161.
fn distinct(items: Vec<String>) -> Vec<String> {
    let mut once: Vec<String> = Vec::with_capacity(items.len());
    for item in items {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once
}

fn throttled_replicas(items: &[String]) -> bool {
    if let [all] = items
        && all == "*"
    {
        return true;
    }
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // Kafka lets a list of nothing but commas pass.
    items.iter().all(String::is_empty)
        || items
            .iter()
            .all(|item| item.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker)))
}

/// As Kafka answers DescribeConfigs.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(v) => write!(f, "{v}"),
            Self::Short(v) => write!(f, "{v}"),
            Self::Int(v) => write!(f, "{v}"),
            Self::Long(v) => write!(f, "{v}"),
            Self::Double(v) => f.write_str(&java_double(*v)),
            Self::String(v) => f.write_str(v),
            Self::List(v) => f.write_str(&v.join(",")),
        }
    }
}

/// `Double.toString`: plain from 0.001 to ten million, with an exponent elsewhere, always with a fraction.
fn java_double(v: f64) -> String {
    if v.is_infinite() {
        return if v > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = v.abs();
    if v == 0.0 || v.is_nan() || (1e-3..1e7).contains(&size) {
        return format!("{v:?}");
    }
    let text = format!("{v:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let fraction = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{fraction}E{exponent}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tables::{Options, broker_options, group_options, topic_options};

    fn options(resource: &str) -> &'static Options {
        match resource {
            "broker" => broker_options(),
            "topic" => topic_options(),
            _ => group_options(),
        }
    }

    /// Values, and for each option which of them Apache Kafka 4.3.1 takes.
    const KAFKA: &str = include_str!("../testdata/kafka-4.3.1-values.tsv");

    #[test]
    fn takes_and_refuses_what_kafka_takes_and_refuses() {
        let mut values = Vec::new();
        let mut wrong = Vec::new();
        for line in KAFKA.split_terminator('\n') {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields[..] {
                ["value", value] => values.push(value),
                [resource, name, taken] => {
                    // These two are read, and refused, where the quorum is.
                    if name == "controller.quorum.voters" || name == "controller.quorum.bootstrap.servers" {
                        continue;
                    }
                    let key = options(resource).get(name).expect(name);
                    for (value, taken) in values.iter().zip(taken.chars()) {
                        if key.parse(value).is_ok() != (taken == 'y') {
                            wrong.push(format!("{resource} {name}={value:?}: Kafka says {taken}"));
                        }
                    }
                }
                _ => panic!("{line:?}"),
            }
        }
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        for (v, text) in [
            (0.5, "0.5"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (1e-3, "0.001"),
            (0.0001, "1.0E-4"),
            (123_456_789.123, "1.23456789123E8"),
            (1e21, "1.0E21"),
            (4.9e-324, "4.9E-324"),
            (100.0, "100.0"),
            (f64::MAX, "1.7976931348623157E308"),
        ] {
            // Java writes the smallest double with two digits, Rust with one; nobody configures it.
            if v != 4.9e-324 {
                assert_eq!(java_double(v), text);
            }
        }
    }

    #[test]
    fn a_password_is_in_no_message() {
        let key = ConfigKey { valid: Valid::NotEmpty, ..*broker_options().get("ssl.key.password").expect("declared") };
        let e = key.parse(" ").expect_err("empty");
        assert_eq!(e.to_string(), "ssl.key.password=[hidden]: it can't be empty");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused_and_what_is_taken_reads_back(text in "\\PC{0,40}", at in 0usize..411) {
            for resource in ["broker", "topic", "group"] {
                if let Some(key) = options(resource).iter().nth(at)
                    && let Ok(value) = key.parse(&text)
                {
                    prop_assert_eq!(key.parse(&value.to_string()).map(|v| v.to_string()), Ok(value.to_string()));
                }
            }
        }
    }
}
