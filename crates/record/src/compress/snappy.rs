//! snappy: written in the framing of `snappy-java` (xerial), read in that and bare, as librdkafka and Go write it.
//!
//! ```text
//! 0x82 "SNAPPY" 0 | version 4 = 1 | least compatible version 4 = 1 | ( length 4 | block )*
//! ```

use super::{CompressionType::Snappy, failed, malformed, too_large};
use crate::error::BatchError;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_LENGTH: usize = MAGIC.len() + 4 + 4;
/// The block size of `SnappyOutputStream`.
const BLOCK_SIZE: usize = 32 * 1024;
/// No snappy element makes more than 64 bytes from two.
const MAX_RATIO: usize = 64;

pub(super) fn decompress(data: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    let mut decoder = snap::raw::Decoder::new();
    if !data.starts_with(&MAGIC) {
        block(&mut decoder, data, &mut out, limit)?;
        return Ok(out);
    }
    let mut rest = data;
    while !rest.is_empty() {
        // A stream may follow another: its header is where a length would be.
        if rest.starts_with(&MAGIC) {
            rest = rest.get(HEADER_LENGTH..).ok_or_else(|| malformed(Snappy, "the header is cut"))?;
            continue;
        }
        let (length, behind) = rest.split_first_chunk().ok_or_else(|| malformed(Snappy, "a block length is cut"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let block_bytes = behind.get(..length).ok_or_else(|| malformed(Snappy, "a block is cut"))?;
        block(&mut decoder, block_bytes, &mut out, limit)?;
        rest = &behind[length..];
    }
    Ok(out)
}

fn block(decoder: &mut snap::raw::Decoder, block: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), BatchError> {
    let claimed = snap::raw::decompress_len(block).map_err(|e| malformed(Snappy, e))?;
    if claimed > block.len().saturating_mul(MAX_RATIO) {
        return Err(malformed(Snappy, "a block claims more than its bytes can hold"));
    }
    if claimed > limit - out.len() {
        return Err(too_large(Snappy, limit));
    }
    let from = out.len();
    out.resize(from + claimed, 0);
    decoder.decompress(block, &mut out[from..]).map_err(|e| malformed(Snappy, e))?;
    Ok(())
}

pub(super) fn compress(data: &[u8]) -> Result<Vec<u8>, BatchError> {
    let blocks = data.len().div_ceil(BLOCK_SIZE);
    let mut out = Vec::with_capacity(HEADER_LENGTH + blocks * 4 + data.len() / 2 + 64);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1u32.to_be_bytes());
    out.extend_from_slice(&1u32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for chunk in data.chunks(BLOCK_SIZE) {
        let at = out.len();
        out.resize(at + 4 + snap::raw::max_compress_len(chunk.len()), 0);
        let n = encoder.compress(chunk, &mut out[at + 4..]).map_err(|e| failed(Snappy, e))?;
        out[at..at + 4].copy_from_slice(&(n as u32).to_be_bytes());
        out.truncate(at + 4 + n);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bare_and_concatenated_streams() {
        let text = b"the same words, the same words".repeat(3000);
        let bare = snap::raw::Encoder::new().compress_vec(&text).unwrap();
        assert_eq!(decompress(&bare, 1 << 20).unwrap(), text);
        let twice = [compress(&text).unwrap(), compress(&text).unwrap()].concat();
        assert_eq!(decompress(&twice, 1 << 20).unwrap(), text.repeat(2));
    }

    #[test]
    fn a_claim_alone_allocates_nothing() {
        // 2 GiB claimed by five bytes.
        assert!(decompress(&[0xff, 0xff, 0xff, 0xff, 0x07], 1 << 40).is_err());
    }
}
