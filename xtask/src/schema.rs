//! `cargo xtask schema JAR_DIR`: rewrites `schema/` from the message descriptions in Kafka's published jars.
//!
//! The jars carry each message as JSON with comments. What is kept are the facts of the format: names, types,
//! versions, tags, nullability, defaults, keys, listeners. Their sentences are not. The error codes are
//! printed by the jar's own `Errors` class, run by `java`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use logrun_codegen::parse::read_default;
use logrun_codegen::print::{print_errors, print_messages};
use logrun_codegen::schema::Default;
use logrun_codegen::{Field, FieldType, Kind, MessageSpec, StructSpec, Versions, parse_errors, parse_messages};
use serde_json::{Map, Value};

type Fault = Box<dyn std::error::Error>;

/// The jars that carry message descriptions, and the file that their records (not requests) go to.
const JARS: &[(&str, &str)] = &[
    ("kafka-clients", "data"),
    ("kafka-metadata", "metadata"),
    ("kafka-group-coordinator", "group"),
    ("kafka-transaction-coordinator", "transaction"),
    ("kafka-share-coordinator", "share"),
    ("kafka-storage", "storage"),
    ("kafka-raft", "raft"),
];

const ERRORS_JAVA: &str = r#"
import org.apache.kafka.common.errors.InvalidMetadataException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;

public class PrintErrors {
    public static void main(String[] args) {
        for (Errors e : Errors.values()) {
            String line = e.code() + " " + e.name();
            if (e.exception() instanceof RetriableException) line += " retriable";
            if (e.exception() instanceof InvalidMetadataException) line += " invalid-metadata";
            System.out.println(line);
        }
    }
}
"#;

/// Reads the jars in `jar_dir` (with slf4j-api beside them, for the error codes) and writes `schema_dir`.
pub fn run(jar_dir: &Path, schema_dir: &Path) -> Result<(), Fault> {
    let work = std::env::temp_dir().join(format!("schema-{}", std::process::id()));
    let result = rewrite(jar_dir, schema_dir, &work);
    let _ = fs::remove_dir_all(&work);
    result
}

fn rewrite(jar_dir: &Path, schema_dir: &Path, work: &Path) -> Result<(), Fault> {
    let mut files: BTreeMap<String, Vec<MessageSpec>> = BTreeMap::new();
    let mut kafka = String::new();
    for (artifact, file) in JARS {
        let (jar, version) = find_jar(jar_dir, artifact)?;
        if kafka.is_empty() {
            kafka = version;
        } else if kafka != version {
            return Err(format!("{} is of Kafka {version}, the others of {kafka}", jar.display()).into());
        }
        let dir = work.join(artifact);
        fs::create_dir_all(&dir)?;
        let status = Command::new("unzip").arg("-qo").arg(&jar).arg("*.json").arg("-d").arg(&dir).status()?;
        if !status.success() {
            return Err(format!("unzip {} failed: {status}", jar.display()).into());
        }
        let mut found = Vec::new();
        find_json(&dir, &mut found)?;
        for path in found {
            let text = strip_comments(&fs::read_to_string(&path)?);
            let json: Value = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
            if json.get("validVersions").is_none() {
                continue;
            }
            let message = message(&json).map_err(|e| format!("{}: {e}", path.display()))?;
            let name = match message.kind {
                Kind::Request | Kind::Response => api_file(&message)?,
                Kind::Header => "headers".to_owned(),
                _ => (*file).to_owned(),
            };
            files.entry(name).or_default().push(message);
        }
    }
    let head = format!("Apache Kafka {kafka}. Written by `cargo xtask schema`; the notation is crates/codegen's.");
    let _ = fs::remove_dir_all(schema_dir);
    fs::create_dir_all(schema_dir.join("api"))?;
    let mut count = 0;
    for (name, mut messages) in files {
        messages.sort_by(|a, b| (a.api_key, a.kind as u8, &a.name).cmp(&(b.api_key, b.kind as u8, &b.name)));
        count += messages.len();
        let text = print_messages(&head, &messages);
        if parse_messages(&name, &text)? != messages {
            return Err(format!("{name}: what was written does not read back the same").into());
        }
        fs::write(schema_dir.join(format!("{name}.msg")), text)?;
    }
    let errors = parse_errors("Errors", &print_java_errors(jar_dir, work)?)?;
    fs::write(schema_dir.join("errors"), print_errors(&head, &errors))?;
    println!("Kafka {kafka}: {count} messages and {} error codes in {}", errors.len(), schema_dir.display());
    Ok(())
}

