//! `--where`: a condition on a record and on the JSON in its value.
//!
//! ```text
//! .amount > 100 && .user.name == "Ann" || !(.items[0].sku =~ "^A-")
//! key == "42" and header.trace and offset >= 1000
//! ```
//!
//! A path that begins with a dot leads into the value: fields by name (`.a."b c"`), elements by number (`.a[0]`), `.` for
//! all of it. `key`, `value`, `topic`, `partition`, `offset`, `timestamp` (milliseconds) and `header.NAME` are the
//! record's own. What isn't there is `null`, and smaller than nothing. A path alone asks whether something is there that
//! is neither `null` nor `false`. Numbers are compared as numbers, also with text that is one (`key > 9`).

use std::cmp::Ordering;

use regex::Regex;
use serde_json::Value;

/// So deep may parentheses and negations lie in each other.
const DEPTH_MAX: usize = 64;

/// What a condition is looked up in.
pub trait Subject {
    /// The value as JSON; `Null` if it is none.
    fn json(&self) -> &Value;
    /// A part of the record.
    fn part(&self, part: &Part) -> Value;
}

/// A part of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Key,
    Value,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Header(String),
}

/// A step into JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Element(usize),
}

/// A way into JSON: `.a.b[0]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// What lies there.
    pub fn of<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(value, |at, step| match step {
            Step::Field(name) => at.get(name),
            Step::Element(n) => at.get(n),
        })
    }

    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let path = parser.path()?;
        match parser.at == text.len() {
            true => Ok(path),
            false => Err(parser.wrong("the path goes on with what can't be read")),
        }
    }
}

#[derive(Clone, Debug)]
enum Operand {
    Literal(Value),
    Path(Path),
    Part(Part),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Contains,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Condition(Node);

#[derive(Clone, Debug)]
enum Node {
    Is(Operand),
    Compare(Operand, Op, Operand),
    Matches(Operand, Regex),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
}

impl Condition {
    /// # Errors
    /// A sentence that points to the place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let node = parser.either()?;
        parser.space();
        match parser.at == text.len() {
            true => Ok(Self(node)),
            false => Err(parser.wrong("here something else begins; `and` and `or` join conditions")),
        }
    }

    pub fn holds(&self, subject: &impl Subject) -> bool {
        holds(&self.0, subject)
    }
}

fn holds(node: &Node, subject: &impl Subject) -> bool {
    match node {
        Node::Is(operand) => !matches!(value(operand, subject), Value::Null | Value::Bool(false)),
        Node::Compare(left, op, right) => compare(&value(left, subject), *op, &value(right, subject)),
        Node::Matches(operand, regex) => match value(operand, subject) {
            Value::Null => false,
            Value::String(text) => regex.is_match(&text),
            other => regex.is_match(&other.to_string()),
        },
        Node::Not(node) => !holds(node, subject),
        Node::And(a, b) => holds(a, subject) && holds(b, subject),
        Node::Or(a, b) => holds(a, subject) || holds(b, subject),
    }
}

fn value(operand: &Operand, subject: &impl Subject) -> Value {
    match operand {
        Operand::Literal(value) => value.clone(),
        Operand::Path(path) => path.of(subject.json()).cloned().unwrap_or(Value::Null),
        Operand::Part(part) => subject.part(part),
    }
}

