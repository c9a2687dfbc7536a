//! Records to lines: Kafka's `DefaultMessageFormatter`, `LoggingMessageFormatter` and `NoOpMessageFormatter`, and the
//! deserializers that have a meaning without Java.

use std::io::{self, Write};

use crate::failure::Failure;
use crate::files::Properties;

/// A record to print.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'r> {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    /// `None` where the record's format has no timestamps.
    pub timestamp_type: Option<&'static str>,
    /// How often it was delivered: share consumers only.
    pub delivery: Option<i16>,
    pub leader_epoch: Option<i32>,
    pub key: Option<&'r [u8]>,
    pub value: Option<&'r [u8]>,
    pub headers: &'r [(&'r str, Option<&'r [u8]>)],
}

/// What bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deserializer {
    Text,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Uuid,
    /// Printable ASCII as it is, everything else as `\x0A`: Kafka's `Bytes`.
    Bytes,
    /// Java prints an array's identity; the bytes in hexadecimal say more.
    Array,
}

impl Deserializer {
    fn named(class: &str) -> Result<Self, Failure> {
        let simple = class.rsplit('.').next().unwrap_or(class);
        match simple {
            "StringDeserializer" => Ok(Self::Text),
            "ShortDeserializer" => Ok(Self::Short),
            "IntegerDeserializer" => Ok(Self::Integer),
            "LongDeserializer" => Ok(Self::Long),
            "FloatDeserializer" => Ok(Self::Float),
            "DoubleDeserializer" => Ok(Self::Double),
            "BooleanDeserializer" => Ok(Self::Boolean),
            "UUIDDeserializer" => Ok(Self::Uuid),
            "BytesDeserializer" => Ok(Self::Bytes),
            "ByteArrayDeserializer" | "ByteBufferDeserializer" => Ok(Self::Array),
            _ => Err(Failure::new(format!(
                "there is no deserializer {class}: take one of String, Short, Integer, Long, Float, Double, Boolean, UUID or ByteArray, \
                 e.g. org.apache.kafka.common.serialization.LongDeserializer"
            ))),
        }
    }

    fn text(self, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        let wrong = |size: usize| Failure::new(format!("Size of data received by the deserializer is not {size}"));
        fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], usize> {
            bytes.try_into().map_err(|_| N)
        }
        Ok(match self {
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
            Self::Short => i16::from_be_bytes(array(bytes).map_err(wrong)?).to_string(),
            Self::Integer => i32::from_be_bytes(array(bytes).map_err(wrong)?).to_string(),
            Self::Long => i64::from_be_bytes(array(bytes).map_err(wrong)?).to_string(),
            Self::Float => crate::text::java_double(f64::from(f32::from_be_bytes(array(bytes).map_err(wrong)?))),
            Self::Double => crate::text::java_double(f64::from_be_bytes(array(bytes).map_err(wrong)?)),
            Self::Boolean => (bytes == [1]).to_string(),
            Self::Uuid => String::from_utf8_lossy(bytes).into_owned(),
            Self::Bytes => bytes
                .iter()
                .map(|b| match b {
                    b' '..=b'~' if *b != b'\\' => char::from(*b).to_string(),
                    _ => format!("\\x{b:02X}"),
                })
                .collect(),
            Self::Array => bytes.iter().map(|b| format!("{b:02x}")).collect(),
        }
        .into_bytes())
    }
}

/// How records are printed.
#[derive(Clone, Debug)]
pub enum Formatter {
    Default(Columns),
    /// The same, and what Kafka tells its log, on standard error.
    Logging(Columns),
    Nothing,
}

/// The settings of the default formatter.
#[derive(Clone, Debug)]
pub struct Columns {
    timestamp: bool,
    key: bool,
    value: bool,
    partition: bool,
    offset: bool,
    epoch: bool,
    delivery: bool,
    headers: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null_literal: Vec<u8>,
    key_deserializer: Option<Deserializer>,
    value_deserializer: Option<Deserializer>,
    headers_deserializer: Option<Deserializer>,
}

impl Formatter {
    /// The formatter of this class name (its last part counts), with its properties.
    ///
    /// # Errors
    /// There is none such here, or its properties are wrong.
    pub fn new(class: Option<&str>, properties: &Properties) -> Result<Self, Failure> {
        match class.map(|c| c.rsplit(['.', '$']).next().unwrap_or(c)) {
            None | Some("DefaultMessageFormatter") => Ok(Self::Default(Columns::new(properties)?)),
            Some("LoggingMessageFormatter") => Ok(Self::Logging(Columns::new(properties)?)),
            Some("NoOpMessageFormatter") => Ok(Self::Nothing),
            Some(_) => Err(Failure::new(format!(
                "there is no formatter {}: take DefaultMessageFormatter, LoggingMessageFormatter or NoOpMessageFormatter",
                class.unwrap_or_default()
            ))),
        }
    }

    /// Prints a record.
    ///
    /// # Errors
    /// A deserializer refuses the bytes (the record may be skipped), or writing fails.
    pub fn write(&self, record: &Shown<'_>, out: &mut impl Write) -> Result<(), Failure> {
        match self {
            Self::Default(default) => default.write(record, out),
            Self::Logging(default) => {
                default.write(record, out)?;
                Ok(logging(record, &mut io::stderr())?)
            }
            Self::Nothing => Ok(()),
        }
    }
}

