//! Rows as a table: columns as wide as what is in them, numbers to the right, times as dates.
//!
//! Rows are gathered until there are enough of them to know the widths, so that a segment of any size can be shown.

use std::io::{self, Write};
use std::path::Path;

use logrun_inspect::schema::Json;
use logrun_inspect::show::{Row, Sink};

use super::dump::Printer;

/// So many rows make up the widths.
const BLOCK_ROWS: usize = 1000;
/// A value longer than this is cut, unless everything was asked for.
const CELL_CHARS: usize = 72;

/// A table on its way.
pub struct Table<W: Write> {
    out: W,
    full: bool,
    rows: Vec<Row>,
    begun: bool,
}

impl<W: Write> Table<W> {
    pub fn new(out: W, full: bool) -> Self {
        Self { out, full, rows: Vec::new(), begun: false }
    }

    fn cell(&self, name: &str, value: &Json) -> String {
        let text = match value {
            Json::Null => "-".to_owned(),
            Json::Text(text) => text.chars().flat_map(visible).collect(),
            Json::Int(ms) if name.to_lowercase().ends_with("timestamp") && *ms >= 0 => time(*ms),
            Json::Array(elements) if elements.is_empty() => String::new(),
            other => other.to_string(),
        };
        if self.full || text.chars().count() <= CELL_CHARS {
            return text;
        }
        let cut: String = text.chars().take(CELL_CHARS - 1).collect();
        format!("{cut}…")
    }

    fn flush_rows(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let mut at = 0;
        while let Some(first) = rows.get(at) {
            let same = |row: &Row| row.iter().map(|(name, _)| *name).eq(first.iter().map(|(name, _)| *name));
            let count = rows[at..].iter().take_while(|row| same(row)).count();
            self.block(&rows[at..at + count])?;
            at += count;
        }
        Ok(())
    }

    fn block(&mut self, rows: &[Row]) -> io::Result<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        let heads: Vec<String> = first.iter().map(|(name, _)| head(name)).collect();
        let cells: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|(name, value)| self.cell(name, value)).collect()).collect();
        let wide = |column: usize| {
            let longest = cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            longest.max(heads[column].chars().count())
        };
        let widths: Vec<usize> = (0..heads.len()).map(wide).collect();
        let right: Vec<bool> = (0..heads.len())
            .map(|column| rows.iter().all(|row| matches!(row[column].1, Json::Int(_) | Json::Null)))
            .collect();
        for line in std::iter::once(&heads).chain(&cells) {
            let mut text = String::new();
            for ((cell, width), right) in line.iter().zip(&widths).zip(&right) {
                let pad = " ".repeat(width - cell.chars().count());
                let (left, behind) = if *right { (pad.as_str(), "") } else { ("", pad.as_str()) };
                text.push_str(&format!("{left}{cell}{behind}  "));
            }
            writeln!(self.out, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

impl<W: Write> Sink for Table<W> {
    fn section(&mut self, path: &Path, what: &'static str) -> io::Result<()> {
        self.flush_rows()?;
        if self.begun {
            writeln!(self.out)?;
        }
        self.begun = true;
        writeln!(self.out, "{}: {what}", path.display())
    }

    fn row(&mut self, row: Row) -> io::Result<()> {
        self.rows.push(row);
        if self.rows.len() >= BLOCK_ROWS { self.flush_rows() } else { Ok(()) }
    }
}

impl<W: Write> Printer for Table<W> {
    fn end(&mut self) -> io::Result<()> {
        self.flush_rows()?;
        self.out.flush()
    }
}

/// `logEndOffset` as `LOG END OFFSET`.
fn head(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push(' ');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

/// A character, or its escape where it would disturb the terminal.
fn visible(c: char) -> impl Iterator<Item = char> {
    let escaped: String = if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    escaped.chars().collect::<Vec<_>>().into_iter()
}

/// Milliseconds since the epoch as a date and a time of UTC.
fn time(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // The civil date of a day count, in eras of 400 years that begin on a 1st of March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, ms) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00.000Z");
    }

    #[test]
    fn tables() {
        let mut out = Vec::new();
        let mut table = Table::new(&mut out, false);
        table.section(Path::new("a/b-0"), "records").expect("printed");
        table
            .row(vec![("offset", Json::Int(9)), ("timestamp", Json::Int(5)), ("key", "a\u{1b}[31m".into())])
            .expect("ok");
        table.row(vec![("offset", Json::Int(10)), ("timestamp", Json::Int(-1)), ("key", Json::Null)]).expect("ok");
        table.row(vec![("offset", Json::Int(11)), ("control", "Commit".into())]).expect("ok");
        table.end().expect("printed");
        insta::assert_snapshot!("table", String::from_utf8(out).expect("UTF-8"));
    }
}
