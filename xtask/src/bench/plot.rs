//! The advantages as bars on a logarithmic scale, as an SVG written by hand.
//!
//! Colours read on light and on dark pages; nothing is loaded from elsewhere.

use std::fmt::Write as _;

use super::measure::Table;

const LABEL: f64 = 330.0;
const BAR: f64 = 420.0;
const NUMBER: f64 = 70.0;
const LINE: f64 = 22.0;
const TOP: f64 = 46.0;

/// A bar for each quantity: to the right of the line where ours is better, to the left where it is behind.
pub fn svg(table: &Table) -> String {
    let rows: Vec<_> = table.rows.iter().filter_map(|r| Some((r, r.advantage()?))).collect();
    let reach = rows.iter().flat_map(|(_, a)| [a.min, a.max]).map(|v| v.log2().abs()).fold(1.0, f64::max).ceil();
    let behind = rows.iter().any(|(_, a)| a.min < 1.0);
    let (low, high) = if behind { (-reach, reach) } else { (0.0, reach) };
    let x = |ratio: f64| LABEL + BAR * (ratio.log2() - low) / (high - low);
    let height = TOP + LINE * rows.len() as f64 + 16.0;
    let width = LABEL + BAR + NUMBER;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#808080\">\n\
         <text x=\"8\" y=\"18\" font-size=\"14\">{} against {}: times better</text>\n",
        escape(&table.names.0),
        escape(&table.names.1)
    );
    let mut tick = low;
    let step = ((high - low) / 8.0).ceil().max(1.0);
    while tick <= high {
        let (at, ratio) = (x(tick.exp2()), tick.exp2());
        let stroke = if tick == 0.0 { "#808080" } else { "#80808040" };
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"{stroke}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\">×{}</text>",
            TOP - 4.0,
            height - 12.0,
            TOP - 8.0,
            if ratio >= 1.0 { format!("{ratio:.0}") } else { format!("{ratio}") }
        );
        tick += step;
    }
    for (i, (row, advantage)) in rows.iter().enumerate() {
        let y = TOP + LINE * i as f64;
        let middle = y + LINE / 2.0 + 4.0;
        let (from, to) = (x(1.0).min(x(advantage.median)), x(1.0).max(x(advantage.median)));
        let colour = if advantage.median >= 1.0 { "#2f9e6e" } else { "#d9534f" };
        let label = escape(&format!("{} · {}", row.case, row.quantity.name));
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\
             <line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#808080\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{middle:.1}\">×{:.2}</text>",
            LABEL - 8.0,
            y + 4.0,
            (to - from).max(1.0),
            LINE - 8.0,
            x(advantage.min),
            y + LINE / 2.0,
            x(advantage.max),
            y + LINE / 2.0,
            x(advantage.max).max(x(1.0)) + 6.0,
            advantage.median
        );
    }
    out.push_str("</svg>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Quantity;

    #[test]
    fn bars_stay_on_the_page() {
        let mut table = Table::new(("A & B".into(), "C".into()));
        for (ours, theirs) in [(1.0, 1.0), (0.001, 50_000.0), (3.0, 1.0)] {
            table.add(Quantity::less("time", "ms", 0.0), ours, theirs);
        }
        let svg = svg(&table);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("A &amp; B"));
        for part in svg.split(" x=\"").skip(1) {
            let x: f64 = part.split('"').next().and_then(|x| x.parse().ok()).expect("a number");
            assert!((0.0..=LABEL + BAR + NUMBER).contains(&x), "{x}");
        }
    }

    #[test]
    fn an_empty_table_is_an_empty_picture() {
        assert!(svg(&Table::new(("A".into(), "B".into()))).ends_with("</svg>\n"));
    }
}
