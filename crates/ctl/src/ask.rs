//! Asking before what can't be undone is done.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::Failure;

/// Goes on if the answer is yes, or `yes` was said on the command line. Where nobody can be asked nothing is done.
///
/// # Errors
/// The answer is no, or nobody is there to give one.
pub fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage("nothing was changed: say --yes where nobody can be asked"));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|e| Failure::new(format!("can't read the answer: {e}")))?;
    match is_yes(&answer) {
        true => Ok(()),
        false => Err(Failure::new("nothing was changed")),
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_yes_is_yes() {
        assert!(is_yes("y\n") && is_yes("YES") && !is_yes("") && !is_yes("n\n") && !is_yes("yellow"));
    }
}