fn compare(left: &Value, op: Op, right: &Value) -> bool {
    if op == Op::Contains {
        return match (left, right) {
            (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
            (Value::Array(items), wanted) => items.iter().any(|item| order(item, wanted) == Some(Ordering::Equal)),
            (Value::Object(fields), Value::String(name)) => fields.contains_key(name),
            _ => false,
        };
    }
    let order = order(left, right);
    match op {
        Op::Eq => order == Some(Ordering::Equal),
        Op::Ne => order != Some(Ordering::Equal),
        Op::Lt => order == Some(Ordering::Less),
        Op::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Op::Gt => order == Some(Ordering::Greater),
        Op::Ge => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        Op::Contains => false,
    }
}

/// How two values lie; none if they can't be compared.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(_), _) | (_, Value::Number(_)) => {
            if let (Some(a), Some(b)) = (whole(left), whole(right)) {
                return Some(a.cmp(&b));
            }
            number(left)?.partial_cmp(&number(right)?)
        }
        (a, b) if a == b => Some(Ordering::Equal),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Number(n) => n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn wrong(&self, what: &str) -> String {
        let before = self.text[..self.at].chars().count();
        format!("{what}\n  {}\n  {}^", self.text, " ".repeat(before))
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        let is_word = token.starts_with(|c: char| c.is_alphabetic());
        let Some(after) = self.rest().strip_prefix(token) else { return false };
        if is_word && after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return false;
        }
        self.at += token.len();
        true
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(self.wrong("the condition is nested too deeply")),
            false => Ok(()),
        }
    }

    fn either(&mut self) -> Result<Node, String> {
        let mut node = self.both()?;
        while self.take("||") || self.take("or") {
            node = Node::Or(Box::new(node), Box::new(self.both()?));
        }
        Ok(node)
    }

    fn both(&mut self) -> Result<Node, String> {
        let mut node = self.one()?;
        while self.take("&&") || self.take("and") {
            node = Node::And(Box::new(node), Box::new(self.one()?));
        }
        Ok(node)
    }

    fn one(&mut self) -> Result<Node, String> {
        self.deeper()?;
        self.space();
        let negated = !self.rest().starts_with("!=") && (self.take("!") || self.take("not"));
        let node = if negated {
            Node::Not(Box::new(self.one()?))
        } else if self.take("(") {
            let node = self.either()?;
            if !self.take(")") {
                return Err(self.wrong("a `)` is missing"));
            }
            node
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node, String> {
        let left = self.operand()?;
        for (token, negated) in [("=~", false), ("!~", true)] {
            if self.take(token) {
                self.space();
                let begin = self.at;
                let Operand::Literal(Value::String(pattern)) = self.operand()? else {
                    self.at = begin;
                    return Err(self.wrong("a regular expression stands in quotes"));
                };
                let regex = Regex::new(&pattern).map_err(|e| {
                    let e = e.to_string();
                    let reason = e.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    self.wrong(&format!("no regular expression: {reason}"))
                })?;
                let node = Node::Matches(left, regex);
                return Ok(if negated { Node::Not(Box::new(node)) } else { node });
            }
        }
        let ops = [
            ("==", Op::Eq),
            ("!=", Op::Ne),
            ("<=", Op::Le),
            (">=", Op::Ge),
            ("<", Op::Lt),
            (">", Op::Gt),
            ("=", Op::Eq),
            ("contains", Op::Contains),
        ];
        for (token, op) in ops {
            if self.take(token) {
                return Ok(Node::Compare(left, op, self.operand()?));
            }
        }
        Ok(Node::Is(left))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.space();
        match self.rest().chars().next() {
            None => Err(self.wrong("something is missing at the end")),
            Some('.') => self.path().map(Operand::Path),
            Some('"' | '\'') => self.quoted().map(|text| Operand::Literal(text.into())),
            Some(c) if c.is_ascii_digit() || c == '-' => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => self.word(),
            Some(c) => Err(self.wrong(&format!("`{c}` can't stand here"))),
        }
    }

    fn number(&mut self) -> Result<Operand, String> {
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let end = self.rest().find(|c| !is_number(c)).unwrap_or(self.rest().len());
        match serde_json::from_str::<Value>(&self.rest()[..end]) {
            Ok(number @ Value::Number(_)) => {
                self.at += end;
                Ok(Operand::Literal(number))
            }
            _ => Err(self.wrong("no number")),
        }
    }

    fn name(&mut self) -> String {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '@');
        let end = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
        let name = self.rest()[..end].to_owned();
        self.at += end;
        name
    }

    fn word(&mut self) -> Result<Operand, String> {
        let begin = self.at;
        let word = self.name();
        let part = match word.as_str() {
            "true" => return Ok(Operand::Literal(true.into())),
            "false" => return Ok(Operand::Literal(false.into())),
            "null" => return Ok(Operand::Literal(Value::Null)),
            "key" => Part::Key,
            "value" => Part::Value,
            "topic" => Part::Topic,
            "partition" => Part::Partition,
            "offset" => Part::Offset,
            "timestamp" => Part::Timestamp,
            "header" => {
                if !self.rest().starts_with('.') {
                    return Err(self.wrong("write header.NAME, or header.\"NAME\""));
                }
                self.at += 1;
                let name = if self.rest().starts_with(['"', '\'']) { self.quoted()? } else { self.name() };
                if name.is_empty() {
                    return Err(self.wrong("the header's name is missing"));
                }
                Part::Header(name)
            }
            _ => {
                self.at = begin;
                return Err(self.wrong(&format!(
                    "`{word}` is unknown: a field of the value is written .{word}, text stands in quotes"
                )));
            }
        };
        Ok(Operand::Part(part))
    }

    fn quoted(&mut self) -> Result<String, String> {
        let begin = self.at;
        let mut letters = self.rest().char_indices();
        let Some((_, quote)) = letters.next() else { return Err(self.wrong("text stands in quotes")) };
        let mut text = String::new();
        let mut escaped = false;
        let mut end = None;
        for (i, c) in letters {
            match c {
                c if escaped => {
                    escaped = false;
                    match c {
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        '"' | '\'' | '\\' => text.push(c),
                        // A regular expression's own: \d stays \d.
                        c => text.extend(['\\', c]),
                    }
                }
                '\\' => escaped = true,
                c if c == quote => {
                    end = Some(i + c.len_utf8());
                    break;
                }
                c => text.push(c),
            }
        }
        match end {
            Some(end) => {
                self.at = begin + end;
                Ok(text)
            }
            None => Err(self.wrong("the quote is not closed")),
        }
    }

    fn path(&mut self) -> Result<Path, String> {
        let mut steps = Vec::new();
        if !self.rest().starts_with('.') {
            return Err(self.wrong("a path begins with a dot: .field"));
        }
        loop {
            if self.rest().starts_with('.') {
                self.at += 1;
                if self.rest().starts_with(['"', '\'']) {
                    steps.push(Step::Field(self.quoted()?));
                } else {
                    let name = self.name();
                    match (name.is_empty(), steps.is_empty(), self.rest().starts_with('[')) {
                        // `.` alone, `.[0]`
                        (true, true, bracket) => {
                            if !bracket {
                                return Ok(Path(steps));
                            }
                        }
                        (true, false, _) => return Err(self.wrong("a field's name is missing")),
                        (false, ..) => steps.push(Step::Field(name)),
                    }
                }
            } else if self.rest().starts_with('[') {
                self.at += 1;
                if self.rest().starts_with(['"', '\'']) {
                    steps.push(Step::Field(self.quoted()?));
                } else {
                    let end = self.rest().find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest().len());
                    let n = self.rest()[..end].parse().map_err(|_| self.wrong("an element's number is missing"))?;
                    self.at += end;
                    steps.push(Step::Element(n));
                }
                if !self.rest().starts_with(']') {
                    return Err(self.wrong("a `]` is missing"));
                }
                self.at += 1;
            } else {
                return Ok(Path(steps));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    struct Record(Value);

    impl Subject for Record {
        fn json(&self) -> &Value {
            &self.0
        }

        fn part(&self, part: &Part) -> Value {
            match part {
                Part::Key => "42".into(),
                Part::Value => self.0.to_string().into(),
                Part::Topic => "orders".into(),
                Part::Partition => 3.into(),
                Part::Offset => 1000.into(),
                Part::Timestamp => 1_709_209_815_250_i64.into(),
                Part::Header(name) if name == "trace-id" => "abc".into(),
                Part::Header(_) => Value::Null,
            }
        }
    }

    fn record() -> Record {
        Record(json!({
            "amount": 250, "price": 9.5, "big": 9_007_199_254_740_993_i64, "user": {"name": "Ann", "tags": ["vip", 7]},
            "ok": true, "no": false, "nothing": null, "a b": 1, "items": [{"sku": "A-1"}, {"sku": "B-2"}]
        }))
    }

    #[test]
    fn what_holds() {
        let holds = |text: &str| Condition::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).holds(&record());
        for text in [
            ".amount > 100",
            ".amount == 250 && .user.name == \"Ann\"",
            ".user.name == 'Ann'",
            ".price >= 9.5 and .price < 10",
            ".items[1].sku =~ \"^B-\\d\"",
            ".items[0].sku !~ '^B'",
            ".user.tags contains \"vip\"",
            ".user.tags contains 7",
            ".user contains 'name'",
            ".user.name contains \"nn\"",
            ".ok",
            "!.no",
            "not .nothing",
            ".missing == null",
            ".missing != 3",
            ".\"a b\" = 1",
            ".[\"a b\"] = 1",
            "key == 42",
            "key > 9",
            "key == \"42\"",
            "header.trace-id == 'abc'",
            "header.\"trace-id\"",
            "topic = 'orders' and partition == 3 and offset >= 1000 and timestamp > 0",
            "!(.amount < 100 or .price > 100)",
            ".amount < 1 || .ok && .user",
            "value =~ 'Ann'",
            ".big == 9007199254740993",
        ] {
            assert!(holds(text), "{text}");
        }
        for text in [
            ".amount > 1000",
            ".missing",
            ".no",
            ".missing < 3",
            ".user.name > 3",
            "header.none",
            ".ok and .no",
            ".user == 'Ann'",
            ".big == 9007199254740992",
        ] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        let texts = [
            "",
            "amount > 100",
            ".amount >",
            ".amount > 100 )",
            "(.amount > 100",
            ".a[x]",
            ".name == \"Ann",
            ".name =~ \"(\"",
            ".name =~ .other",
            "header > 3",
            ".a..b",
            "%",
        ];
        let said: Vec<String> = texts.iter().map(|t| Condition::parse(t).expect_err(t)).collect();
        insta::assert_snapshot!("condition_errors", said.join("\n"));
        assert!(Condition::parse(&"(".repeat(100_000)).is_err());
        assert!(Condition::parse(&"!".repeat(100_000)).is_err());
    }

    #[test]
    fn paths() {
        let at = |path: &str| Path::parse(path).map(|p| p.of(&record().0).cloned());
        assert_eq!(at(".user.tags[1]"), Ok(Some(json!(7))));
        assert_eq!(at(".").map(|v| v.is_some()), Ok(true));
        assert_eq!(at(".user.tags[9]"), Ok(None));
        for wrong in ["user", ".a b", ".a[", ".a[]", ".a.", "[0]"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[.a\\[\\]\"'!<>=~&|() 0-9é\\\\nort-]{0,40}") {
            if let Ok(condition) = Condition::parse(&text) {
                condition.holds(&record());
            }
            let _ = Path::parse(&text);
        }
    }
}
