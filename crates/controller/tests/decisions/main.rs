//! What the controller decides: transcripts and properties.

mod common;
mod properties;
mod transcripts;
