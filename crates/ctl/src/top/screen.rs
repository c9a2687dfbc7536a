//! The terminal while `top` has it: another screen, no echo, keys one by one. It is given back however `top` ends.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::thread;

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use tokio::sync::mpsc;

use crate::Failure;

/// Another screen, no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the first place; what is behind the end of each line and below is taken away.
const HOME: &str = "\x1b[H";
const TO_END_OF_LINE: &str = "\x1b[K";
const TO_END: &str = "\x1b[J";

/// The terminal. Dropping it gives it back as it was.
pub struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Whether there is one to take.
    pub fn is_there() -> bool {
        io::stdout().is_terminal() && io::stdin().is_terminal()
    }

    /// Takes it, and gives the keys that are pressed.
    ///
    /// # Errors
    /// It can't be set up.
    pub fn take() -> Result<(Self, mpsc::UnboundedReceiver<u8>), Failure> {
        let failed = |e: rustix::io::Errno| Failure::new(format!("can't set up the terminal: {e}"));
        let stdin = io::stdin();
        let before = termios::tcgetattr(stdin.as_fd()).map_err(failed)?;
        let mut raw = before.clone();
        // Ctrl-C stays a signal.
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(stdin.as_fd(), OptionalActions::Now, &raw).map_err(failed)?;
        let terminal = Self { before };
        write(ENTER)?;
        let (to, keys) = mpsc::unbounded_channel();
        thread::spawn(move || {
            let mut byte = [0];
            // It ends with the process, or when nobody wants keys any more.
            while io::Read::read(&mut io::stdin().lock(), &mut byte).is_ok_and(|n| n == 1) && to.send(byte[0]).is_ok() {
            }
        });
        Ok((terminal, keys))
    }

    /// Shows a text: as many of its lines as there is room for.
    ///
    /// # Errors
    /// The terminal has gone.
    pub fn show(&self, text: &str, rows: usize) -> Result<(), Failure> {
        let mut out = String::from(HOME);
        for (i, line) in text.lines().take(rows).enumerate() {
            if i > 0 {
                out.push_str("\r\n");
            }
            out.push_str(line);
            out.push_str(TO_END_OF_LINE);
        }
        out.push_str(TO_END);
        write(&out)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        let _ = write(LEAVE);
        let _ = termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