fn logging(record: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
    let text = |bytes: Option<&[u8]>| bytes.map_or("null".into(), |b| String::from_utf8_lossy(b).into_owned());
    if let Some(kind) = record.timestamp_type {
        write!(out, "{kind}:{}, ", record.timestamp)?;
    }
    writeln!(out, "key:{}, value:{}", text(record.key), text(record.value))
}

impl Columns {
    fn new(properties: &Properties) -> Result<Self, Failure> {
        let flag =
            |name: &str, default: bool| properties.get(name).map_or(default, |v| v.trim().eq_ignore_ascii_case("true"));
        let bytes =
            |name: &str, default: &str| properties.get(name).map_or(default, String::as_str).as_bytes().to_vec();
        let deserializer = |name: &str| properties.get(name).map(|class| Deserializer::named(class)).transpose();
        Ok(Self {
            timestamp: flag("print.timestamp", false),
            key: flag("print.key", false),
            value: flag("print.value", true),
            partition: flag("print.partition", false),
            offset: flag("print.offset", false),
            epoch: flag("print.epoch", false),
            delivery: flag("print.delivery", false),
            headers: flag("print.headers", false),
            key_separator: bytes("key.separator", "\t"),
            line_separator: bytes("line.separator", "\n"),
            headers_separator: bytes("headers.separator", ","),
            null_literal: bytes("null.literal", "null"),
            key_deserializer: deserializer("key.deserializer")?,
            value_deserializer: deserializer("value.deserializer")?,
            headers_deserializer: deserializer("headers.deserializer")?,
        })
    }

    fn bytes(&self, deserializer: Option<Deserializer>, bytes: Option<&[u8]>) -> Result<Vec<u8>, Failure> {
        let bytes = bytes.unwrap_or(&self.null_literal);
        match deserializer {
            Some(deserializer) => deserializer.text(bytes),
            None => Ok(bytes.to_vec()),
        }
    }

    fn write(&self, record: &Shown<'_>, out: &mut impl Write) -> Result<(), Failure> {
        // Deserialized before anything is written: a record that is skipped leaves no half of a line.
        let key = if self.key { Some(self.bytes(self.key_deserializer, record.key)?) } else { None };
        let value = if self.value { Some(self.bytes(self.value_deserializer, record.value)?) } else { None };
        let mut columns: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            columns.push(match record.timestamp_type {
                Some(kind) => format!("{kind}:{}", record.timestamp).into_bytes(),
                None => b"NO_TIMESTAMP".to_vec(),
            });
        }
        if self.partition {
            columns.push(format!("Partition:{}", record.partition).into_bytes());
        }
        if self.offset {
            columns.push(format!("Offset:{}", record.offset).into_bytes());
        }
        if self.delivery {
            let count = record.delivery.map_or("NOT_PRESENT".to_owned(), |n| n.to_string());
            columns.push(format!("Delivery:{count}").into_bytes());
        }
        if self.epoch {
            let epoch = record.leader_epoch.map_or("NOT_PRESENT".to_owned(), |n| n.to_string());
            columns.push(format!("Epoch:{epoch}").into_bytes());
        }
        if self.headers {
            let mut text = Vec::new();
            for (i, (name, header)) in record.headers.iter().enumerate() {
                if i > 0 {
                    text.extend_from_slice(&self.headers_separator);
                }
                text.extend_from_slice(name.as_bytes());
                text.push(b':');
                text.extend(self.bytes(self.headers_deserializer, *header)?);
            }
            columns.push(if record.headers.is_empty() { b"NO_HEADERS".to_vec() } else { text });
        }
        columns.extend(key);
        columns.extend(value);
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                out.write_all(&self.key_separator)?;
            }
            out.write_all(column)?;
        }
        if !columns.is_empty() {
            out.write_all(&self.line_separator)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::pairs;

    fn show(properties: &[&str]) -> String {
        let headers: [(&str, Option<&[u8]>); 2] = [("h", Some(b"1")), ("n", None)];
        let record = Shown {
            partition: 2,
            offset: 7,
            timestamp: 99,
            timestamp_type: Some("CreateTime"),
            delivery: None,
            leader_epoch: Some(0),
            key: None,
            value: Some(&[0, 0, 0, 5]),
            headers: &headers,
        };
        let formatter = Formatter::new(None, &pairs(properties.iter().copied())).expect("formatter");
        let mut out = Vec::new();
        formatter.write(&record, &mut out).expect("write");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn columns_in_kafkas_order() {
        let all = [
            "print.key=true",
            "print.timestamp=true",
            "print.partition=true",
            "print.offset=true",
            "print.headers=true",
            "value.deserializer=org.apache.kafka.common.serialization.IntegerDeserializer",
        ];
        assert_eq!(show(&all), "CreateTime:99\tPartition:2\tOffset:7\th:1,n:null\tnull\t5\n");
        assert_eq!(show(&["print.value=false", "print.key=true", "null.literal=-", "line.separator=;"]), "-;");
        assert_eq!(show(&["print.value=false"]), "");
    }

    #[test]
    fn bytes_that_dont_fit_are_an_error() {
        let wrong = Formatter::new(None, &pairs(["value.deserializer=LongDeserializer"])).expect("formatter");
        let Formatter::Default(default) = wrong else { panic!("default") };
        assert!(default.bytes(default.value_deserializer, Some(b"abc")).is_err());
        assert!(Formatter::new(Some("com.example.Mine"), &Properties::new()).is_err());
    }
}
