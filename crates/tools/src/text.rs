//! What the tools print: columns as Java's formatter pads them, tables, numbers as Java writes them.

use std::fmt::Write as _;

/// Kafka's `ToolsUtils.prettyPrintTable`: each column as wide as its widest value, a tab behind each.
pub fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|r| r.get(column))
            .map(|v| v.chars().count())
            .chain([headers[column].chars().count()])
            .max()
    };
    let widths: Vec<usize> = (0..headers.len()).map(|c| width(c).unwrap_or(0)).collect();
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        for (cell, width) in cells.zip(&widths) {
            // Writing to a String can't fail.
            let _ = write!(out, "{cell:<width$}\t");
        }
        out.push('\n');
    };
    line(&mut headers.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    out
}

/// A double as Java's `Double.toString` writes it: `1000.0`, `1.0E7`.
pub fn java_double(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return match value {
            _ if value.is_nan() => "NaN".to_owned(),
            _ if value == f64::INFINITY => "Infinity".to_owned(),
            _ if value == f64::NEG_INFINITY => "-Infinity".to_owned(),
            _ => format!("{value:.1}"),
        };
    }
    if (1e-3..1e7).contains(&value.abs()) {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let scientific = format!("{value:E}");
    match scientific.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => scientific,
    }
}

/// A name, its partition, as Kafka writes a TopicPartition: `topic-0`.
pub fn topic_partition(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// Numbers with commas between them.
pub fn commas<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    items.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_javas() {
        let cases = [
            (1000.0, "1000.0"),
            (0.5, "0.5"),
            (1e7, "1.0E7"),
            (12_345_678.0, "1.2345678E7"),
            (0.0001, "1.0E-4"),
            (0.0, "0.0"),
        ];
        for (value, text) in cases {
            assert_eq!(java_double(value), text);
        }
    }

    #[test]
    fn a_table_has_a_tab_behind_each_column() {
        let rows = vec![vec!["1".to_owned(), "long value".to_owned()]];
        assert_eq!(table(&["NodeId", "B"], &rows), "NodeId\tB         \t\n1     \tlong value\t\n");
    }
}
