//! The console tools: lines in, records out, and back.

pub mod consumer;
pub mod formatter;
pub mod producer;
pub mod reader;
pub mod share;

use crate::failure::Failure;
use crate::files::{self, Properties};
use crate::options::Given;

/// The client's properties: those of the file, then those of the command line, each under its new name or its old.
///
/// # Errors
/// Both names are given, or the file can't be read.
pub fn client_properties(
    given: &Given<'_>,
    (config, old_config): (&str, &str),
    (property, old_property): (&str, &str),
) -> Result<Properties, Failure> {
    let mut properties = match given.value(given.either(config, old_config)?)? {
        Some(path) => files::load(path)?,
        None => Properties::new(),
    };
    properties.extend(files::pairs(given.values(given.either(property, old_property)?)));
    Ok(properties)
}
