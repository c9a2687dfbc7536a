//! Measurements in pairs, and what they say: the ratio within each round, its median and its extremes.
//!
//! A ratio above 1 is always Logrun's advantage, whether more or less of the thing is good.

/// Whether more or less of a quantity is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity {
    pub name: &'static str,
    pub unit: &'static str,
    pub better: Better,
    /// The smallest difference that the measuring program can tell. Values below it count as this much in a ratio,
    /// which can only understate an advantage.
    pub resolution: f64,
}

impl Quantity {
    pub const fn more(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, better: Better::More, resolution: 0.0 }
    }

    pub const fn less(name: &'static str, unit: &'static str, resolution: f64) -> Self {
        Self { name, unit, better: Better::Less, resolution }
    }
}

/// One quantity of one case, a pair (ours, theirs) for each round.
#[derive(Clone, Debug)]
pub struct Row {
    pub case: &'static str,
    pub quantity: Quantity,
    pub pairs: Vec<(f64, f64)>,
}

/// Median, least and greatest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one number.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Self { median, min, max })
    }
}

impl Row {
    pub fn ours(&self) -> Option<Spread> {
        Spread::of(self.pairs.iter().map(|p| p.0))
    }

    pub fn theirs(&self) -> Option<Spread> {
        Spread::of(self.pairs.iter().map(|p| p.1))
    }

    /// How many times better ours is, round by round.
    pub fn advantage(&self) -> Option<Spread> {
        let at_least = |v: f64| v.max(self.quantity.resolution);
        let ratios = self.pairs.iter().map(|&(ours, theirs)| (at_least(ours), at_least(theirs)));
        Spread::of(ratios.filter(|(a, b)| *a > 0.0 && *b > 0.0).map(|(a, b)| match self.quantity.better {
            Better::More => a / b,
            Better::Less => b / a,
        }))
    }
}

/// All that was measured, in the order in which it was first seen.
#[derive(Clone, Debug)]
pub struct Table {
    /// (ours, theirs)
    pub names: (String, String),
    pub rows: Vec<Row>,
    /// To which what is added belongs.
    case: &'static str,
}

impl Table {
    pub fn new(names: (String, String)) -> Self {
        Self { names, rows: Vec::new(), case: "" }
    }

    /// What is added from now on is of this case.
    pub fn begin(&mut self, case: &'static str) {
        self.case = case;
    }

    /// Adds a round's pair.
    pub fn add(&mut self, quantity: Quantity, ours: f64, theirs: f64) {
        println!("  {:<34} {:>12} {:>12} {}", quantity.name, number(ours), number(theirs), quantity.unit);
        let case = self.case;
        let same = |r: &&mut Row| r.case == case && r.quantity.name == quantity.name;
        match self.rows.iter_mut().find(same) {
            Some(row) => row.pairs.push((ours, theirs)),
            None => self.rows.push(Row { case, quantity, pairs: vec![(ours, theirs)] }),
        }
    }

    /// What ours is behind in, by the median.
    pub fn behind(&self) -> Vec<String> {
        let rows = self.rows.iter().filter(|r| r.advantage().is_none_or(|a| a.median < 1.0));
        rows.map(|r| format!("{} {}", r.case, r.quantity.name)).collect()
    }
}

/// A number in as many digits as say something.
pub fn number(value: f64) -> String {
    if value >= 100.0 {
        let digits = format!("{value:.0}");
        let mut out = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i) % 3 == 0 {
                out.push(',');
            }
            out.push(digit);
        }
        out
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else if value >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advantage_is_above_one_either_way() {
        let mut table = Table::new(("a".into(), "b".into()));
        table.begin("c");
        for (a, b) in [(300.0, 100.0), (200.0, 100.0), (100.0, 100.0)] {
            table.add(Quantity::more("speed", "MB/s"), a, b);
            table.add(Quantity::less("time", "ms", 1.0), b, a);
        }
        for row in &table.rows {
            assert_eq!(row.advantage(), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        }
        assert!(table.behind().is_empty());
    }

    #[test]
    fn what_the_program_cannot_tell_is_no_advantage() {
        let mut table = Table::new(("a".into(), "b".into()));
        table.begin("c");
        table.add(Quantity::less("p50", "ms", 1.0), 0.0, 3.0);
        table.add(Quantity::less("p99", "ms", 1.0), 2.0, 0.0);
        assert_eq!(table.rows[0].advantage().map(|a| a.median), Some(3.0));
        assert_eq!(table.behind(), ["c p99"]);
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(1234567.8, "1,234,568"), (100.0, "100"), (12.34, "12.3"), (1.234, "1.23"), (0.01234, "0.012")]
        {
            assert_eq!(number(value), text);
        }
    }
}
