//! Helpers shared by the tests of the whole: the binary under test, scripts beside the tests, and [`wire`], a client
//! so small that it can be trusted; [`oracle`] asks Apache Kafka's own classes, [`tools`] runs its tools beside ours. Nothing here may use the program's own crates to judge the program.

pub mod oracle;
pub mod tools;
pub mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use logrun_testkit::{Product, repository};

/// The directory of these tests in the repository.
pub fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The binary under test: `LOGRUN_BIN`, or else a debug build made now, so that it is never an old one.
///
/// # Panics
/// `LOGRUN_BIN` names no file, or the build fails.
pub fn logrun() -> Product {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let binary = BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("LOGRUN_BIN").map(PathBuf::from) {
            assert!(path.is_file(), "LOGRUN_BIN={} is not there", path.display());
            return path;
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo).args(["build", "--quiet", "-p", "logrun"]).current_dir(repository()).status();
        assert!(built.expect("running cargo").success(), "`cargo build -p logrun` failed");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
        target.join("debug/logrun")
    });
    Product::Logrun(binary.clone())
}

/// Runs a script of these tests to its end and gives whether it ended well; what it prints goes to this test's output.
pub fn script(path: &Path, arguments: &[&str]) -> bool {
    let status = Command::new(path).args(arguments).stdin(Stdio::null()).status();
    status.unwrap_or_else(|e| panic!("{}: {e}", path.display())).success()
}
