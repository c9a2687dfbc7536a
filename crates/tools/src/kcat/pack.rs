//! `-s`: binary keys and values read by a pack-string, as Python's `struct` and Perl's `unpack` describe them.

/// A pack-string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack(Vec<(bool, char)>);

impl Pack {
    /// Reads a pack-string. Numbers are big-endian until a `<`.
    ///
    /// # Errors
    /// A sentence that names the letter that does not exist.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "avro" {
            return Err("-s avro needs a schema registry, of which this kcat knows nothing".to_owned());
        }
        let mut little = false;
        let mut items = Vec::new();
        for c in text.chars() {
            match c {
                '<' => little = true,
                '>' => little = false,
                'b' | 'B' | 'h' | 'H' | 'i' | 'I' | 'q' | 'Q' | 'c' | 's' | '$' => items.push((little, c)),
                ' ' => {}
                _ => return Err(format!("-s {text}: there is no {c:?} in a pack-string; `kcat -h` lists its letters")),
            }
        }
        Ok(Self(items))
    }

    /// Reads `bytes` as the string says; values are put behind each other with a space in between.
    ///
    /// # Errors
    /// What was expected where the bytes ended, or went on.
    pub fn read(&self, bytes: &[u8]) -> Result<String, String> {
        let mut left = bytes;
        let mut out = Vec::new();
        for &(little, letter) in &self.0 {
            out.push(match letter {
                'b' => number(&mut left, little, letter, i8::from_le_bytes, i8::from_be_bytes)?,
                'B' => number(&mut left, little, letter, u8::from_le_bytes, u8::from_be_bytes)?,
                'h' => number(&mut left, little, letter, i16::from_le_bytes, i16::from_be_bytes)?,
                'H' => number(&mut left, little, letter, u16::from_le_bytes, u16::from_be_bytes)?,
                'i' => number(&mut left, little, letter, i32::from_le_bytes, i32::from_be_bytes)?,
                'I' => number(&mut left, little, letter, u32::from_le_bytes, u32::from_be_bytes)?,
                'q' => number(&mut left, little, letter, i64::from_le_bytes, i64::from_be_bytes)?,
                'Q' => number(&mut left, little, letter, u64::from_le_bytes, u64::from_be_bytes)?,
                'c' => {
                    let (&c, rest) = left.split_first().ok_or_else(|| short(letter, 1, 0))?;
                    left = rest;
                    char::from(c).to_string()
                }
                's' => String::from_utf8_lossy(std::mem::take(&mut left)).into_owned(),
                _ if left.is_empty() => continue,
                _ => return Err(format!("{} bytes are left where the end was expected", left.len())),
            });
        }
        Ok(out.join(" "))
    }
}

fn number<const N: usize, T: ToString>(
    left: &mut &[u8],
    little: bool,
    letter: char,
    from_le: fn([u8; N]) -> T,
    from_be: fn([u8; N]) -> T,
) -> Result<String, String> {
    let (bytes, rest) = left.split_first_chunk::<N>().ok_or_else(|| short(letter, N, left.len()))?;
    *left = rest;
    Ok(if little { from_le(*bytes) } else { from_be(*bytes) }.to_string())
}

fn short(letter: char, wanted: usize, left: usize) -> String {
    format!("{letter:?} takes {wanted} bytes, and {left} are left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_text_are_read() {
        let read = |pack: &str, bytes: &[u8]| Pack::parse(pack).expect("a pack-string").read(bytes);
        assert_eq!(read(">i$", &[0, 0, 1, 0]).as_deref(), Ok("256"));
        assert_eq!(read("<h>hs", &[1, 0, 0, 2, b'x', b'y']).as_deref(), Ok("1 2 xy"));
        assert_eq!(read("bBc", &[255, 255, b'a']).as_deref(), Ok("-1 255 a"));
        assert_eq!(read("q", &i64::MIN.to_be_bytes()).as_deref(), Ok("-9223372036854775808"));
        assert!(read("i", &[1]).expect_err("too short").contains("takes 4 bytes"));
        assert!(read("b$", &[1, 2]).expect_err("too long").contains("1 bytes are left"));
        Pack::parse("z").expect_err("no letter");
        Pack::parse("avro").expect_err("no registry");
    }
}
