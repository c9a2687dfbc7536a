//! What tools read besides the network: properties files, `key=value` arguments, JSON files.

use std::collections::BTreeMap;
use std::fs;

use logrun_config::properties;
use serde_json::Value;

use crate::failure::Failure;

/// Configuration by name. In order, so that what is printed of it is the same each time.
pub type Properties = BTreeMap<String, String>;

/// The text of a file.
///
/// # Errors
/// It can't be read.
pub fn text(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|e| Failure::new(format!("can't read {path}: {e}")))
}

/// The pairs of a properties file, as Java reads it.
///
/// # Errors
/// It can't be read, or Java would refuse it too.
pub fn load(path: &str) -> Result<Properties, Failure> {
    let pairs = properties::parse(&text(path)?).map_err(|e| Failure::new(format!("{path}: {e}")))?;
    Ok(pairs.into_iter().map(|p| (p.key, p.value)).collect())
}

/// Pairs given as `key=value`; a key without a value has an empty one.
pub fn pairs<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Properties {
    let pair = |argument: &str| {
        let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
        (key.to_owned(), value.to_owned())
    };
    arguments.into_iter().map(pair).collect()
}

/// A JSON file.
///
/// # Errors
/// It can't be read or is no JSON.
pub fn json(path: &str) -> Result<Value, Failure> {
    serde_json::from_str(&text(path)?).map_err(|e| Failure::new(format!("{path} is not a valid JSON: {e}")))
}

/// The partitions of a JSON file of the form `{"partitions": [{"topic": "t", "partition": 0, …}], "version": 1}`, each
/// with its whole object.
///
/// # Errors
/// A field is missing or has another type.
pub fn json_partitions(json: &Value, what: &str) -> Result<Vec<(String, i32, Value)>, Failure> {
    let missing = || Failure::new(format!("{what} is missing \"partitions\" field"));
    let list = json.get("partitions").and_then(Value::as_array).ok_or_else(missing)?;
    list.iter()
        .map(|p| {
            let topic = p.get("topic").and_then(Value::as_str);
            let partition = p.get("partition").and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
            match (topic, partition) {
                (Some(topic), Some(partition)) => Ok((topic.to_owned(), partition, p.clone())),
                _ => Err(Failure::new(format!(
                    "{what}: each of \"partitions\" needs a \"topic\" and a \"partition\": {p}"
                ))),
            }
        })
        .collect()
}
