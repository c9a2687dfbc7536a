//! "Did you mean": the option that an unknown name was probably meant to be.

use super::Syntax;

/// Names that people know from elsewhere, and what these tools call them.
const KNOWN_AS: &[(&str, &str)] = &[
    ("by-period", "by-duration"),
    ("brokers", "bootstrap-server"),
    ("server", "bootstrap-server"),
    ("replicas", "replication-factor"),
    ("new-consumer", "bootstrap-server"),
];

impl Syntax {
    /// The end of the sentence that says that `name` is unknown: empty when nothing is near.
    pub(super) fn did_you_mean(&self, name: &str) -> String {
        let declared = |wanted: &str| self.options.iter().any(|o| o.name == wanted);
        if name == "zookeeper" && declared("bootstrap-server") {
            return ": there is no ZooKeeper since Kafka 4.0; say --bootstrap-server HOST:PORT instead".to_owned();
        }
        let known = KNOWN_AS.iter().find(|(from, to)| *from == name && declared(to)).map(|(_, to)| *to);
        let near = || {
            self.options
                .iter()
                .map(|o| (distance(name, o.name), o.name))
                .filter(|(distance, _)| *distance <= 1 + name.chars().count() / 5)
                .min()
                .map(|(_, near)| near)
        };
        let mut begins: Vec<String> = Vec::new();
        if known.is_none() && !name.is_empty() {
            begins = self.options.iter().map(|o| o.name).filter(|n| n.starts_with(name)).map(str::to_owned).collect();
            begins.sort();
        }
        if begins.is_empty() {
            begins.extend(known.or_else(near).map(str::to_owned));
        }
        match begins.is_empty() {
            true => String::new(),
            false => format!("; did you mean --{}?", begins.join(" or --")),
        }
    }
}

/// How many letters must be changed, added, left out or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = usize::from(a[i - 1] != b[j - 1]);
                let mut least = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            }
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn swapped_letters_are_one_mistake() {
        assert_eq!(distance("descbire", "describe"), 2);
        assert_eq!(distance("tpoic", "topic"), 1);
        assert_eq!(distance("", "ab"), 2);
    }
}
