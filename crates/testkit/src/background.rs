//! [`Background`]: a program that goes on beside a test, and never outlives it.

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Between two looks at whether a process has ended.
pub(crate) const POLL: Duration = Duration::from_millis(1);

/// See the module. Dropped, it is killed (`kill -9`).
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    /// Starts `command`, which reads nothing and whose output nobody sees.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }

    /// Ends it as Ctrl-C does.
    ///
    /// # Errors
    /// `TimedOut` when it is still there after `patience`; then it is killed.
    pub fn interrupt(mut self, patience: Duration) -> io::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.0), Signal::INT)?;
        wait_within(&mut self.0, patience)
    }
}

/// Waits until `child` has ended.
///
/// # Errors
/// `TimedOut` when it is still there after `patience`.
pub(crate) fn wait_within(child: &mut Child, patience: Duration) -> io::Result<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begun.elapsed() > patience {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("still running after {patience:?}")));
        }
        std::thread::sleep(POLL);
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
