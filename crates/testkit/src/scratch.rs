//! A directory of one's own that goes when its owner goes.
//!
//! It lies under `target/`, on the same disk as the checkout: a `/tmp` in memory would make every measurement of
//! storage meaningless.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed with everything in it when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    /// A new, empty directory `target/scratch/NAME-PID-N` in the repository.
    ///
    /// # Errors
    /// Whatever creating the directory gives.
    pub fn new(name: &str) -> io::Result<Self> {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = crate::repository().join("target/scratch").join(format!("{name}-{}-{n}", std::process::id()));
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => fs::create_dir_all(&path)?,
        }
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test that made a directory read-only must not leave it behind; what still fails is only litter in `target/`.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_distinct_and_both_go() {
        let (a, b) = (Scratch::new("scratch").expect("a"), Scratch::new("scratch").expect("b"));
        assert_ne!(a.path(), b.path());
        fs::write(a.join("x"), "x").expect("write");
        let gone = a.path().to_owned();
        drop(a);
        assert!(!gone.exists() && b.path().exists());
    }
}