fn api_file(message: &MessageSpec) -> Result<String, Fault> {
    let key = message.api_key.ok_or("a request or response without an API key")?;
    let api = message.name.strip_suffix("Request").or_else(|| message.name.strip_suffix("Response"));
    Ok(format!("api/{key:03}-{}", api.ok_or("a request or response that is not called so")?))
}

fn find_jar(dir: &Path, artifact: &str) -> Result<(PathBuf, String), Fault> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version =
            name.strip_prefix(artifact).and_then(|n| n.strip_prefix('-')).and_then(|n| n.strip_suffix(".jar"));
        if let Some(version) = version.filter(|v| v.starts_with(|c: char| c.is_ascii_digit())) {
            found.push((path.clone(), version.to_owned()));
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        n => Err(format!("{} holds {n} jars of {artifact}, one is needed", dir.display()).into()),
    }
}

fn find_json(dir: &Path, out: &mut Vec<PathBuf>) -> Result<(), Fault> {
    let mut paths = fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            find_json(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "json") {
            out.push(path);
        }
    }
    Ok(())
}

fn print_java_errors(jar_dir: &Path, work: &Path) -> Result<String, Fault> {
    let source = work.join("PrintErrors.java");
    fs::write(&source, ERRORS_JAVA)?;
    let class_path = format!("{}/*", jar_dir.display());
    let output = Command::new("java").arg("-cp").arg(class_path).arg(&source).output()?;
    if !output.status.success() {
        return Err(format!("java PrintErrors failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Takes `//` comments out of JSON, leaving strings alone.
fn strip_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut in_comment, mut escaped) = (false, false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if in_comment {
            in_comment = c != '\n';
        } else if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '/' && chars.peek() == Some(&'/') {
            in_comment = true;
        } else {
            in_string = c == '"';
        }
        if !in_comment {
            out.push(c);
        }
    }
    out
}

/// The value at `key` as text; numbers and booleans too, as Kafka's own reader takes them.
fn text(json: &Map<String, Value>, key: &str) -> Option<String> {
    match json.get(key)? {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

fn flag(json: &Map<String, Value>, key: &str) -> bool {
    text(json, key).is_some_and(|t| t == "true")
}

fn versions(json: &Map<String, Value>, key: &str) -> Result<Option<Versions>, Fault> {
    let Some(range) = text(json, key) else { return Ok(None) };
    Ok(Some(Versions::parse(&range).ok_or_else(|| format!("{key}: `{range}` is not a version range"))?))
}

fn message(json: &Value) -> Result<MessageSpec, Fault> {
    let json = json.as_object().ok_or("not an object")?;
    check_keys(
        json,
        &[
            "apiKey",
            "type",
            "listeners",
            "name",
            "validVersions",
            "flexibleVersions",
            "deprecatedVersions",
            "latestVersionUnstable",
            "fields",
            "commonStructs",
        ],
    )?;
    let kind = text(json, "type").ok_or("no type")?;
    let mut common = Vec::new();
    for one in json.get("commonStructs").and_then(Value::as_array).into_iter().flatten() {
        let one = one.as_object().ok_or("a common struct is not an object")?;
        check_keys(one, &["name", "versions", "fields", "about"])?;
        common.push(StructSpec {
            name: text(one, "name").ok_or("a common struct has no name")?,
            versions: versions(one, "versions")?.ok_or("a common struct has no versions")?,
            fields: fields(one)?,
        });
    }
    Ok(MessageSpec {
        name: text(json, "name").ok_or("no name")?,
        kind: Kind::from_word(&kind).ok_or_else(|| format!("`{kind}` is an unknown kind of message"))?,
        api_key: text(json, "apiKey").map(|k| k.parse()).transpose()?,
        versions: versions(json, "validVersions")?.ok_or("no validVersions")?,
        flexible: versions(json, "flexibleVersions")?.unwrap_or(Versions::NONE),
        deprecated: versions(json, "deprecatedVersions")?.unwrap_or(Versions::NONE),
        latest_unstable: flag(json, "latestVersionUnstable"),
        listeners: json
            .get("listeners")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|l| l.as_str().map(str::to_owned))
            .collect(),
        fields: fields(json)?,
        common,
    })
}

fn fields(json: &Map<String, Value>) -> Result<Vec<Field>, Fault> {
    json.get("fields").and_then(Value::as_array).into_iter().flatten().map(field).collect()
}

fn field(json: &Value) -> Result<Field, Fault> {
    let json = json.as_object().ok_or("a field is not an object")?;
    check_keys(
        json,
        &[
            "name",
            "type",
            "versions",
            "nullableVersions",
            "taggedVersions",
            "tag",
            "default",
            "ignorable",
            "mapKey",
            "entityType",
            "flexibleVersions",
            "zeroCopy",
            "fields",
            "about",
        ],
    )?;
    let name = text(json, "name").ok_or("a field has no name")?;
    let type_name = text(json, "type").ok_or_else(|| format!("{name} has no type"))?;
    let field_type = FieldType::parse(&type_name).ok_or_else(|| format!("{name}: `{type_name}` is not a type"))?;
    let tagged = versions(json, "taggedVersions")?;
    let tag = match (text(json, "tag"), tagged) {
        (Some(tag), Some(versions)) => Some((tag.parse()?, versions)),
        (None, None) => None,
        _ => return Err(format!("{name}: tag and taggedVersions go together").into()),
    };
    // A bare JSON null is no default at all to Kafka's generator; the string "null" is.
    let default = match text(json, "default") {
        None => Default::Zero,
        Some(t) if t.is_empty() => Default::Zero,
        Some(t) => {
            let t = if field_type == FieldType::String && t != "null" { format!("{t:?}") } else { t };
            read_default(&field_type, &t).ok_or_else(|| format!("{name}: `{t}` is not a default"))?
        }
    };
    Ok(Field {
        versions: versions(json, "versions")?.or(tagged).ok_or_else(|| format!("{name} has no versions"))?,
        name,
        field_type,
        nullable: versions(json, "nullableVersions")?.unwrap_or(Versions::NONE),
        tag,
        default,
        ignorable: flag(json, "ignorable"),
        map_key: flag(json, "mapKey"),
        entity: text(json, "entityType"),
        flexible: versions(json, "flexibleVersions")?,
        fields: fields(json)?,
    })
}

/// A key that is not understood could change the format: better to stop than to guess.
fn check_keys(json: &Map<String, Value>, known: &[&str]) -> Result<(), Fault> {
    match json.keys().find(|k| !known.contains(&k.as_str())) {
        Some(key) => Err(format!("the key `{key}` is new and not understood").into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_strings_stay() {
        let text = "// one\n{ \"a\": \"b // c\\\" // d\" } // two\n";
        assert_eq!(strip_comments(text), "\n{ \"a\": \"b // c\\\" // d\" } \n");
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let json: Value = serde_json::from_str(r#"{"name":"A","type":"data","validVersions":"0","odd":1}"#).unwrap();
        assert!(message(&json).unwrap_err().to_string().contains("odd"));
    }
}
