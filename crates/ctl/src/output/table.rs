//! Rows under names: as a table for people, as objects, as tab-separated values.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Cell, Paint, Tone, member};

/// Between two columns.
const GAP: &str = "  ";
/// A column that gives way to a narrow terminal keeps this much.
const LEAST: usize = 8;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in JSON; in tables in capitals, with `-` for `_`.
    pub name: &'static str,
    /// Numbers stand to the right.
    right: bool,
    /// Whether it is cut where the terminal is too narrow.
    yields: bool,
    /// Whether only programs get it.
    hidden: bool,
}

impl Column {
    pub const fn text(name: &'static str) -> Self {
        Self { name, right: false, yields: false, hidden: false }
    }

    pub const fn number(name: &'static str) -> Self {
        Self { right: true, ..Self::text(name) }
    }

    /// A text that may be cut.
    pub const fn long(name: &'static str) -> Self {
        Self { yields: true, ..Self::text(name) }
    }

    /// In JSON and TSV only.
    pub const fn hidden(name: &'static str) -> Self {
        Self { hidden: true, ..Self::text(name) }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    pub fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    /// A row as a JSON object.
    pub fn object(&self, row: &[Cell]) -> String {
        let parts: Vec<String> = self.columns.iter().zip(row).map(|(c, cell)| member(c.name, &cell.value)).collect();
        format!("{{{}}}", parts.join(","))
    }

    pub fn tsv(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|c| c.name).collect();
        let mut out = names.join("\t");
        out.push('\n');
        for row in &self.rows {
            let values: Vec<String> = row.iter().map(Cell::tsv).collect();
            out.push_str(&values.join("\t"));
            out.push('\n');
        }
        out
    }

    /// For people; on a terminal of `width` columns if there is one.
    pub fn text(&self, paint: Paint, width: Option<usize>) -> String {
        let seen: Vec<usize> = (0..self.columns.len()).filter(|i| !self.columns[*i].hidden).collect();
        let heads: Vec<String> = seen.iter().map(|i| head(self.columns[*i].name)).collect();
        let texts: Vec<Vec<String>> =
            self.rows.iter().map(|row| seen.iter().map(|i| row[*i].text()).collect()).collect();
        let mut widths: Vec<usize> = (0..seen.len())
            .map(|c| texts.iter().map(|row| row[c].width()).max().unwrap_or(0).max(heads[c].width()))
            .collect();
        if let Some(width) = width {
            self.narrow(&seen, &mut widths, width);
        }
        let mut out = String::new();
        self.line(&mut out, &seen, &widths, heads.iter().map(|head| (head.as_str(), Tone::Strong)), paint);
        for (row, texts) in self.rows.iter().zip(&texts) {
            let cells = seen.iter().zip(texts).map(|(i, text)| (text.as_str(), row[*i].tone));
            self.line(&mut out, &seen, &widths, cells, paint);
        }
        out
    }

    /// Takes what is too much from the widest columns that may be cut.
    fn narrow(&self, seen: &[usize], widths: &mut [usize], width: usize) {
        let gaps = GAP.len() * seen.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > width {
            let yields = (0..seen.len()).filter(|c| self.columns[seen[*c]].yields && widths[*c] > LEAST);
            let Some(widest) = yields.max_by_key(|c| widths[*c]) else { return };
            widths[widest] -= 1;
        }
    }

    fn line<'a>(
        &self,
        out: &mut String,
        seen: &[usize],
        widths: &[usize],
        cells: impl Iterator<Item = (&'a str, Tone)>,
        paint: Paint,
    ) {
        let last = seen.len().saturating_sub(1);
        for (c, (text, tone)) in cells.enumerate() {
            let text = cut(text, widths[c]);
            let pad = " ".repeat(widths[c].saturating_sub(text.width()));
            let painted = paint.tone(tone, &text);
            // Writing to a String can't fail.
            let _ = match (self.columns[seen[c]].right, c == last) {
                (true, _) => write!(out, "{pad}{painted}"),
                (false, true) => write!(out, "{painted}"),
                (false, false) => write!(out, "{painted}{pad}"),
            };
            if c != last {
                out.push_str(GAP);
            }
        }
        out.push('\n');
    }
}

/// What stands over a column: milliseconds are shown as spans, so that their unit isn't part of it.
fn head(name: &str) -> String {
    name.trim_end_matches("_ms").replace("_per_", "/").replace('_', "-").to_uppercase()
}

/// The beginning of `text`, with an ellipsis if that isn't all.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns =
            [Column::long("topic"), Column::number("partitions"), Column::text("state"), Column::hidden("id")];
        let mut table = Table::new(columns);
        let row = |topic: &str, partitions: i64, state: Cell, id: &str| {
            vec![topic.into(), partitions.into(), state, Cell::from(id)]
        };
        table.push(row("orders", 12, Cell::from("ok").tone(Tone::Good), "a"));
        table.push(row("日本の注文-with-a-long-name", 3, Cell::default(), "b"));
        table.push(row("tab\there\x1b[31m", 1, Cell::shown(true, "offline").tone(Tone::Bad), "c"));
        table
    }

    #[test]
    fn as_people_see_it() {
        insta::assert_snapshot!("table", table().text(Paint::new(false), None));
        insta::assert_snapshot!("table_narrow", table().text(Paint::new(false), Some(40)));
        insta::assert_snapshot!("table_coloured", table().text(Paint::new(true), None).replace('\x1b', "ESC"));
    }

    #[test]
    fn as_programs_read_it() {
        let table = table();
        let objects: Vec<String> = table.rows.iter().map(|row| table.object(row)).collect();
        insta::assert_snapshot!("table_json", objects.join("\n"));
        insta::assert_snapshot!("table_tsv", table.tsv());
    }

    #[test]
    fn cutting_counts_columns_of_the_terminal() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("日本", 3), "日…");
        assert_eq!(cut("日本", 2), "…");
    }
}
