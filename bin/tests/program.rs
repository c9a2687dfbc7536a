//! The program itself, as `cargo test` builds it.
//!
//! That a test stands in this package has a use of its own: whenever the workspace's tests are built the program is built
//! with them, from the same crates with the same features, so that tests elsewhere find it made (`logrun_testkit`).

use std::process::Command;

#[test]
fn it_says_which_version_it_is() {
    let out = Command::new(env!("CARGO_BIN_EXE_logrun")).arg("--version").output().expect("the program runs");
    assert!(out.status.success(), "{out:?}");
    let said = String::from_utf8(out.stdout).expect("text");
    assert!(said.starts_with("logrun ") && said.contains(env!("CARGO_PKG_VERSION")), "{said}");
}
