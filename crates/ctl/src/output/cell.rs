//! A value as programs read it and as people see it.

use serde_json::Value;

use super::{Paint, visible};

/// What a cell means to whoever looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Strong,
    Dim,
    Good,
    Warn,
    Bad,
    Name,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    pub value: Value,
    /// What people see, where that is another text.
    pub shown: Option<String>,
    pub tone: Tone,
}

impl Cell {
    /// A value, shown as `shown`.
    pub fn shown(value: impl Into<Value>, shown: impl Into<String>) -> Self {
        Self { value: value.into(), shown: Some(shown.into()), tone: Tone::Plain }
    }

    #[must_use]
    pub fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// What people see.
    pub fn text(&self) -> String {
        match (&self.shown, &self.value) {
            (Some(shown), _) => visible(shown),
            (None, Value::Null) => "-".to_owned(),
            (None, Value::String(text)) => visible(text),
            (None, Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
            (None, Value::Array(items)) => {
                let items: Vec<String> = items.iter().map(|item| Self::from(item.clone()).text()).collect();
                items.join(",")
            }
            (None, other) => other.to_string(),
        }
    }

    pub fn painted(&self, paint: Paint) -> String {
        paint.tone(self.tone, &self.text())
    }

    /// The value between tabs; nothing for null.
    pub fn tsv(&self) -> String {
        match &self.value {
            Value::Null => String::new(),
            Value::String(text) => {
                text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
            }
            other => other.to_string(),
        }
    }
}

impl From<Value> for Cell {
    fn from(value: Value) -> Self {
        Self { value, shown: None, tone: Tone::Plain }
    }
}

macro_rules! from {
    ($($name:ty),*) => {$(
        impl From<$name> for Cell {
            fn from(value: $name) -> Self {
                Value::from(value).into()
            }
        }
        impl From<Option<$name>> for Cell {
            fn from(value: Option<$name>) -> Self {
                value.map_or(Value::Null, Value::from).into()
            }
        }
    )*};
}
from!(i64, i32, i16, usize, u64, bool, String, f64);

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Value::from(text).into()
    }
}

impl From<&logrun_client::Str> for Cell {
    fn from(text: &logrun_client::Str) -> Self {
        Value::from(text.as_str()).into()
    }
}
