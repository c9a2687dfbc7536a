//! Helpers shared by the tests of the whole: the binary under test, scripts beside the tests, and [`wire`], a client
//! so small that it can be trusted; [`oracle`] asks Apache Kafka's own classes, [`tools`] runs its tools beside ours. Nothing here may use the program's own crates to judge the program.

pub mod oracle;
pub mod tools;
pub mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use logrun_testkit::{Product, logrun_binary};

/// The directory of these tests in the repository.
pub fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The binary under test, by [`logrun_binary`].
///
/// # Panics
/// `LOGRUN_BIN` names no file, or the build fails.
pub fn logrun() -> Product {
    let (binary, _) = logrun_binary().unwrap_or_else(|e| panic!("{e}"));
    Product::Logrun(binary)
}

/// Runs a script of these tests to its end and gives whether it ended well; what it prints goes to this test's output.
pub fn script(path: &Path, arguments: &[&str]) -> bool {
    let status = Command::new(path).args(arguments).stdin(Stdio::null()).status();
    status.unwrap_or_else(|e| panic!("{}: {e}", path.display())).success()
}
