//! Record batches of format v2, made once: the header of 61 bytes and records without keys.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where the checksum lies, and where what it covers begins.
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;

/// One batch of `records` records with values of `value_bytes`, uncompressed, at offset 0, without a producer id.
pub fn batch(records: u32, value_bytes: usize) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let mut out = Vec::with_capacity(61 + records as usize * (value_bytes + 16));
    out.extend_from_slice(&0_i64.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    out.push(2);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&0_i16.to_be_bytes());
    out.extend_from_slice(&(records as i32 - 1).to_be_bytes());
    out.extend_from_slice(&now.to_be_bytes());
    out.extend_from_slice(&now.to_be_bytes());
    out.extend_from_slice(&(-1_i64).to_be_bytes());
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    out.extend_from_slice(&(records as i32).to_be_bytes());
    // Values that no file system and no link could make smaller.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for offset_delta in 0..i64::from(records) {
        let mut record = vec![0];
        varint(&mut record, 0);
        varint(&mut record, offset_delta);
        varint(&mut record, -1);
        varint(&mut record, value_bytes as i64);
        for _ in 0..value_bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            record.push(state as u8);
        }
        varint(&mut record, 0);
        varint(&mut out, record.len() as i64);
        out.extend_from_slice(&record);
    }
    let length = out.len() as i32 - 12;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&out[CRC_FROM..]);
    out[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    out
}

/// A number as records have it: zigzag, seven bits a byte.
fn varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_its_length_and_its_checksum() {
        let bytes = batch(3, 100);
        assert_eq!(i32::from_be_bytes(bytes[8..12].try_into().expect("four")), bytes.len() as i32 - 12);
        let crc = u32::from_be_bytes(bytes[CRC_AT..CRC_FROM].try_into().expect("four"));
        assert_eq!(crc, crc32c::crc32c(&bytes[CRC_FROM..]));
        assert_eq!(&bytes[57..61], &3_i32.to_be_bytes());
        assert_eq!(bytes.len(), 61 + 3 * (2 + 1 + 1 + 1 + 1 + 2 + 100 + 1));
    }

    #[test]
    fn varints_are_zigzag() {
        for (value, bytes) in [(0, vec![0]), (-1, vec![1]), (1, vec![2]), (64, vec![0x80, 1]), (-65, vec![0x81, 1])] {
            let mut out = Vec::new();
            varint(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
    }
}
