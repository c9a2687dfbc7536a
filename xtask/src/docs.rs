//! Rewrites the reference pages in `docs/` from the tables that they describe.
//!
//! Options come from the tables of `logrun-config`, errors from `schema/errors`, APIs from the one table in the broker.
//! That table is read as text: building the whole broker to write a page would make every other chore wait for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

const OPTIONS: &str = "configs.md";
const APIS: &str = "apis.md";
const ERRORS: &str = "errors.md";

/// What each error means, a line each: `NAME sentence`.
const MEANINGS: &str = include_str!("docs/errors.txt");

/// Writes every page that has changed into `docs`, which lies in the repository's root, and says which.
///
/// # Errors
/// If a table can't be read or a page can't be written.
pub fn run(docs: &Path) -> Result<(), String> {
    let root = docs.parent().ok_or("the pages have to lie in the repository")?;
    std::fs::create_dir_all(docs).map_err(|e| format!("{}: {e}", docs.display()))?;
    for (name, page) in pages(root)? {
        let path = docs.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|before| before == page) {
            continue;
        }
        std::fs::write(&path, page).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Each page's name and text.
fn pages(root: &Path) -> Result<Vec<(&'static str, String)>, String> {
    Ok(vec![(OPTIONS, logrun_config::page::markdown()), (APIS, apis(root)?), (ERRORS, errors(root)?)])
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// One row of the broker's table: `Fetch FetchRequest 4..=18 => k01_fetch also on controller;`.
struct Api<'a> {
    name: &'a str,
    low: &'a str,
    high: &'a str,
    handler: &'a str,
    /// Who serves it.
    by: &'a str,
}

fn row(line: &str) -> Option<Api<'_>> {
    let (what, how) = line.trim().strip_suffix(';')?.split_once(" => ")?;
    let mut what = what.split_whitespace();
    let (name, _request, versions) = (what.next()?, what.next()?, what.next()?);
    let (low, high) = versions.split_once("..=")?;
    let handler = how.split_whitespace().next()?;
    let by = match how.split_once(' ').map_or("", |(_, where_)| where_) {
        on if on.ends_with("also on controller") => "brokers, controllers",
        on if on.ends_with("answered by controller") => "brokers (the active controller answers), controllers",
        on if on.ends_with("only on controller") => "controllers",
        _ => "brokers",
    };
    Some(Api { name, low, high, handler, by })
}

fn apis(root: &Path) -> Result<String, String> {
    let broker = root.join("crates/broker/src");
    let source = read(&broker.join("api.rs"))?;
    let table = source.split_once("\napis! {\n").and_then(|(_, rest)| rest.split_once("\n}")).map(|(table, _)| table);
    let table = table.ok_or("crates/broker/src/api.rs has no table `apis! {`")?;
    let mut page = String::from(
        "# APIs\n\n\
         <!-- Written by `cargo xtask docs` from the table in crates/broker/src/api.rs; change that. -->\n\n\
         What ApiVersions answers with, and so what clients agree on: the versions of each request that Logrun serves.\n\
         Each is served on the listeners of brokers, of controllers, or of both.\n\n\
         | key | API | versions | served by | shaped by | what for |\n|---:|---|---|---|---|---|\n",
    );
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        let api = row(line).ok_or_else(|| format!("crates/broker/src/api.rs: not a row of the table: {line}"))?;
        let path = broker.join("handlers").join(format!("{}.rs", api.handler));
        let source = read(&path)?;
        let (key, kips, what) = head(&source, api.name)
            .ok_or_else(|| format!("{}: it should begin with `//! {} (key N, ...`", path.display(), api.name))?;
        let versions = if api.low == api.high { api.low.to_owned() } else { format!("{}–{}", api.low, api.high) };
        let _ = writeln!(page, "| {key} | {} | {versions} | {} | {kips} | {what} |", api.name, api.by);
    }
    Ok(page)
}

/// The key, the KIPs and the purpose from a handler's head: `//! Fetch (key 1, versions 4–18; KIP-74): what it is for.`
fn head<'a>(source: &'a str, name: &str) -> Option<(&'a str, String, String)> {
    let paragraph: Vec<&str> = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let rest = source.strip_prefix("//! ")?.strip_prefix(name)?.strip_prefix(" (key ")?;
    let (key, _) = rest.split_once(|c: char| !c.is_ascii_digit())?;
    let paragraph = paragraph.join(" ");
    let is_kip = |word: &&str| word.strip_prefix("KIP-").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let words = paragraph.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let kips: Vec<&str> = words.filter(is_kip).collect();
    let what = paragraph.split_once("):").map_or("", |(_, what)| what.trim());
    Some((key, kips.join(", "), what.replace('|', "\\|")))
}

fn errors(root: &Path) -> Result<String, String> {
    let path = root.join("schema/errors");
    let specs = logrun_codegen::parse_errors("errors", &read(&path)?).map_err(|e| e.to_string())?;
    let mut page = String::from(
        "# Errors\n\n\
         <!-- Written by `cargo xtask docs` from schema/errors, which `cargo xtask schema` rewrites, and\n\
         xtask/src/docs/errors.txt. -->\n\n\
         Kafka's error codes. After a retriable one the same request may succeed later; after one that refreshes\n\
         metadata a client asks anew who leads what before it tries again.\n\n\
         | code | error | retriable | refreshes metadata | meaning |\n|---:|---|---|---|---|\n",
    );
    let lines = MEANINGS.lines().filter(|line| !line.starts_with('#'));
    let mut meanings: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(' ')).collect();
    let yes = |is: bool| if is { "yes" } else { "" };
    for spec in &specs {
        let meaning = meanings
            .remove(spec.name.as_str())
            .ok_or_else(|| format!("xtask/src/docs/errors.txt says nothing of {}", spec.name))?;
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {meaning} |",
            spec.code,
            spec.name,
            yes(spec.retriable),
            yes(spec.invalid_metadata)
        );
    }
    match meanings.keys().next() {
        Some(name) => Err(format!("xtask/src/docs/errors.txt explains {name}, which is no error of Kafka's")),
        None => Ok(page),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_current() {
        let root = crate::root();
        for (name, page) in pages(&root).expect("tables that can be read") {
            let there = read(&root.join("docs").join(name)).unwrap_or_default();
            assert!(there == page, "docs/{name} is not what its table says: run `cargo xtask docs`");
        }
    }
}
