//! Rows as a table: columns as wide as what is in them, numbers to the right, times as dates.
//!
//! Rows are gathered until there are enough of them to know the widths, so that a segment of any size can be shown.

use std::io::{self, Write};
use std::path::Path;

use logrun_inspect::schema::Json;
use logrun_inspect::show::{Row, Sink};
use logrun_tools::datetime::Civil;

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
            Json::Int(ms) if name.to_lowercase().ends_with("timestamp") && *ms >= 0 => Civil::of(*ms).iso(),
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

#[cfg(test)]
mod tests {
    use super::*;

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
