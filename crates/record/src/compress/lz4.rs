//! LZ4 frames of independent blocks, as Kafka's `Lz4BlockOutputStream` writes and its input stream accepts them.
//!
//! ```text
//! magic 4 | FLG | BD | (content size 8) | HC | ( length 4 LE, high bit: stored | block | (checksum 4) )* | 0 4
//! ```
//!
//! Linked blocks are refused: Kafka's Java clients can't read them, so they must not get into a log.
//! The content checksum is passed over, as Kafka does: the batch's CRC covers the bytes.

use std::hash::Hasher;
use std::io::Write;

use lz4_flex::block::{DecompressError, decompress_into};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::{CompressionType::Lz4, failed, malformed, too_large};
use crate::error::BatchError;

const MAGIC: [u8; 4] = 0x184D_2204u32.to_le_bytes();
const FLG_VERSION_MASK: u8 = 0b1100_0000;
const FLG_VERSION: u8 = 0b0100_0000;
const FLG_INDEPENDENT: u8 = 0b0010_0000;
const FLG_BLOCK_CHECKSUM: u8 = 0b0001_0000;
const FLG_CONTENT_SIZE: u8 = 0b0000_1000;
const FLG_RESERVED: u8 = 0b0000_0011;
const STORED: u32 = 1 << 31;
/// No LZ4 sequence makes more than 255 bytes from one.
const MAX_RATIO: usize = 255;

/// Whether the frame descriptor's checksum is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderChecksum {
    Checked,
    /// Kafka's clients computed it over the wrong bytes in messages of magic 0.
    Ignored,
}

fn xxh32(bytes: &[u8]) -> u32 {
    let mut hasher = XxHash32::with_seed(0);
    hasher.write(bytes);
    hasher.finish() as u32
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8], BatchError> {
    let (taken, behind) = rest.split_at_checked(n).ok_or_else(|| malformed(Lz4, "the frame is cut"))?;
    *rest = behind;
    Ok(taken)
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, BatchError> {
    let bytes = take(rest, 4)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Reads the frame descriptor: the largest block, and whether blocks have checksums.
fn descriptor(rest: &mut &[u8], checksum: HeaderChecksum) -> Result<(usize, bool), BatchError> {
    if take(rest, 4)? != MAGIC {
        return Err(malformed(Lz4, "not an LZ4 frame"));
    }
    let from = *rest;
    let (flg, bd) = match take(rest, 2)? {
        [flg, bd] => (*flg, *bd),
        _ => unreachable!("two bytes were taken"),
    };
    if flg & FLG_VERSION_MASK != FLG_VERSION || flg & FLG_RESERVED != 0 {
        return Err(malformed(Lz4, "unsupported frame flags"));
    }
    if flg & FLG_INDEPENDENT == 0 {
        return Err(malformed(Lz4, "linked blocks, which Kafka's clients can't read"));
    }
    let max_block = match bd {
        0x40 => 64 << 10,
        0x50 => 256 << 10,
        0x60 => 1 << 20,
        0x70 => 4 << 20,
        _ => return Err(malformed(Lz4, "unsupported block size")),
    };
    if flg & FLG_CONTENT_SIZE != 0 {
        take(rest, 8)?;
    }
    let computed = (xxh32(&from[..from.len() - rest.len()]) >> 8) as u8;
    if take(rest, 1)?[0] != computed && checksum == HeaderChecksum::Checked {
        return Err(malformed(Lz4, "the frame descriptor's checksum is wrong"));
    }
    Ok((max_block, flg & FLG_BLOCK_CHECKSUM != 0))
}

pub(super) fn decompress(data: &[u8], limit: usize, checksum: HeaderChecksum) -> Result<Vec<u8>, BatchError> {
    let mut rest = data;
    let (max_block, block_checksum) = descriptor(&mut rest, checksum)?;
    let mut out = Vec::new();
    loop {
        let word = take_u32(&mut rest)?;
        if word == 0 {
            return Ok(out);
        }
        let length = (word & !STORED) as usize;
        if length > max_block {
            return Err(malformed(Lz4, "a block is larger than the frame allows"));
        }
        let block = take(&mut rest, length)?;
        if block_checksum && take_u32(&mut rest)? != xxh32(block) {
            return Err(malformed(Lz4, "a block's checksum is wrong"));
        }
        let room = limit - out.len();
        if word & STORED != 0 {
            if length > room {
                return Err(too_large(Lz4, limit));
            }
            out.extend_from_slice(block);
            continue;
        }
        let from = out.len();
        let most = max_block.min(length * MAX_RATIO + 1);
        out.resize(from + most.min(room), 0);
        match decompress_into(block, &mut out[from..]) {
            Ok(n) => out.truncate(from + n),
            Err(DecompressError::OutputTooSmall { .. }) if room < most => return Err(too_large(Lz4, limit)),
            Err(e) => return Err(malformed(Lz4, e)),
        }
    }
}

pub(super) fn compress(data: &[u8]) -> Result<Vec<u8>, BatchError> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(data.len() / 2 + 64));
    encoder.write_all(data).map_err(|e| failed(Lz4, e))?;
    // An empty input has written no frame yet.
    encoder.flush().map_err(|e| failed(Lz4, e))?;
    encoder.finish().map_err(|e| failed(Lz4, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(info: FrameInfo, data: &[u8]) -> Vec<u8> {
        let mut e = FrameEncoder::with_frame_info(info, Vec::new());
        e.write_all(data).unwrap();
        e.finish().unwrap()
    }

    #[test]
    fn the_descriptor_is_kafkas() {
        assert_eq!(compress(b"abc").unwrap()[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    }

    #[test]
    fn reads_what_other_clients_write() {
        let text = b"a line that comes again and again\n".repeat(20_000);
        let info = FrameInfo::new().block_checksums(true).content_checksum(true).content_size(Some(text.len() as u64));
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            let f = frame(info.clone().block_size(size), &text);
            assert_eq!(decompress(&f, 1 << 20, HeaderChecksum::Checked).unwrap(), text);
        }
    }

    #[test]
    fn refuses_linked_blocks_and_wrong_checksums() {
        let linked = frame(FrameInfo::new().block_mode(BlockMode::Linked), &b"abcabcabc".repeat(30_000));
        assert!(decompress(&linked, 1 << 20, HeaderChecksum::Checked).is_err());
        let mut f = compress(b"abc").unwrap();
        f[6] ^= 1;
        assert!(decompress(&f, 1 << 20, HeaderChecksum::Checked).is_err());
        assert_eq!(decompress(&f, 1 << 20, HeaderChecksum::Ignored).unwrap(), b"abc");
    }
}
