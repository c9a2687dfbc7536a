//! How a field of a typed struct gets its value: the option's name stands at the field, its row in the table says the
//! rest.

use crate::error::ConfigError;
use crate::value::Value;

/// Where a struct's fields come from.
pub(crate) trait Values {
    /// The value of the option; `None` if it has none.
    fn value(&self, name: &str) -> Result<Option<Value>, ConfigError>;
}

/// A type that a field may have.
pub(crate) trait Field: Sized {
    /// `None` if an option of this kind can't fill the field.
    fn of(value: Option<Value>) -> Option<Self>;
}

macro_rules! plain_fields {
    ($($variant:ident => $ty:ty),*) => {$(
        impl Field for $ty {
            fn of(value: Option<Value>) -> Option<Self> {
                match value {
                    Some(Value::$variant(v)) => Some(v),
                    _ => None,
                }
            }
        }
    )*};
}
plain_fields!(Boolean => bool, Short => i16, Int => i32, Long => i64, Double => f64, String => String, List => Vec<String>);

impl<T: Field> Field for Option<T> {
    fn of(value: Option<Value>) -> Option<Self> {
        match value {
            None => Some(None),
            some => T::of(some).map(Some),
        }
    }
}

/// Fills one field.
pub(crate) fn field<T: Field>(from: &dyn Values, name: &str) -> Result<T, ConfigError> {
    T::of(from.value(name)?)
        .ok_or_else(|| ConfigError::Missing { name: name.to_owned(), remedy: "this option has no default".to_owned() })
}

/// An enum whose texts are an option's values.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vmeta])* $variant),*
        }

        impl $name {
            /// As the option writes it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),*
                }
            }
        }

        impl $crate::fields::Field for $name {
            fn of(value: Option<$crate::value::Value>) -> Option<Self> {
                match value {
                    $(Some($crate::value::Value::String(text)) if text.eq_ignore_ascii_case($text) => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

/// A struct whose fields each name their option.
macro_rules! option_struct {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $ty:ty = $key:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(#[doc = concat!("`", $key, "`")] pub $field: $ty),*
        }

        impl $name {
            /// The options that the fields come from.
            #[cfg(test)]
            pub(crate) const KEYS: &'static [&'static str] = &[$($key),*];

            pub(crate) fn read(from: &dyn $crate::fields::Values) -> Result<Self, $crate::error::ConfigError> {
                Ok(Self { $($field: $crate::fields::field(from, $key)?),* })
            }
        }
    };
}

pub(crate) use {option_struct, text_enum};
