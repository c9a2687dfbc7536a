//! The one place where commands print: tables for people, JSON and tab-separated values for programs.
//!
//! - *table*: on a terminal. Columns as wide as what is in them, cut where the terminal ends; colours unless `NO_COLOR` is
//!   set or `--color never` is said.
//! - *json*: where the output goes to a program. A list is one JSON object a line; one thing described is one object.
//! - *tsv*: a line of names, then a line for each row; tabs and line feeds within values are escaped (`\t`, `\n`).
//!
//! What is said beside (what was asked, hints) goes to standard error and only in tables.

mod cell;
mod paint;
pub mod progress;
mod table;

use std::io::{self, BufWriter, IsTerminal, Write};

use clap::ValueEnum;
use serde_json::Value;

pub use self::cell::{Cell, Tone};
pub use self::paint::Paint;
pub use self::table::{Column, Table, cut};
use crate::Failure;
use crate::args::OutputArgs;

/// How things are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One object a line
    Json,
    /// Tab-separated values
    Tsv,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// Where a command prints.
pub struct Screen {
    out: Box<dyn Write>,
    pub format: Format,
    pub paint: Paint,
    /// The terminal's columns; none where there is no terminal.
    pub width: Option<usize>,
    printed: bool,
}

impl Screen {
    /// Standard output.
    pub fn new(args: &OutputArgs) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let format = args.output.unwrap_or(if is_terminal { Format::Table } else { Format::Json });
        let width = is_terminal.then(|| terminal_size().map(|(columns, _)| columns)).flatten();
        let paint = Paint::new(format == Format::Table && paint::wanted(args.color.unwrap_or_default(), is_terminal));
        Self { out: Box::new(BufWriter::with_capacity(1 << 16, stdout)), format, paint, width, printed: false }
    }

    /// Into memory, for tests.
    #[cfg(test)]
    pub fn capture(format: Format, width: Option<usize>, to: Box<dyn Write>) -> Self {
        Self { out: to, format, paint: Paint::new(false), width, printed: false }
    }

    /// A list.
    ///
    /// # Errors
    /// It can't be printed.
    pub fn table(&mut self, table: &Table) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.out.write_all(table.text(self.paint, self.width).as_bytes())?,
            Format::Json => {
                for row in &table.rows {
                    writeln!(self.out, "{}", table.object(row))?;
                }
            }
            Format::Tsv => self.out.write_all(table.tsv().as_bytes())?,
        }
        self.printed = true;
        Ok(())
    }

    /// A list that comes bit by bit: the names of columns stand only before the first bit of those that are no tables.
    ///
    /// # Errors
    /// It can't be printed.
    pub fn more(&mut self, table: &Table, first: bool) -> Result<(), Failure> {
        match self.format {
            Format::Tsv if !first => {
                let text = table.tsv();
                let rows = text.split_once('\n').map_or("", |(_, rows)| rows);
                self.raw(rows.as_bytes())
            }
            _ => self.table(table),
        }
    }

    /// One thing: its fields, then lists of what it has. In JSON it is one object, in which each list has a name.
    ///
    /// # Errors
    /// It can't be printed.
    pub fn sheet(&mut self, fields: &[(&'static str, Cell)], lists: &[(&'static str, &Table)]) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                if self.printed {
                    writeln!(self.out)?;
                }
                let wide = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
                for (name, cell) in fields {
                    let name = format!("{:<wide$}", name.trim_end_matches("_ms").replace('_', " "));
                    writeln!(self.out, "{}  {}", self.paint.tone(Tone::Dim, &name), cell.painted(self.paint))?;
                }
                for (_, list) in lists.iter().filter(|(_, list)| !list.rows.is_empty()) {
                    writeln!(self.out)?;
                    self.out.write_all(list.text(self.paint, self.width).as_bytes())?;
                }
            }
            Format::Json => {
                let mut parts: Vec<String> = fields.iter().map(|(name, cell)| member(name, &cell.value)).collect();
                for (name, list) in lists {
                    let rows: Vec<String> = list.rows.iter().map(|row| list.object(row)).collect();
                    parts.push(format!("\"{name}\":[{}]", rows.join(",")));
                }
                writeln!(self.out, "{{{}}}", parts.join(","))?;
            }
            Format::Tsv => {
                for (name, cell) in fields {
                    writeln!(self.out, "{name}\t{}", cell.tsv())?;
                }
                for (_, list) in lists {
                    self.out.write_all(list.tsv().as_bytes())?;
                }
            }
        }
        self.printed = true;
        Ok(())
    }

    /// What was done: a sentence for people, its fields for programs.
    ///
    /// # Errors
    /// It can't be printed.
    pub fn done(&mut self, sentence: &str, fields: &[(&'static str, Cell)]) -> Result<(), Failure> {
        match self.format {
            Format::Table => writeln!(self.out, "{} {sentence}", self.paint.tone(Tone::Good, "✓"))?,
            Format::Json => writeln!(self.out, "{}", object(fields))?,
            Format::Tsv => {
                let values: Vec<String> = fields.iter().map(|(_, cell)| cell.tsv()).collect();
                writeln!(self.out, "{}", values.join("\t"))?;
            }
        }
        self.printed = true;
        Ok(())
    }

    /// A remark for people; programs are not told.
    ///
    /// # Errors
    /// What is printed before it can't be.
    pub fn remark(&mut self, sentence: &str) -> Result<(), Failure> {
        if self.format == Format::Table {
            self.flush()?;
            eprintln!("{sentence}");
        }
        Ok(())
    }

    /// Text as it is.
    ///
    /// # Errors
    /// It can't be printed.
    pub fn raw(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.printed = true;
        Ok(self.out.write_all(text)?)
    }

    /// What is printed is there now.
    ///
    /// # Errors
    /// It can't be printed.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// Fields as a JSON object, in their order.
pub fn object(fields: &[(&'static str, Cell)]) -> String {
    let parts: Vec<String> = fields.iter().map(|(name, cell)| member(name, &cell.value)).collect();
    format!("{{{}}}", parts.join(","))
}

fn member(name: &str, value: &Value) -> String {
    format!("{}:{value}", Value::from(name))
}

/// The columns and rows of the terminal that standard output is.
pub fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    let known = |n: u16, usual: usize| if n > 0 { usize::from(n) } else { usual };
    // A terminal that doesn't tell is taken for what terminals were.
    Some((known(size.ws_col, 80), known(size.ws_row, 24)))
}

/// A text without what would disturb a terminal: control characters are shown as escapes.
pub fn visible(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}
