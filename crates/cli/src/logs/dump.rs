//! `logrun log dump`: rows as tables for people, as JSON for machines.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use logrun_inspect::schema::Json;
use logrun_inspect::show::{Row, ShowError, ShowOptions, Sink, show};
use logrun_inspect::survey::has_journal;
use logrun_io::Disk;
use logrun_model::Offset;

use super::table::Table;
use crate::args::DumpArgs;
use logrun_ctl::Failure;

/// Runs the command.
///
/// # Errors
/// Something can't be read.
pub fn run(disk: &Arc<dyn Disk>, args: &DumpArgs) -> Result<ExitCode, Failure> {
    let options = ShowOptions {
        records: args.records,
        from: Offset(args.from.unwrap_or(0)),
        to: Offset(args.to.unwrap_or(i64::MAX)),
        limit: args.limit.unwrap_or(u64::MAX),
    };
    let out = BufWriter::new(io::stdout().lock());
    let mut printer: Box<dyn Printer> = if args.json || args.jsonl {
        Box::new(JsonPrinter { out, lines: args.jsonl, count: 0, path: String::new(), what: "" })
    } else {
        Box::new(Table::new(out, args.full))
    };
    let mut result = Ok(());
    for path in &args.paths {
        tell_of_journal(disk, path);
        result = show(disk, path, &options, &mut *printer);
        if result.is_err() {
            break;
        }
    }
    match result.and(printer.end().map_err(ShowError::Print)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // `logrun log dump | head` has what it wanted.
        Err(ShowError::Print(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(e) => Err(Failure::new(e)),
    }
}

/// Says so where the newest records are not in the files that are shown.
fn tell_of_journal(disk: &Arc<dyn Disk>, path: &Path) {
    let dirs = [Some(path), path.parent(), path.parent().and_then(Path::parent)];
    // A path that can't be listed is no log directory; what is wrong with it, the dump itself says.
    let has = |dir: &Path| has_journal(&**disk, dir).unwrap_or(false);
    if let Some(dir) = dirs.into_iter().flatten().find(|dir| has(dir)) {
        eprintln!(
            "note: {} has a journal, which is not shown: what was appended last may be there and not in these files; a start of Logrun brings it to them",
            dir.display()
        );
    }
}

/// A sink that has an end.
pub trait Printer: Sink {
    fn end(&mut self) -> io::Result<()>;
}

/// Each row an object with the file that it is from; one array of all, or one line each.
struct JsonPrinter<W: Write> {
    out: W,
    lines: bool,
    count: u64,
    path: String,
    what: &'static str,
}

impl<W: Write> Sink for JsonPrinter<W> {
    fn section(&mut self, path: &Path, what: &'static str) -> io::Result<()> {
        self.path = path.display().to_string();
        self.what = what;
        Ok(())
    }

    fn row(&mut self, row: Row) -> io::Result<()> {
        let mut members = vec![("path", Json::from(self.path.as_str())), ("of", self.what.into())];
        members.extend(row);
        let object = Json::Object(members);
        let before = match (self.lines, self.count) {
            (true, _) => "",
            (false, 0) => "[\n",
            (false, _) => ",\n",
        };
        self.count += 1;
        write!(self.out, "{before}{object}{}", if self.lines { "\n" } else { "" })
    }
}

impl<W: Write> Printer for JsonPrinter<W> {
    fn end(&mut self) -> io::Result<()> {
        match (self.lines, self.count) {
            (true, _) => {}
            (false, 0) => self.out.write_all(b"[]\n")?,
            (false, _) => self.out.write_all(b"\n]\n")?,
        }
        self.out.flush()
    }
}
