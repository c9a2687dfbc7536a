//! What the build scripts call: reads `schema/`, writes into `OUT_DIR`. A fault of the schema stops the build
//! with its file and line.

use std::fs;
use std::path::{Path, PathBuf};

use crate::parse::{ParseError, parse_errors, parse_messages};
use crate::rust;
use crate::schema::{ErrorSpec, MessageSpec};

/// The schema directory, from the manifest directory of a crate in `crates/` or of one beside it.
pub fn schema_dir(manifest_dir: &Path) -> Option<PathBuf> {
    manifest_dir.ancestors().skip(1).map(|dir| dir.join("schema")).find(|dir| dir.join("errors").is_file())
}

/// Why the schema can't be read.
#[derive(Debug)]
pub enum LoadError {
    Io(PathBuf, std::io::Error),
    Parse(ParseError),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(path, e) => write!(f, "{}: {e}", path.display()),
            Self::Parse(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

fn read(path: &Path) -> Result<String, LoadError> {
    fs::read_to_string(path).map_err(|e| LoadError::Io(path.to_owned(), e))
}

/// The messages of `dir/NAME.msg`.
pub fn load(dir: &Path, name: &str) -> Result<Vec<MessageSpec>, LoadError> {
    let path = dir.join(format!("{name}.msg"));
    parse_messages(&path.display().to_string(), &read(&path)?).map_err(LoadError::Parse)
}

/// Requests, responses, headers, data, storage and raft: what the wire crate holds.
pub fn load_wire(dir: &Path) -> Result<Vec<MessageSpec>, LoadError> {
    let api = dir.join("api");
    let entries = fs::read_dir(&api).map_err(|e| LoadError::Io(api.clone(), e))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| LoadError::Io(api.clone(), e))?.path();
        if path.extension().is_some_and(|e| e == "msg") {
            names.extend(path.file_stem().map(|s| format!("api/{}", s.to_string_lossy())));
        }
    }
    names.sort();
    names.extend(["headers", "data", "storage", "raft"].map(str::to_owned));
    let mut messages = Vec::new();
    for name in names {
        messages.extend(load(dir, &name)?);
    }
    Ok(messages)
}

/// The error codes.
pub fn load_errors(dir: &Path) -> Result<Vec<ErrorSpec>, LoadError> {
    let path = dir.join("errors");
    parse_errors(&path.display().to_string(), &read(&path)?).map_err(LoadError::Parse)
}

/// For the build script of `wire`: `messages.rs`, `api_key.rs`, `error_code.rs`.
pub fn wire() {
    script(|dir| {
        let messages = load_wire(dir)?;
        Ok(vec![
            ("messages.rs", rust::messages(&messages, "crate")),
            ("api_key.rs", rust::api_keys(&messages)),
            ("error_code.rs", rust::error_codes(&load_errors(dir)?)),
        ])
    });
}

/// For the build script of `metadata`: `records.rs`.
pub fn metadata() {
    script(|dir| Ok(vec![("records.rs", rust::metadata(&load(dir, "metadata")?, "logrun_wire"))]));
}

/// For the build script of `coordinator`: `group.rs`, `transaction.rs`, `share.rs`.
pub fn coordinator() {
    script(|dir| {
        let one = |file: &str, name: &str| Ok(rust::coordinator(&load(dir, file)?, "logrun_wire", name));
        Ok(vec![
            ("group.rs", one("group", "GroupRecord")?),
            ("transaction.rs", one("transaction", "TransactionRecord")?),
            ("share.rs", one("share", "ShareRecord")?),
        ])
    });
}

/// For the build script of `inspect`: `descriptions.rs`, all that can be in a log's records.
pub fn descriptions() {
    script(|dir| {
        let mut out = String::new();
        for file in ["metadata", "group", "transaction", "share", "storage", "data"] {
            out.push_str(&rust::descriptions(&file.to_uppercase(), &load(dir, file)?));
        }
        Ok(vec![("descriptions.rs", out)])
    });
}

fn script(generate: impl FnOnce(&Path) -> Result<Vec<(&'static str, String)>, LoadError>) {
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}")));
    let manifest = variable("CARGO_MANIFEST_DIR");
    let dir = schema_dir(&manifest).unwrap_or_else(|| panic!("no schema/ above {}", manifest.display()));
    println!("cargo:rerun-if-changed={}", dir.display());
    let files = generate(&dir).unwrap_or_else(|e| panic!("{e}"));
    let out = variable("OUT_DIR");
    for (name, text) in files {
        let path = out.join(name);
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}
