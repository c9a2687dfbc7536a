//! gzip (RFC 1952), members one after another as Java's `GZIPInputStream` reads them.

use std::io::{Read, Write};

use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use super::{CompressionType::Gzip, failed, malformed, too_large};
use crate::error::BatchError;

const MEMBER_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// What one read may add; small batches stay small.
const STEP: usize = 16 * 1024;

pub(super) fn decompress(data: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    let mut rest = data;
    loop {
        let mut decoder = GzDecoder::new(rest);
        loop {
            let from = out.len();
            // One byte more than allowed, so that a stream of exactly the limit is told from a longer one.
            let room = STEP.max(from / 2).min((limit - from).saturating_add(1));
            out.resize(from + room, 0);
            let n = decoder.read(&mut out[from..]).map_err(|e| malformed(Gzip, e))?;
            out.truncate(from + n);
            if out.len() > limit {
                return Err(too_large(Gzip, limit));
            }
            if n == 0 {
                break;
            }
        }
        rest = decoder.into_inner();
        // Whatever else follows a member is ignored, as Java ignores it.
        if !rest.starts_with(&MEMBER_MAGIC) {
            return Ok(out);
        }
    }
}

pub(super) fn compress(data: &[u8], level: Option<i32>) -> Result<Vec<u8>, BatchError> {
    let level = match level {
        Some(l @ 1..=9) => flate2::Compression::new(l as u32),
        _ => flate2::Compression::default(),
    };
    let mut encoder = GzEncoder::new(Vec::with_capacity(data.len() / 2 + 64), level);
    encoder.write_all(data).map_err(|e| failed(Gzip, e))?;
    encoder.finish().map_err(|e| failed(Gzip, e))
}
