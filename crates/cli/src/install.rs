//! `logrun install-tools`: links by which this program is called as each of Kafka's tools.
//!
//! It never takes the place of a file that is not a link to `logrun`: Apache Kafka's own scripts may lie there.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::args::InstallArgs;
use crate::registry::tools;
use crate::source::absolute;
use logrun_ctl::Failure;

/// Makes the links, or lists the tools. What the command prints.
///
/// # Errors
/// A name is taken by something else, or a link can't be made. In the first case nothing has been made.
pub fn run(args: &InstallArgs) -> Result<String, Failure> {
    let Some(dir) = args.dir.as_deref().filter(|_| !args.list) else { return Ok(list()) };
    let program = std::env::current_exe()
        .and_then(fs::canonicalize)
        .map_err(|e| Failure::new(format!("can't find this program's own file: {e}")))?;
    install(&absolute(dir), &program)
}

fn list() -> String {
    let tools = tools();
    let width = tools.iter().map(|tool| tool.name.len()).max().unwrap_or(0);
    tools.iter().map(|tool| format!("{:<width$}  {}\n", tool.name, tool.about)).collect()
}

/// The names of links: Kafka's scripts end in `.sh` in its archives and don't in packages; kcat is no script.
fn names() -> impl Iterator<Item = String> {
    tools().into_iter().flat_map(|tool| {
        let script = tool.name.starts_with("kafka-").then(|| format!("{}.sh", tool.name));
        std::iter::once(tool.name.to_owned()).chain(script)
    })
}

/// What has a link's name already.
enum Taken {
    Free,
    ByUs,
    ByOther,
}

fn taken(path: &Path, program: &Path) -> std::io::Result<Taken> {
    match fs::read_link(path) {
        Ok(target) if target == program || target.file_name().is_some_and(|name| name == "logrun") => Ok(Taken::ByUs),
        Ok(_) => Ok(Taken::ByOther),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Taken::Free),
        // Not a link.
        Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(Taken::ByOther),
        Err(e) => Err(e),
    }
}

fn install(dir: &Path, program: &Path) -> Result<String, Failure> {
    let cannot = |path: &Path, e: std::io::Error| Failure::new(format!("can't make {}: {e}", path.display()));
    fs::create_dir_all(dir).map_err(|e| cannot(dir, e))?;
    let (mut links, mut others) = (Vec::new(), Vec::new());
    for name in names() {
        let path = dir.join(name);
        match taken(&path, program).map_err(|e| cannot(&path, e))? {
            Taken::Free => links.push((path, false)),
            Taken::ByUs => links.push((path, true)),
            Taken::ByOther => others.push(path),
        }
    }
    if !others.is_empty() {
        let list: String = others.iter().fold(String::new(), |mut list, path| {
            let _ = write!(list, "\n  {}", path.display());
            list
        });
        return Err(Failure::new(format!(
            "nothing was made, since these are there and are not links to logrun: name another directory, or move \
             them away{list}"
        )));
    }
    let renewed = links.iter().filter(|(_, is_ours)| *is_ours).count();
    for (path, is_ours) in &links {
        if *is_ours {
            fs::remove_file(path).map_err(|e| cannot(path, e))?;
        }
        symlink(program, path).map_err(|e| cannot(path, e))?;
    }
    let mut text = format!("{} links in {} lead to {}", links.len(), dir.display(), program.display());
    let _ = match renewed {
        0 => writeln!(text),
        renewed => writeln!(text, " ({renewed} of them were there and were renewed)"),
    };
    if !is_in_path(dir) {
        let _ = writeln!(text, "to call them by name: export PATH={}:$PATH", dir.display());
    }
    Ok(text)
}

fn is_in_path(dir: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect::<Vec<PathBuf>>().iter().any(|entry| entry == dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_renewed_and_never_take_a_place() {
        let dir = std::env::temp_dir().join(format!("logrun-install-{}", std::process::id()));
        let program = dir.join("v1/logrun");
        let text = install(&dir.join("bin"), &program).expect("made");
        assert!(text.contains("export PATH=") && !text.contains("renewed"), "{text}");
        for name in ["kafka-server-stop", "kafka-server-stop.sh"] {
            assert_eq!(fs::read_link(dir.join("bin").join(name)).expect("a link"), program);
        }

        let newer = dir.join("v2/logrun");
        let text = install(&dir.join("bin"), &newer).expect("made again");
        assert!(text.contains("renewed"), "{text}");
        assert_eq!(fs::read_link(dir.join("bin/kafka-server-stop")).expect("a link"), newer);

        let taken = dir.join("bin/kafka-server-stop.sh");
        fs::remove_file(&taken).expect("removed");
        fs::write(&taken, "exec somebody else's").expect("written");
        fs::remove_file(dir.join("bin/kafka-server-stop")).expect("removed");
        let e = install(&dir.join("bin"), &newer).expect_err("taken");
        assert!(e.sentence.contains("kafka-server-stop.sh"), "{}", e.sentence);
        assert!(!dir.join("bin/kafka-server-stop").exists(), "nothing is made when something is in the way");
        fs::remove_dir_all(&dir).expect("removed");
    }
}
