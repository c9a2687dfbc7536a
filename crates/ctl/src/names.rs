//! Names that people type: patterns that choose among them, and what a wrong one was probably meant to be.

use logrun_config::suggest::nearest;
use regex::Regex;

use crate::Failure;

/// A choice of names: `*` and `?` as in a shell, or a part of the name where there is neither.
#[derive(Clone, Debug)]
pub struct Pattern(Option<Regex>);

impl Pattern {
    /// # Errors
    /// The pattern is longer than any that makes sense.
    pub fn new(text: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = text else { return Ok(Self(None)) };
        let escaped = regex::escape(text);
        let expression = match text.contains(['*', '?']) {
            true => format!("^{}$", escaped.replace("\\*", ".*").replace("\\?", ".")),
            false => escaped,
        };
        Regex::new(&expression).map(|r| Self(Some(r))).map_err(|_| Failure::usage("the pattern is too long"))
    }

    pub fn fits(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|r| r.is_match(name))
    }
}

/// The end of a sentence about a name that is not there.
pub fn did_you_mean<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    // What differs in case or by a part is nearer to what was meant than what differs by letters.
    let same = names.iter().find(|n| n.eq_ignore_ascii_case(name)).copied();
    let longer = || {
        let mut longer = names.iter().filter(|n| name.len() >= 3 && n.contains(name));
        let only = longer.next().copied();
        if longer.next().is_none() { only } else { None }
    };
    let near = same.or_else(|| nearest(name, names.iter().copied())).or_else(longer);
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// `1 record`, `2 records`.
pub fn count(n: impl Into<i128>, what: &str) -> String {
    match n.into() {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let fits = |pattern: &str, name: &str| Pattern::new(Some(pattern)).expect("a pattern").fits(name);
        assert!(fits("orders", "my-orders-2") && fits("ord*", "orders") && fits("order?", "orders"));
        assert!(!fits("ord*", "my-orders") && !fits("order?", "order") && !fits("a.c", "abc"));
        assert!(Pattern::new(None).expect("all").fits("anything"));
    }

    #[test]
    fn what_was_meant() {
        let names = ["orders", "payments", "billing-eu"];
        assert_eq!(did_you_mean("oders", names), "; did you mean `orders`?");
        assert_eq!(did_you_mean("Payments", names), "; did you mean `payments`?");
        assert_eq!(did_you_mean("billing", names), "; did you mean `billing-eu`?");
        assert_eq!(did_you_mean("zzz", names), "");
    }
}
