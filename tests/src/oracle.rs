//! Apache Kafka's own classes as a judge: a small Java program of `tests/oracle/` answers a line with a line.
//!
//! The jars are those of `tests/oracle/pom.xml`, fetched once by `mvn` into `tests/.work/`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::here;

/// Whether Kafka's side can run: under CI it must, elsewhere a machine without Java or Maven skips these tests and
/// says so.
pub fn is_there() -> bool {
    let has =
        |program: &str| Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = has("java").is_ok() && (here().join(".work/oracle-jars").is_dir() || has("mvn").is_ok());
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "Kafka's own classes need java and mvn");
    if !there {
        eprintln!("skipped: Kafka's own classes need java and mvn");
    }
    there
}

/// The directory with Kafka's jars, fetched if it is not there.
fn jars() -> &'static Path {
    static JARS: OnceLock<PathBuf> = OnceLock::new();
    JARS.get_or_init(|| {
        let (dir, fresh) = (here().join(".work/oracle-jars"), here().join(".work/oracle-jars.new"));
        if dir.is_dir() {
            return dir;
        }
        let _ = fs::remove_dir_all(&fresh);
        let status = Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(here().join("oracle/pom.xml"))
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", fresh.display()))
            .status()
            .expect("the oracle needs `mvn` (and `java`)");
        assert!(status.success(), "mvn could not fetch Kafka's jars: {status}");
        // Renamed at the end, so that a fetch that was cut short is not taken for one that was done.
        fs::rename(&fresh, &dir).expect("renaming the directory of the jars");
        dir
    })
}

/// Asks `program`, one of `tests/oracle/`, all `questions`; an answer for each, `Err` where Kafka refuses.
pub fn ask(program: &str, questions: &[String]) -> Vec<Result<String, String>> {
    let mut java = Command::new("java")
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-cp"])
        .arg(jars().join("*"))
        .arg(here().join("oracle").join(program))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle needs `java`");
    let mut stdin = java.stdin.take().expect("piped");
    let stdout = BufReader::new(java.stdout.take().expect("piped"));
    let answers: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(move || {
            for question in questions {
                writeln!(stdin, "{question}").expect("the oracle reads its questions");
            }
        });
        let answers = stdout.lines().map(|line| line.expect("an answer"));
        answers.map(|a| a.strip_prefix("! ").map(str::to_owned).map_or(Ok(a), Err)).collect()
    });
    assert!(java.wait().expect("the oracle ends").success());
    assert_eq!(answers.len(), questions.len(), "the oracle answers every question");
    answers
}
