//! Names in Rust's fashion, from Kafka's.

/// `TransactionalId` becomes `transactional_id`; `KRaftVersion` becomes `kraft_version`.
pub fn snake_case(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 4);
    for (i, &c) in chars.iter().enumerate() {
        if c.is_ascii_uppercase() {
            let after_word = i > 0 && !chars[i - 1].is_ascii_uppercase();
            let before_word =
                i > 0 && chars[i - 1].is_ascii_uppercase() && chars.get(i + 1).is_some_and(|n| n.is_ascii_lowercase());
            if after_word || before_word {
                out.push('_');
            }
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// `UNKNOWN_TOPIC_OR_PARTITION` becomes `UnknownTopicOrPartition`.
pub fn camel_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for word in name.split('_') {
        let mut chars = word.chars();
        if let Some(first) = chars.next() {
            out.push(first.to_ascii_uppercase());
            out.extend(chars.map(|c| c.to_ascii_lowercase()));
        }
    }
    out
}

const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The Rust name of a field: snake case, raw if it is a keyword.
pub fn field_name(name: &str) -> String {
    let snake = snake_case(name);
    if KEYWORDS.contains(&snake.as_str()) { format!("r#{snake}") } else { snake }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_rusts() {
        assert_eq!(snake_case("ResultsByTopicV3AndBelow"), "results_by_topic_v3_and_below");
        assert_eq!(snake_case("KRaftVersionFeature"), "kraft_version_feature");
        assert_eq!(snake_case("HTTPServer"), "http_server");
        assert_eq!(snake_case("group"), "group");
        assert_eq!(field_name("Type"), "r#type");
        assert_eq!(camel_case("UNKNOWN_TOPIC_OR_PARTITION"), "UnknownTopicOrPartition");
        assert_eq!(camel_case("NONE"), "None");
    }
}
