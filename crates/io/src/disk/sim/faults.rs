//! Which operation of a simulated disk fails, and how: by number, by chance, by place, by room.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{eio, enospc};
use crate::Random;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO; nothing was done.
    Io,
    /// ENOSPC; nothing was done.
    NoSpace,
    /// EIO after half of a write was done. For anything but a write this is [`Fault::Io`].
    Torn,
    /// A panic instead of an answer: a bug of ours on the way to the disk.
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    /// Do half, then fail.
    Torn,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub halt_at: Option<u64>,
    pub mutations: BTreeMap<u64, Fault>,
    pub reads: BTreeMap<u64, Fault>,
    pub random: Option<(Random, u64, u64, Fault)>,
    pub broken: Vec<PathBuf>,
    pub capacity: Option<u64>,
    pub refuses_opens: bool,
    halted: bool,
}

impl Faults {
    /// A new process: what was scheduled for the old one is over; a full or broken device stays so.
    pub fn restart(&mut self) {
        self.halt_at = None;
        self.halted = false;
        self.mutations.clear();
        self.reads.clear();
        self.random = None;
        self.refuses_opens = false;
    }

    pub fn judge_open(&self, path: &Path) -> io::Result<()> {
        self.judge_look(path)?;
        // EMFILE
        if self.refuses_opens { Err(io::Error::from_raw_os_error(24)) } else { Ok(()) }
    }

    pub fn judge_look(&self, path: &Path) -> io::Result<()> {
        if self.halted {
            return Err(io::Error::other("the simulated machine has stopped"));
        }
        if self.broken.iter().any(|d| path.starts_with(d)) {
            return Err(eio());
        }
        Ok(())
    }

    pub fn judge_read(&mut self, n: u64, path: &Path) -> io::Result<()> {
        self.judge_look(path)?;
        match self.reads.remove(&n) {
            None => Ok(()),
            Some(Fault::NoSpace) => Err(enospc()),
            Some(_) => Err(eio()),
        }
    }

    pub fn judge_mutation(&mut self, n: u64, path: &Path) -> io::Result<Verdict> {
        if self.halt_at.is_some_and(|at| n >= at) {
            self.halted = true;
        }
        self.judge_look(path)?;
        let by_chance = match &self.random {
            Some((random, numerator, denominator, fault)) => random.chance(*numerator, *denominator).then_some(*fault),
            None => None,
        };
        match self.mutations.remove(&n).or(by_chance) {
            None => Ok(Verdict::Proceed),
            Some(Fault::Torn) => Ok(Verdict::Torn),
            Some(Fault::NoSpace) => Err(enospc()),
            Some(Fault::Io) => Err(eio()),
            Some(Fault::Panic) => panic!("a panic was asked for at mutation {n}"),
        }
    }
}
