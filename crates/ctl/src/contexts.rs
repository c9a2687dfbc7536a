//! `logrun contexts`: clusters by name, with their client properties, in one file that people may edit too.
//!
//! ```toml
//! current = "prod"
//!
//! [contexts.prod]
//! "bootstrap.servers" = "kafka-1:9092,kafka-2:9092"
//! "security.protocol" = "SASL_SSL"
//! ```
//!
//! It is `$LOGRUN_CONTEXTS`, or else `logrun/contexts.toml` in `$XDG_CONFIG_HOME` or `~/.config`. Comments in it are kept.
//! It may hold passwords: it is made for its owner's eyes only, and what is shown of them are stars.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use logrun_client::{ClientKind, Config};
use toml_edit::{DocumentMut, Item, Table as TomlTable, value};

use crate::Failure;
use crate::args::Common;
use crate::names::did_you_mean;
use crate::output::{Cell, Column, Screen, Table, Tone};
use crate::session::explain;

const EXAMPLES: &str = "\
Examples:
  logrun contexts add local -b localhost:9092
  logrun contexts add prod -b kafka-1:9093,kafka-2:9093 --use \\
      security.protocol=SASL_SSL sasl.mechanism=SCRAM-SHA-512 \\
      'sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"me\" password=\"…\";'
  logrun contexts use prod            every command talks to prod now
  logrun topics list --context local  this one to local
  logrun contexts list                all of them
  logrun contexts show prod           its properties; passwords are stars
  logrun contexts remove prod

The file is $LOGRUN_CONTEXTS, or else ~/.config/logrun/contexts.toml. LOGRUN_CONTEXT names a context for a shell.";

/// What to do with contexts.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ContextsArgs {
    #[command(subcommand)]
    command: Option<ContextsCommand>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum ContextsCommand {
    /// List them; this is what `logrun contexts` alone does
    #[command(visible_alias = "ls")]
    List,
    /// Add one, or replace its properties
    Add {
        /// What to call it
        name: String,
        /// Client properties
        #[arg(value_name = "NAME=VALUE")]
        properties: Vec<String>,
        /// Use it from now on
        #[arg(long = "use")]
        make_current: bool,
    },
    /// Use one from now on
    Use {
        /// Its name
        name: String,
    },
    /// Remove one
    #[command(visible_alias = "rm")]
    Remove {
        /// Its name
        name: String,
    },
    /// Show one's properties, of the current one if none is named
    Show {
        /// Its name
        name: Option<String>,
        /// Show passwords too
        #[arg(long)]
        secrets: bool,
    },
}

/// Runs it.
///
/// # Errors
/// A sentence.
pub fn run(args: &ContextsArgs) -> Result<ExitCode, Failure> {
    let mut screen = Screen::new(&args.common.output);
    let mut contexts = Contexts::load()?;
    match args.command.as_ref().unwrap_or(&ContextsCommand::List) {
        ContextsCommand::List => list(&mut screen, &contexts)?,
        ContextsCommand::Add { name, properties, make_current } => {
            let config = properties_of(&args.common, properties)?;
            let is_first = contexts.names().is_empty();
            contexts.put(name, &config)?;
            if *make_current || is_first {
                contexts.make_current(name)?;
            }
            contexts.save()?;
            let current = contexts.current().as_deref() == Some(name.as_str());
            let used = if current { ", and is used from now on" } else { "" };
            screen.done(
                &format!("context {name} is in {}{used}", contexts.path.display()),
                &[("name", name.as_str().into()), ("current", current.into())],
            )?;
        }
        ContextsCommand::Use { name } => {
            contexts.make_current(name)?;
            contexts.save()?;
            let servers = contexts.property(name, "bootstrap.servers").unwrap_or_default();
            screen.done(
                &format!("context {name} is used from now on: {servers}"),
                &[("current", name.as_str().into())],
            )?;
        }
        ContextsCommand::Remove { name } => {
            contexts.remove(name)?;
            contexts.save()?;
            screen.done(&format!("context {name} is removed"), &[("removed", name.as_str().into())])?;
        }
        ContextsCommand::Show { name, secrets } => show(&mut screen, &contexts, name.as_deref(), *secrets)?,
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn properties_of(common: &Common, pairs: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let connection = &common.connection;
    let mut config = Config::default();
    if let Some(path) = &connection.command_config {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|e| Failure::new(format!("can't read {shown}: {e}")))?;
        config = config.load(&shown, &text).map_err(|e| explain(&e))?;
    }
    for pair in pairs.iter().chain(&connection.set) {
        config = config.set_pair(pair).map_err(|e| explain(&e))?;
    }
    if let Some(server) = &connection.bootstrap_server {
        config = config.set("bootstrap.servers", server);
    }
    if config.get("bootstrap.servers").is_none() {
        return Err(Failure::usage("say where the cluster is: -b HOST:PORT"));
    }
    // What can't be used is better refused now than each time it is used.
    config.check(ClientKind::Admin).map_err(|e| explain(&e))?;
    Ok(config.settings().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn list(screen: &mut Screen, contexts: &Contexts) -> Result<(), Failure> {
    let current = contexts.current();
    let mut table = Table::new([
        Column::text("current"),
        Column::text("name"),
        Column::long("bootstrap_servers"),
        Column::text("security"),
    ]);
    for name in contexts.names() {
        let is_current = current.as_deref() == Some(&name);
        let mark = Cell::shown(is_current, if is_current { "*" } else { "" }).tone(Tone::Good);
        let security = contexts.property(&name, "security.protocol").unwrap_or_else(|| "PLAINTEXT".to_owned());
        let servers = contexts.property(&name, "bootstrap.servers");
        table.push(vec![mark, Cell::from(name).tone(Tone::Name), servers.into(), security.into()]);
    }
    if table.rows.is_empty() {
        screen.remark("no contexts yet: `logrun contexts add NAME -b HOST:PORT` makes one")?;
        if screen.format == crate::output::Format::Table {
            return Ok(());
        }
    }
    screen.table(&table)
}

fn show(screen: &mut Screen, contexts: &Contexts, name: Option<&str>, secrets: bool) -> Result<(), Failure> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => contexts
            .current()
            .ok_or_else(|| Failure::new("there is no current context: name one, or `logrun contexts use NAME`"))?,
    };
    let mut table = Table::new([Column::text("property"), Column::long("value")]);
    for (property, value) in contexts.properties(&name)? {
        let shown = if !secrets && is_secret(&property) { "********".to_owned() } else { value };
        table.push(vec![Cell::from(property).tone(Tone::Name), shown.into()]);
    }
    screen.table(&table)
}

/// Whether a property's value is not to be seen by who looks over a shoulder.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "jaas", "token", "keystore.key"].iter().any(|word| name.to_lowercase().contains(word))
}

