//! `sasl.jaas.config`: the user and the password, out of a line of a JAAS login file.

/// The options of the login module, in order; `None` if the text isn't of the form `Module required name="value" …;`.
pub(super) fn options(text: &str) -> Option<Vec<(String, String)>> {
    let mut rest = text.trim().strip_suffix(';')?.trim_end();
    // The module's class and its flag.
    for _ in 0..2 {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        if end == 0 {
            return None;
        }
        rest = rest[end..].trim_start();
    }
    let mut options = Vec::new();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = value(behind.trim_start())?;
        options.push((name.trim().to_owned(), value));
        rest = behind.trim_start();
    }
    Some(options)
}

/// A value, quoted or not, and what is behind it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = text[1..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next()?.1),
            c if c == quote => return Some((value, &text[1 + at + 1..])),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_kafka_writes_them() {
        let text = r#"org.apache.kafka.common.security.plain.PlainLoginModule required
            username="alice" password="a \"quoted\" = secret;" tokenauth=true;"#;
        let pairs = options(text).expect("well-formed");
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("username", "alice"), ("password", "a \"quoted\" = secret;"), ("tokenauth", "true")]);
        for bad in ["", "x", "Module required", "Module required a=\"b;", "Module required a;"] {
            assert_eq!(options(bad), None, "{bad}");
        }
        assert_eq!(options("Module required;"), Some(vec![]));
    }
}
