//! Variable-length integers: unsigned (LEB128) and zig-zag, as in Kafka's `ByteUtils`.
//!
//! Reading is bounded: a varint of more than 5 (32 bit) or 10 (64 bit) bytes is malformed.

/// Why a varint can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    #[error("the bytes end inside a varint")]
    Truncated,
    #[error("a varint is longer than its type allows")]
    TooLong,
}

/// Reads an unsigned 32-bit varint from the front of `buf`: the value and how many bytes it took.
#[inline]
pub fn read_u32(buf: &[u8]) -> Result<(u32, usize), VarintError> {
    let mut value: u32 = 0;
    for (i, &b) in buf.iter().take(5).enumerate() {
        if i == 4 && b > 0x0f {
            return Err(VarintError::TooLong);
        }
        value |= u32::from(b & 0x7f) << (7 * i);
        if b < 0x80 {
            return Ok((value, i + 1));
        }
    }
    Err(if buf.len() < 5 { VarintError::Truncated } else { VarintError::TooLong })
}

/// Reads an unsigned 64-bit varint from the front of `buf`.
#[inline]
pub fn read_u64(buf: &[u8]) -> Result<(u64, usize), VarintError> {
    let mut value: u64 = 0;
    for (i, &b) in buf.iter().take(10).enumerate() {
        if i == 9 && b > 0x01 {
            return Err(VarintError::TooLong);
        }
        value |= u64::from(b & 0x7f) << (7 * i);
        if b < 0x80 {
            return Ok((value, i + 1));
        }
    }
    Err(if buf.len() < 10 { VarintError::Truncated } else { VarintError::TooLong })
}

/// Reads a zig-zag 32-bit varint.
#[inline]
pub fn read_i32(buf: &[u8]) -> Result<(i32, usize), VarintError> {
    read_u32(buf).map(|(v, n)| (unzigzag32(v), n))
}

/// Reads a zig-zag 64-bit varint.
#[inline]
pub fn read_i64(buf: &[u8]) -> Result<(i64, usize), VarintError> {
    read_u64(buf).map(|(v, n)| (unzigzag64(v), n))
}

/// Appends an unsigned 64-bit varint.
#[inline]
pub fn put_u64(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Appends an unsigned 32-bit varint.
#[inline]
pub fn put_u32(out: &mut Vec<u8>, v: u32) {
    put_u64(out, u64::from(v));
}

/// Appends a zig-zag 32-bit varint.
#[inline]
pub fn put_i32(out: &mut Vec<u8>, v: i32) {
    put_u32(out, zigzag32(v));
}

/// Appends a zig-zag 64-bit varint.
#[inline]
pub fn put_i64(out: &mut Vec<u8>, v: i64) {
    put_u64(out, zigzag64(v));
}

/// How many bytes an unsigned varint takes.
#[inline]
pub const fn len_u64(v: u64) -> usize {
    ((70 - (v | 1).leading_zeros()) / 7) as usize
}

/// How many bytes an unsigned 32-bit varint takes.
#[inline]
pub const fn len_u32(v: u32) -> usize {
    len_u64(v as u64)
}

/// How many bytes a zig-zag 32-bit varint takes.
#[inline]
pub const fn len_i32(v: i32) -> usize {
    len_u32(zigzag32(v))
}

/// How many bytes a zig-zag 64-bit varint takes.
#[inline]
pub const fn len_i64(v: i64) -> usize {
    len_u64(zigzag64(v))
}

#[inline]
pub const fn zigzag32(v: i32) -> u32 {
    ((v << 1) ^ (v >> 31)) as u32
}

#[inline]
pub const fn zigzag64(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

#[inline]
pub const fn unzigzag32(v: u32) -> i32 {
    (v >> 1) as i32 ^ -((v & 1) as i32)
}

#[inline]
pub const fn unzigzag64(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_endless_and_cut_varints() {
        assert_eq!(read_u32(&[0x80, 0x80]), Err(VarintError::Truncated));
        assert_eq!(read_u32(&[0xff; 9]), Err(VarintError::TooLong));
        assert_eq!(read_u64(&[0xff; 12]), Err(VarintError::TooLong));
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok((u32::MAX, 5)));
    }

    proptest! {
        #[test]
        fn round_trips_64(v: i64) {
            let mut out = Vec::new();
            put_i64(&mut out, v);
            prop_assert_eq!(out.len(), len_i64(v));
            prop_assert_eq!(read_i64(&out), Ok((v, out.len())));
        }

        #[test]
        fn round_trips_32(v: i32) {
            let mut out = Vec::new();
            put_i32(&mut out, v);
            prop_assert_eq!(out.len(), len_i32(v));
            prop_assert_eq!(read_i32(&out), Ok((v, out.len())));
        }
    }
}
