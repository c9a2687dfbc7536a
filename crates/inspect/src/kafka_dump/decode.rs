//! What a record's key and value are shown as: text, numbers, or the JSON of what Kafka itself wrote.

use bytes::Bytes;
use logrun_record::Record;

use crate::schema::{CoordinatorLog, Json, NotShown, metadata_record, remote_metadata_record};

/// How the bytes of keys or values are shown; Kafka's classes in `org.apache.kafka.tools.api`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainDecoder {
    /// `StringDecoder`
    #[default]
    Text,
    /// `IntegerDecoder`
    Integer,
    /// `LongDecoder`
    Long,
    /// `DefaultDecoder`. Kafka prints the identity of a Java array; here it is the bytes, in hexadecimal.
    Bytes,
}

impl PlainDecoder {
    /// The decoder of that class, with or without its package.
    pub fn of_class(class: &str) -> Option<Self> {
        match class.strip_prefix("org.apache.kafka.tools.api.").unwrap_or(class) {
            "StringDecoder" => Some(Self::Text),
            "IntegerDecoder" => Some(Self::Integer),
            "LongDecoder" => Some(Self::Long),
            "DefaultDecoder" => Some(Self::Bytes),
            _ => None,
        }
    }

    fn show(self, bytes: &[u8]) -> Result<String, String> {
        let short = |wanted| format!("{} bytes are no number of {wanted}", bytes.len());
        Ok(match self {
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
            Self::Integer => i32::from_be_bytes(*bytes.first_chunk().ok_or_else(|| short(4))?).to_string(),
            Self::Long => i64::from_be_bytes(*bytes.first_chunk().ok_or_else(|| short(8))?).to_string(),
            Self::Bytes => bytes.iter().map(|b| format!("{b:02x}")).collect(),
        })
    }
}

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordDecoder {
    Plain {
        key: PlainDecoder,
        value: PlainDecoder,
    },
    Coordinator(CoordinatorLog),
    Metadata,
    /// The topic of the remote log metadata manager.
    RemoteMetadata,
}

impl RecordDecoder {
    /// The key and the value in text, as far as there is something to show.
    ///
    /// # Errors
    /// A sentence, where Kafka ends.
    pub fn show(self, record: &Record) -> Result<(Option<String>, Option<String>), String> {
        let offset = record.offset;
        match self {
            Self::Plain { key, value } => {
                let show = |decoder: PlainDecoder, bytes: &Option<Bytes>| {
                    bytes.as_deref().map(|bytes| decoder.show(bytes)).transpose()
                };
                let at = |e| format!("the record at offset {offset}: {e}");
                Ok((show(key, &record.key).map_err(at)?, show(value, &record.value).map_err(at)?))
            }
            Self::Coordinator(log) => {
                let key = record.key.clone().ok_or_else(|| {
                    format!(
                        "Failed to decode message at offset {offset} using the specified decoder (message had a \
                         missing key)"
                    )
                })?;
                Ok(match log.show(key, record.value.clone()) {
                    Ok(shown) => {
                        let value = shown.value.map_or_else(|| "<DELETE>".to_owned(), |value| value.to_string());
                        (Some(shown.key.to_string()), Some(value))
                    }
                    Err(NotShown::UnknownType(number)) => {
                        (Some(format!("Unknown record type {number} at offset {offset}, skipping.")), None)
                    }
                    Err(e) => (Some(format!("Error at offset {offset}, skipping. {e}")), None),
                })
            }
            Self::Metadata => {
                let shown = metadata_record(record.value.clone().unwrap_or_default());
                Ok((None, Some(framed(shown).unwrap_or_else(|e| format!("Error at {offset}, skipping. {e}")))))
            }
            Self::RemoteMetadata => {
                let shown = remote_metadata_record(record.value.clone().unwrap_or_default());
                Ok((None, Some(framed(shown).unwrap_or_else(|e| format!("Error at offset {offset}, skipping. {e}")))))
            }
        }
    }
}

fn framed<E>(record: Result<(String, i16, Json), E>) -> Result<String, E> {
    let (name, version, data) = record?;
    let members = vec![("type", name.into()), ("version", i64::from(version).into()), ("data", data)];
    Ok(Json::Object(members).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_bytes() {
        assert_eq!(PlainDecoder::of_class("org.apache.kafka.tools.api.LongDecoder"), Some(PlainDecoder::Long));
        assert_eq!(PlainDecoder::of_class("com.example.Decoder"), None);
        assert_eq!(PlainDecoder::Integer.show(&[0, 0, 1, 0]), Ok("256".to_owned()));
        assert_eq!(PlainDecoder::Text.show(b"a\xff"), Ok("a\u{fffd}".to_owned()));
        assert!(PlainDecoder::Long.show(&[1]).is_err());
    }
}
