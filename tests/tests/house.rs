//! The rules of the house that the compiler can't check: layers, seams, module headers, file sizes,
//! and that ARCHITECTURE.md speaks of what is there.
//!
//! A rule that fails names the file and what to do; a rule is changed here, with its reason, or kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layer of each crate: it may use only crates of lower layers (within layer 5, `node` may use `broker`).
const LAYERS: &[(&str, u8)] = &[
    ("model", 0),
    ("codegen", 0),
    ("wire", 1),
    ("record", 1),
    ("config", 1),
    ("metadata", 2),
    ("coordinator", 2),
    ("partition", 2),
    ("admission", 2),
    ("controller", 3),
    ("group", 3),
    ("io", 3),
    ("log", 4),
    ("net", 4),
    ("raft", 5),
    ("client", 5),
    ("inspect", 6),
    ("broker", 6),
    ("node", 7),
    ("tools", 7),
    ("ctl", 8),
    ("cli", 9),
];

/// Crates that decide and do no IO: time and randomness reach them as parameters.
const PURE: &[&str] =
    &["model", "wire", "record", "config", "metadata", "coordinator", "partition", "admission", "controller", "group"];

/// A file above this many lines must be split. Tests at its foot count: they grow with the code.
const LINES_MAX: usize = 1000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | ".work" | "node_modules" | ".git") {
                    todo.push(path);
                }
            } else if name.ends_with(".rs") {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

#[test]
fn a_crate_uses_only_lower_layers() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, layer) in LAYERS {
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).expect(name);
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for line in dependencies.lines() {
            let Some(rest) = line.strip_prefix("logrun-") else { continue };
            let used = rest.split(['.', ' ', '=']).next().unwrap_or_default();
            match layers.get(used) {
                Some(l) if l < layer => {}
                Some(_) => wrong.push(format!("crates/{name} uses {used}, which is not in a lower layer")),
                None => wrong.push(format!("crates/{name} uses {used}, which has no layer: add it to LAYERS")),
            }
        }
    }
    for entry in fs::read_dir(root().join("crates")).expect("crates/").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !layers.contains_key(name.as_str()) && !["sim", "testkit"].contains(&name.as_str()) {
            wrong.push(format!("crates/{name} has no layer: add it to LAYERS"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn time_randomness_and_files_come_through_the_seams() {
    let banned = [
        "Instant::now",
        "SystemTime::now",
        "std::fs::",
        "use std::fs",
        "thread::spawn",
        "thread::sleep",
        "RandomState",
    ];
    let outside = ["tokio::spawn", "tokio::fs", "spawn_blocking", "TcpStream", "TcpListener"];
    let mut wrong = Vec::new();
    for (name, _) in LAYERS.iter().filter(|(n, _)| !["io", "cli", "ctl", "tools", "codegen"].contains(n)) {
        for path in rust_files(&root().join("crates").join(name).join("src")) {
            // Modules of tests may look at files; they run outside every simulated world.
            let own = path.strip_prefix(root()).unwrap_or(&path);
            let is_tests = own.components().any(|c| {
                let name = c.as_os_str().to_string_lossy();
                name == "tests" || name == "tests.rs" || name.ends_with("_tests.rs")
            });
            if is_tests {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (i, line) in code.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
                let tokio = PURE.contains(name).then_some("tokio::");
                for word in banned.iter().chain(&outside).copied().chain(tokio) {
                    if line.contains(word) {
                        wrong.push(format!("{}:{}: `{word}`: take it from logrun_io", path.display(), i + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    let mut wrong = Vec::new();
    for path in rust_files(&root()) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if !text.starts_with("//!") {
            wrong.push(format!("{}: must open with `//!`: what it is and what it must never do", path.display()));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines; split it (at most {LINES_MAX})", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn architecture_speaks_of_what_is_there() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut wrong = Vec::new();
    for quoted in text.split('`').skip(1).step_by(2) {
        let path = quoted.trim_end_matches('/');
        let is_path = ["crates/", "tests/", "xtask/", "schema/", "docs/", "fuzz/", "bench/", "bin/"]
            .iter()
            .any(|p| path.starts_with(p));
        if is_path && !path.contains(['*', '<', ' ']) && !root().join(path).exists() {
            wrong.push(format!("ARCHITECTURE.md names `{quoted}`, which is not there"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (name, _) in LAYERS {
        assert!(text.contains(&format!("`crates/{name}`")), "ARCHITECTURE.md says nothing of crates/{name}");
    }
}
