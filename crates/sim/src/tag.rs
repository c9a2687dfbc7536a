//! [`Tag`]: which record this is. Every record of a run is unlike every other, and says itself which one it is.
//!
//! A record's value is the tag followed by filler that follows from the tag, so that a reader knows each byte.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// One record: who wrote it, and the how manieth of that writer in that partition it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    pub writer: u16,
    pub number: u32,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}#{}", self.writer, self.number)
    }
}

const TAG_BYTES: usize = 6;
/// Fillers are shorter than this.
const FILLER_BYTES_MAX: u32 = 240;

impl Tag {
    /// The value of the record in the partition of index `partition`.
    pub fn value(self, partition: i32) -> Bytes {
        let seed = self.number.wrapping_mul(7).wrapping_add(u32::from(self.writer) * 13);
        let filler = seed % FILLER_BYTES_MAX;
        let mut value = BytesMut::with_capacity(TAG_BYTES + filler as usize);
        value.put_u16(self.writer);
        value.put_u32(self.number);
        let first = (seed as u8) ^ (partition as u8);
        (0..filler).for_each(|i| value.put_u8(first.wrapping_add((i / 4) as u8)));
        value.freeze()
    }

    /// Which record this is the value of, if it is one, whole and unchanged, of the partition.
    pub fn of_value(value: &[u8], partition: i32) -> Option<Self> {
        let (writer, rest) = value.split_first_chunk::<2>()?;
        let (number, _) = rest.split_first_chunk::<4>()?;
        let tag = Self { writer: u16::from_be_bytes(*writer), number: u32::from_be_bytes(*number) };
        (tag.value(partition) == value).then_some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_whose_it_is_and_any_change_shows() {
        for number in 0..500 {
            let tag = Tag { writer: (number % 5) as u16, number };
            let value = tag.value(2);
            assert_eq!(Tag::of_value(&value, 2), Some(tag));
            let mut changed = value.to_vec();
            let last = changed.len() - 1;
            changed[last] ^= 1;
            assert_ne!(Tag::of_value(&changed, 2), Some(tag));
            assert_eq!(Tag::of_value(&value[..last], 2), None);
        }
    }
}
