//! The results as a table, for the terminal and for `bench/results/`.

use std::fmt::Write as _;

use super::cases::{CASES, Scale};
use super::measure::{Row, Spread, Table, number};

/// "×2.31 (2.10–2.45)"; without the range where there was but one round.
fn advantage(row: &Row) -> String {
    match row.advantage() {
        None => "–".to_owned(),
        Some(Spread { median, .. }) if row.pairs.len() == 1 => format!("×{median:.2}"),
        Some(Spread { median, min, max }) => format!("×{median:.2} ({min:.2}–{max:.2})"),
    }
}

fn median(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |s| number(s.median))
}

/// For the terminal.
pub fn text(table: &Table) -> String {
    let head = ["case", "quantity", "unit", &table.names.0, &table.names.1, "times better (range)"];
    let mut lines = vec![head.map(str::to_owned)];
    for row in &table.rows {
        let q = &row.quantity;
        let values = [row.case, q.name, q.unit].map(str::to_owned);
        let [case, name, unit] = values;
        lines.push([case, name, unit, median(row.ours()), median(row.theirs()), advantage(row)]);
    }
    let width = |i: usize| lines.iter().map(|l| l[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        for (i, cell) in line.iter().enumerate() {
            let pad = " ".repeat(widths[i] - cell.chars().count());
            let cell = if (3..5).contains(&i) { format!("{pad}{cell}") } else { format!("{cell}{pad}") };
            out.push_str(if i == 0 { "" } else { "  " });
            out.push_str(&cell);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

/// The page that is kept.
pub fn markdown(name: &str, table: &Table, machine: &str, scale: Scale) -> String {
    let (ours, theirs) = &table.names;
    let mut out = format!("# {ours} against {theirs}\n\n");
    let part = if scale.divisor == 1 { String::new() } else { format!(", with 1/{} of the work", scale.divisor) };
    let _ = writeln!(
        out,
        "Measured on {machine}. {} round(s), the two in turn{part}; medians of the rounds. A ratio is taken within a \
         round and is above 1 where {ours} is better; in parentheses the least and the greatest. How it is measured: \
         [bench/README.md](../README.md).\n",
        scale.rounds
    );
    let _ = writeln!(out, "![times better than {theirs}]({name}.svg)\n");
    let _ = writeln!(out, "| case | quantity | {ours} | {theirs} | times better |\n|---|---|--:|--:|---|");
    for row in &table.rows {
        let q = &row.quantity;
        let (a, b) = (median(row.ours()), median(row.theirs()));
        let _ = writeln!(out, "| {} | {}, {} | {a} | {b} | {} |", row.case, q.name, q.unit, advantage(row));
    }
    out.push_str("\nThe cases:\n\n");
    for case in CASES.iter().filter(|c| table.rows.iter().any(|r| r.case == c.name)) {
        let _ = writeln!(out, "- **{}**: {}", case.name, case.about);
    }
    out.push_str("\nEvery round (first number ours, second theirs):\n\n");
    for row in &table.rows {
        let pairs: Vec<String> = row.pairs.iter().map(|(a, b)| format!("{} / {}", number(*a), number(*b))).collect();
        let _ = writeln!(out, "- {} {}, {}: {}", row.case, row.quantity.name, row.quantity.unit, pairs.join("; "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Quantity;

    fn table() -> Table {
        let mut table = Table::new(("Ours".into(), "Theirs".into()));
        table.begin("latency");
        table.add(Quantity::less("p99", "ms", 1.0), 2.0, 8.0);
        table.add(Quantity::less("p99", "ms", 1.0), 2.0, 6.0);
        table.begin("memory");
        table.add(Quantity::less("idle", "MiB", 0.1), 12.0, 360.0);
        table
    }

    #[test]
    fn the_table_lines_up() {
        let text = text(&table());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].ends_with("×3.50 (3.00–4.00)"), "{text}");
        assert!(lines[2].ends_with("×30.00"), "{text}");
        let column = |line: &str| line.split('×').next().map(|s| s.chars().count());
        assert_eq!(column(lines[1]), column(lines[2]));
    }

    #[test]
    fn the_page_says_what_it_was_measured_on() {
        let page = markdown("x", &table(), "2 cores", Scale { rounds: 2, divisor: 10 });
        for part in
            ["Measured on 2 cores. 2 round(s)", "1/10 of the work", "| latency | p99, ms | 2.00 | 7.00 |", "](x.svg)"]
        {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
    }
}
