//! PEM: blocks of base64 between marks. Kafka's `PemParser`: whatever stands outside the marks is passed over, and line
//! breaks may be blanks, so that a whole certificate fits in one line of a `.properties` file (KIP-651).

use super::scram::base64_decode;

/// How every block begins.
pub(super) const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const MARK: &str = "-----";

/// The blocks, each with its label (`CERTIFICATE`, `PRIVATE KEY`) and its bytes.
///
/// # Errors
/// A sentence: a block without end, or what is no base64.
pub(super) fn blocks(text: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once(BEGIN) {
        let (label, behind) = behind.split_once(MARK).ok_or("a PEM block's first line has no end")?;
        let end = format!("{END}{label}{MARK}");
        let (body, behind) = behind.split_once(&end).ok_or_else(|| format!("the PEM block {label} has no end"))?;
        // Old keys have lines of the form `Name: value` before the base64.
        let body = body.rsplit_once(": ").map_or(body, |(_, b)| b.split_once("\n\n").map_or(b, |(_, b)| b));
        let base64: String = body.split_whitespace().collect();
        let bytes = base64_decode(&base64).ok_or_else(|| format!("the PEM block {label} isn't base64"))?;
        blocks.push((label.to_owned(), bytes));
        rest = behind;
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_among_other_text_on_one_line_or_many() {
        let text = "Alias name: x\n-----BEGIN CERTIFICATE-----\nAAEC\nAw==\n-----END CERTIFICATE-----\n\
                    -----BEGIN PRIVATE KEY----- BAUG Bw== -----END PRIVATE KEY-----";
        let expected = [("CERTIFICATE".to_owned(), vec![0, 1, 2, 3]), ("PRIVATE KEY".to_owned(), vec![4, 5, 6, 7])];
        assert_eq!(blocks(text).expect("blocks"), expected);
        assert!(blocks("-----BEGIN X-----\nAAEC").is_err());
        assert!(blocks("-----BEGIN X-----?-----END X-----").is_err());
        assert_eq!(blocks("nothing"), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn any_text_is_no_panic(text in "(-----BEGIN |-----END |-----|X|: |\n|[A-Z=]{0,5}){0,20}") {
            let _ = blocks(&text);
        }
    }
}
