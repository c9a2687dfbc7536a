//! zstd (RFC 8878), decompressed in one go into a buffer whose size the frames' block headers bound.
//!
//! Streaming would allocate the window that a frame's header claims (up to 128 MiB for a few bytes); walking the block
//! headers first costs nothing and gives a true bound, 128 KiB for each block.

use std::cell::RefCell;

use zstd::zstd_safe::{CCtx, DCtx, compress_bound, get_error_name};

use super::{CompressionType::Zstd, failed, malformed, too_large};
use crate::error::BatchError;

const FRAME_MAGIC: u32 = 0xFD2F_B528;
const SKIPPABLE_MAGIC: std::ops::RangeInclusive<u32> = 0x184D_2A50..=0x184D_2A5F;
const MAX_BLOCK: u64 = 128 << 10;
const DEFAULT_LEVEL: i32 = 3;
/// A compression context that has grown beyond this (high levels) isn't kept for the next batch.
const KEEP_CONTEXT: usize = 8 << 20;

thread_local! {
    // Making a context costs more than a small batch. They carry nothing from one batch to the next.
    static DECOMPRESS: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
    static COMPRESS: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
}

pub(super) fn decompress(data: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
    let bound = decompressed_bound(data).ok_or_else(|| malformed(Zstd, "the frame is cut or malformed"))?;
    let capacity = usize::try_from(bound).unwrap_or(usize::MAX).min(limit);
    let mut out = Vec::with_capacity(capacity);
    // The vector may have been given more room than was asked for, so the limit is checked again below.
    let result = DECOMPRESS.with_borrow_mut(|slot| {
        let ctx = match slot {
            Some(ctx) => ctx,
            None => slot.insert(DCtx::try_create().ok_or("out of memory")?),
        };
        ctx.decompress(&mut out, data).map_err(get_error_name)
    });
    match result {
        Ok(_) if out.len() > limit => Err(too_large(Zstd, limit)),
        Ok(_) => Ok(out),
        Err(reason) if bound > limit as u64 && reason.contains("too small") => Err(too_large(Zstd, limit)),
        Err(reason) => Err(malformed(Zstd, reason)),
    }
}

pub(super) fn compress(data: &[u8], level: Option<i32>) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::with_capacity(compress_bound(data.len()));
    COMPRESS.with_borrow_mut(|slot| {
        let ctx = match slot {
            Some(ctx) => ctx,
            None => slot.insert(CCtx::try_create().ok_or_else(|| failed(Zstd, "out of memory"))?),
        };
        let result = ctx.compress(&mut out, data, level.unwrap_or(DEFAULT_LEVEL));
        if ctx.sizeof() > KEEP_CONTEXT {
            *slot = None;
        }
        result.map_err(|code| failed(Zstd, get_error_name(code)))
    })?;
    Ok(out)
}

/// The most bytes that the frames of `data` can hold, by their block headers; none if they are cut or not zstd.
fn decompressed_bound(mut data: &[u8]) -> Option<u64> {
    let mut bound = 0u64;
    while !data.is_empty() {
        let magic = u32::from_le_bytes(*data.first_chunk()?);
        if SKIPPABLE_MAGIC.contains(&magic) {
            let length = u32::from_le_bytes(*data.get(4..)?.first_chunk()?) as usize;
            data = data.get(8..)?.get(length..)?;
            continue;
        }
        if magic != FRAME_MAGIC {
            return None;
        }
        let (frame_bound, behind) = frame_bound(&data[4..])?;
        bound = bound.saturating_add(frame_bound);
        data = behind;
    }
    Some(bound)
}

/// Walks one frame from behind its magic: its bound, and what lies behind the frame.
fn frame_bound(data: &[u8]) -> Option<(u64, &[u8])> {
    let (&descriptor, mut rest) = data.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    let has_checksum = descriptor & 0x04 != 0;
    let dictionary_id_length = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size_length = match descriptor >> 6 {
        0 => usize::from(single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    if !single_segment {
        rest = rest.get(1..)?;
    }
    rest = rest.get(dictionary_id_length + content_size_length..)?;
    let mut bound = 0u64;
    loop {
        let (header, behind) = rest.split_at_checked(3)?;
        let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let size = header >> 3;
        let (stored, regenerated) = match header >> 1 & 3 {
            0 => (size as usize, u64::from(size)),
            1 if u64::from(size) <= MAX_BLOCK => (1, u64::from(size)),
            2 => (size as usize, MAX_BLOCK),
            _ => return None,
        };
        rest = behind.get(stored..)?;
        bound = bound.saturating_add(regenerated);
        if header & 1 != 0 {
            break;
        }
    }
    if has_checksum {
        rest = rest.get(4..)?;
    }
    Some((bound, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn reads_streams_without_content_size_and_several_frames() {
        // As Java's ZstdOutputStream writes: no content size, flushed blocks.
        let text = b"words and words and more words ".repeat(10_000);
        let mut e = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        for part in text.chunks(7000) {
            e.write_all(part).unwrap();
            e.flush().unwrap();
        }
        let one = e.finish().unwrap();
        assert_eq!(decompress(&one, 1 << 20).unwrap(), text);
        let skippable = [&0x184D_2A50u32.to_le_bytes()[..], &3u32.to_le_bytes(), b"abc"].concat();
        let several = [one.clone(), skippable, one].concat();
        assert_eq!(decompress(&several, 1 << 20).unwrap(), text.repeat(2));
    }

    #[test]
    fn bounds_by_blocks_and_not_by_claims() {
        // A frame that claims 2^60 bytes of content and holds one empty raw block.
        let mut f = FRAME_MAGIC.to_le_bytes().to_vec();
        f.push(0xe0);
        f.extend((1u64 << 60).to_le_bytes());
        f.extend([1, 0, 0]);
        assert_eq!(decompressed_bound(&f), Some(0));
        assert!(decompress(&f, 1 << 20).is_err());
    }
}