/// The file.
#[derive(Debug)]
pub struct Contexts {
    path: PathBuf,
    document: DocumentMut,
}

fn path() -> Result<PathBuf, Failure> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let found = of("LOGRUN_CONTEXTS")
        .or_else(|| of("XDG_CONFIG_HOME").map(|dir| dir.join("logrun/contexts.toml")))
        .or_else(|| of("HOME").map(|dir| dir.join(".config/logrun/contexts.toml")));
    found.ok_or_else(|| Failure::new("there is no place for contexts: set LOGRUN_CONTEXTS to a file's path"))
}

impl Contexts {
    /// What is in the file; nothing if there is none.
    ///
    /// # Errors
    /// It can't be read or is no TOML.
    pub fn load() -> Result<Self, Failure> {
        let Ok(path) = path() else { return Ok(Self { path: PathBuf::new(), document: DocumentMut::new() }) };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Failure::new(format!("can't read {}: {e}", path.display()))),
        };
        Self::parse(path, &text)
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, Failure> {
        let document = text
            .parse::<DocumentMut>()
            .map_err(|e| Failure::new(format!("{} is no TOML: {}", path.display(), e.to_string().trim_end())))?;
        Ok(Self { path, document })
    }

    /// The file takes the place of the old one as a whole, and only its owner can read it.
    fn save(&self) -> Result<(), Failure> {
        let target = if self.path.as_os_str().is_empty() { path()? } else { self.path.clone() };
        // A link leads to where the file is kept.
        let target = fs::canonicalize(&target).unwrap_or(target);
        let cannot = |e: std::io::Error| Failure::new(format!("can't write {}: {e}", target.display()));
        if let Some(dir) = target.parent() {
            fs::create_dir_all(dir).map_err(cannot)?;
        }
        let fresh = target.with_extension(format!("new-{}", std::process::id()));
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(self.document.to_string().as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &target)
        };
        write().map_err(|e| {
            // What is left of a failed attempt is of no use; that it can't be removed changes nothing.
            let _ = fs::remove_file(&fresh);
            cannot(e)
        })
    }

    fn table(&self) -> Option<&dyn toml_edit::TableLike> {
        self.document.get("contexts")?.as_table_like()
    }

    /// Their names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.table().map(|t| t.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default();
        names.sort();
        names
    }

    fn current(&self) -> Option<String> {
        self.document.get("current")?.as_str().map(str::to_owned)
    }

    fn property(&self, name: &str, property: &str) -> Option<String> {
        self.properties(name).ok()?.into_iter().find(|(p, _)| p == property).map(|(_, value)| value)
    }

    /// A context's properties; a number or a truth value may stand without quotes, and dotted keys are joined.
    fn properties(&self, name: &str) -> Result<Vec<(String, String)>, Failure> {
        let table = self.table().and_then(|t| t.get(name)).and_then(Item::as_table_like);
        let table = table.ok_or_else(|| self.unknown(name))?;
        let mut found = Vec::new();
        flatten(table, "", &mut found);
        Ok(found)
    }

    fn unknown(&self, name: &str) -> Failure {
        let names = self.names();
        let hint = did_you_mean(name, names.iter().map(String::as_str));
        let have = match names.is_empty() {
            true => "; there are none yet: `logrun contexts add NAME -b HOST:PORT`".to_owned(),
            false if hint.is_empty() => format!("; there are {}", names.join(", ")),
            false => hint,
        };
        Failure::usage(format!("there is no context {name}{have}"))
    }

    /// The properties of the context that is meant: the named one, or the current one; none if there is neither.
    ///
    /// # Errors
    /// There is no context of that name.
    pub fn chosen(&self, name: Option<&str>) -> Result<Vec<(String, String)>, Failure> {
        match name.map(str::to_owned).or_else(|| self.current()) {
            Some(name) => self.properties(&name),
            None => Ok(Vec::new()),
        }
    }

    fn put(&mut self, name: &str, properties: &[(String, String)]) -> Result<(), Failure> {
        let legal = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(legal) {
            return Err(Failure::usage(format!(
                "`{name}` is no name for a context: letters, digits, `-`, `_` and `.`"
            )));
        }
        let mut table = TomlTable::new();
        for (property, text) in properties {
            table.insert(property, value(text));
        }
        let contexts = self.document.entry("contexts").or_insert_with(|| {
            let mut table = TomlTable::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let contexts = contexts
            .as_table_like_mut()
            .ok_or_else(|| Failure::new("`contexts` in the file is no table: put it right or begin a new file"))?;
        contexts.insert(name, Item::Table(table));
        Ok(())
    }

    fn make_current(&mut self, name: &str) -> Result<(), Failure> {
        self.properties(name)?;
        // In place: a comment above it stays.
        match self.document.get_mut("current") {
            Some(current) => *current = value(name),
            None => drop(self.document.insert("current", value(name))),
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), Failure> {
        self.properties(name)?;
        if let Some(contexts) = self.document.get_mut("contexts").and_then(Item::as_table_like_mut) {
            contexts.remove(name);
        }
        if self.current().as_deref() == Some(name) {
            self.document.remove("current");
        }
        Ok(())
    }
}

/// `[contexts.a] sasl.mechanism = "PLAIN"` is what TOML makes of a dotted key without quotes: a table in a table.
fn flatten(table: &dyn toml_edit::TableLike, prefix: &str, into: &mut Vec<(String, String)>) {
    for (key, item) in table.iter() {
        let name = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
        match item {
            Item::Value(toml_edit::Value::String(text)) => into.push((name, text.value().clone())),
            Item::Value(toml_edit::Value::InlineTable(inner)) => flatten(inner, &name, into),
            Item::Value(other) => into.push((name, other.to_string().trim().to_owned())),
            Item::Table(inner) => flatten(inner, &name, into),
            Item::None | Item::ArrayOfTables(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\ncurrent = \"local\"\n\n[contexts.local]\n\"bootstrap.servers\" = \"localhost:9092\"\n\
                        \n# of the company\n[contexts.prod]\nbootstrap.servers = \"a:1,b:2\"\nrequest.timeout.ms = 5000\n";

    fn contexts(text: &str) -> Contexts {
        Contexts::parse(PathBuf::from("contexts.toml"), text).expect("TOML")
    }

    #[test]
    fn both_forms_of_keys_are_read() {
        let contexts = contexts(FILE);
        assert_eq!(contexts.names(), ["local", "prod"]);
        assert_eq!(
            contexts.chosen(None).expect("current"),
            [("bootstrap.servers".to_owned(), "localhost:9092".to_owned())]
        );
        let prod = contexts.chosen(Some("prod")).expect("there");
        assert!(prod.contains(&("request.timeout.ms".to_owned(), "5000".to_owned())), "{prod:?}");
        let e = contexts.chosen(Some("prd")).expect_err("not there");
        assert!(e.is_usage && e.sentence.contains("did you mean `prod`?"), "{}", e.sentence);
        assert!(Contexts::parse(PathBuf::from("x"), "current = ").is_err());
    }

    #[test]
    fn changing_keeps_what_people_wrote() {
        let mut contexts = contexts(FILE);
        contexts.put("test", &[("bootstrap.servers".to_owned(), "c:3".to_owned())]).expect("put");
        contexts.make_current("test").expect("there");
        contexts.remove("local").expect("there");
        insta::assert_snapshot!("contexts_file", contexts.document.to_string());
        contexts.remove("test").expect("there");
        assert_eq!(contexts.current(), None);
        assert!(contexts.put("a b", &[]).is_err());
    }

    #[test]
    fn secrets_are_known() {
        for name in [
            "sasl.jaas.config",
            "ssl.keystore.password",
            "ssl.keystore.key",
            "sasl.oauthbearer.client.credentials.client.secret",
        ] {
            assert!(is_secret(name), "{name}");
        }
        assert!(!is_secret("bootstrap.servers") && !is_secret("sasl.mechanism"));
    }
}
