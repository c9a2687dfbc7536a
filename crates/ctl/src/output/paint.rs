//! Colours, where they are wanted.

use std::env;

use super::{ColorChoice, Tone};

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint(bool);

/// Whether colours are wanted: by `--color`, else `NO_COLOR` and a terminal that is not dumb decide.
pub fn wanted(choice: ColorChoice, is_terminal: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
            is_terminal && !is_set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

impl Paint {
    pub fn new(on: bool) -> Self {
        Self(on)
    }

    /// `text` in the colour of `tone`.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.0 => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Name => "36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_it_is_wanted() {
        assert_eq!(Paint::new(true).tone(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Paint::new(false).tone(Tone::Bad, "x"), "x");
        assert!(wanted(ColorChoice::Always, false) && !wanted(ColorChoice::Never, true));
        assert!(!wanted(ColorChoice::Auto, false));
    }
}
