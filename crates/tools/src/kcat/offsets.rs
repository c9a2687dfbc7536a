//! Where kcat begins to read: the forms of `-o`.

/// The place in each partition from which on it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The beginning; in a group where it left off.
    Default,
    Beginning,
    End,
    /// Where the group left off.
    Stored,
    At(i64),
    /// So many before the end.
    BeforeEnd(i64),
    /// The first record at or after this time, in milliseconds.
    AtTime(i64),
}

impl Start {
    /// Reads an offset as kcat writes it.
    ///
    /// # Errors
    /// A sentence with the forms there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let unlike = || {
            format!(
                "-o {text}: an offset is beginning, end, stored, a number, -N (before the end), s@MS or e@MS (times)"
            )
        };
        Ok(match text {
            "beginning" | "earliest" | "smallest" => Self::Beginning,
            "end" | "latest" | "largest" => Self::End,
            "stored" => Self::Stored,
            _ => match text.strip_prefix("s@") {
                Some(ms) => Self::AtTime(ms.parse().map_err(|_| unlike())?),
                None => match text.parse::<i64>().map_err(|_| unlike())? {
                    n if text.starts_with('-') => Self::BeforeEnd(n.checked_neg().ok_or_else(unlike)?),
                    n => Self::At(n),
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read() {
        for (text, start) in [
            ("beginning", Start::Beginning),
            ("end", Start::End),
            ("stored", Start::Stored),
            ("0", Start::At(0)),
            ("-0", Start::BeforeEnd(0)),
            ("-1000", Start::BeforeEnd(1000)),
            ("s@1795250537677", Start::AtTime(1_795_250_537_677)),
        ] {
            assert_eq!(Start::parse(text), Ok(start));
        }
        for text in ["", "s@", "x", "1.5", "-9223372036854775808", "99999999999999999999"] {
            Start::parse(text).expect_err(text);
        }
    }
}
