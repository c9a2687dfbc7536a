//! From the command line, the file that it names and the environment to a checked configuration.

use std::path::{Path, PathBuf};

use logrun_config::{Loaded, Loader, properties};

use crate::args::{ServeArgs, SourceArgs};
use logrun_ctl::Failure;

/// Gathers the file, the environment and `--set`.
///
/// # Errors
/// If the file can't be read, or a `--set` is none.
pub fn gather(args: &SourceArgs, environment: &[(String, String)]) -> Result<Loader, Failure> {
    let mut loader = Loader::new();
    if let Some(path) = &args.config {
        loader.file(&path.display().to_string(), &read(path)?).map_err(Failure::new)?;
    }
    loader.environment(environment.iter().map(|(name, value)| (name, value)));
    for pair in &args.set {
        loader.set(pair).map_err(|e| Failure::usage(format!("--set {pair}: {e}")))?;
    }
    Ok(loader)
}

/// The configuration of a node to run. `ephemeral_dir` takes the place of every data directory.
///
/// # Errors
/// A sentence for whoever typed the command.
pub fn node(
    args: &ServeArgs,
    environment: &[(String, String)],
    ephemeral_dir: Option<&Path>,
) -> Result<Loaded, Failure> {
    let mut loader = gather(&args.source, environment)?;
    if let Some(port) = args.port {
        if loader.has("listeners") {
            return Err(Failure::usage(
                "--port is for the default listener, and listeners is set elsewhere: change it there, or use \
                 --set listeners=...",
            ));
        }
        loader.put("listeners", &format!("PLAINTEXT://:{port}"));
    }
    if let Some(dir) = &args.data {
        loader.put("log.dirs", &text(dir)?);
    }
    if let Some(dir) = ephemeral_dir {
        let dir = text(dir)?;
        loader.put("log.dirs", &dir);
        loader.put("metadata.log.dir", &dir);
    }
    let has_id = loader.has("node.id") || loader.has("broker.id");
    let loaded = loader.clone().finish().map_err(Failure::new)?;
    // Nobody said who this node is: a directory that another node, or Apache Kafka, has left behind says it.
    match loaded.config.log_dirs.iter().find_map(|dir| owner(dir)).filter(|_| !has_id) {
        Some(id) => {
            loader.put("node.id", &id);
            loader.finish().map_err(Failure::new)
        }
        None => Ok(loaded),
    }
}

/// The `node.id` in the `meta.properties` of a data directory. What can't be read is told of when the node takes the
/// directory.
fn owner(dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(dir.join("meta.properties")).ok()?;
    let id = properties::parse(&text).ok()?.into_iter().find(|p| p.key == "node.id")?.value;
    id.trim().parse::<i32>().ok().filter(|id| *id >= 0).map(|id| id.to_string())
}

/// A path as an option's value: a list is cut at commas.
fn text(path: &Path) -> Result<String, Failure> {
    match path.to_str() {
        Some(text) if !text.contains(',') && !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Failure::usage(format!(
            "the directory `{}` can't be used: its name is empty, has a comma or is not UTF-8",
            path.display()
        ))),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|e| {
        let remedy = match e.kind() {
            std::io::ErrorKind::NotFound => ": there is no such file, check --config",
            std::io::ErrorKind::PermissionDenied => ": it may not be read, change its permissions",
            std::io::ErrorKind::IsADirectory => ": it is a directory, name the file in it",
            _ => "",
        };
        let cause = if remedy.is_empty() { format!(": {e}") } else { String::new() };
        Failure::new(format!("can't read {}{remedy}{cause}", path.display()))
    })?;
    // Java reads such files as Latin-1, where every byte is a character.
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| e.into_bytes().iter().map(|b| char::from(*b)).collect()))
}

/// The process's environment; what is not UTF-8 can't be an option.
pub fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A path as a person would look it up.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(args: &ServeArgs) -> Failure {
        node(args, &[], None).map(|_| ()).expect_err("refused")
    }

    fn set(pair: &str) -> ServeArgs {
        ServeArgs { source: SourceArgs { set: vec![pair.to_owned()], ..SourceArgs::default() }, ..ServeArgs::default() }
    }

    #[test]
    fn sentences() {
        let no_file = SourceArgs { config: Some("no/such.properties".into()), ..SourceArgs::default() };
        let both = ServeArgs { port: Some(1), ..set("listeners=PLAINTEXT://:2") };
        let all = [
            fails(&ServeArgs { source: no_file, ..ServeArgs::default() }),
            fails(&both),
            fails(&set("log.segment.ms=1")),
            fails(&set("num.partitions")),
            fails(&set("num.partitions=x")),
            fails(&ServeArgs { data: Some("a,b".into()), ..ServeArgs::default() }),
        ];
        let lines: Vec<String> =
            all.iter().map(|f| format!("{} {}", if f.is_usage { 2 } else { 1 }, f.sentence)).collect();
        insta::assert_snapshot!("sentences", lines.join("\n"));
    }

    #[test]
    fn a_directory_says_whose_it_is_unless_somebody_does() {
        let dir = std::env::temp_dir().join(format!("logrun-test-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join("meta.properties"), "version=1\nnode.id=7\ncluster.id=x\n").expect("a file");
        let args = ServeArgs { data: Some(dir.clone()), ..ServeArgs::default() };
        let id = |environment: &[(String, String)]| node(&args, environment, None).expect("valid").config.node_id.get();
        assert_eq!(id(&[]), 7);
        assert_eq!(id(&[("KAFKA_NODE_ID".to_owned(), "3".to_owned())]), 3);
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn the_short_ways() {
        let args = ServeArgs { port: Some(19092), data: Some("d".into()), ..ServeArgs::default() };
        let config = node(&args, &[], None).expect("valid").config;
        assert_eq!(config.listeners.broker[0].port, 19092);
        assert_eq!(config.log_dirs, [PathBuf::from("d")]);

        let args = set("log.dirs=a,b");
        let config = node(&args, &[("KAFKA_METADATA_LOG_DIR".into(), "m".into())], Some(Path::new("/t/x")))
            .expect("valid")
            .config;
        assert_eq!(config.log_dirs, [PathBuf::from("/t/x")]);
        assert_eq!(config.metadata_log_dir, PathBuf::from("/t/x"));
    }
}
