//! The CRC32C of batches, and what a changed header does to it where the records stay as they are.
//!
//! CRCs are linear: two messages that differ in their beginnings only have CRCs that differ by the difference of the
//! beginnings' CRCs, moved behind as many bytes as follow. So a batch's timestamp can be set without looking at its
//! records once more, which would cost as much as checking them did.

use std::sync::LazyLock;

/// The CRC32C of what has the CRC `before`, and `bytes` behind it.
pub(crate) fn append(before: u32, bytes: &[u8]) -> u32 {
    #[cfg(test)]
    crate::passes::count(|p| p.crc_bytes += bytes.len());
    crc32c::crc32c_append(before, bytes)
}

/// For each power of two of bytes, what moving behind them makes of each bit.
static BEHIND: LazyLock<[[u32; 32]; usize::BITS as usize]> = LazyLock::new(|| {
    std::array::from_fn(|power| std::array::from_fn(|bit| crc32c::crc32c_combine(1 << bit, 0, 1 << power)))
});

/// What the difference of two CRCs comes to `bytes` bytes further on.
pub(crate) fn behind(difference: u32, bytes: usize) -> u32 {
    let mut moved = difference;
    for (power, table) in BEHIND.iter().enumerate() {
        if bytes >> power & 1 == 1 {
            let bits = table.iter().enumerate().filter(|(bit, _)| moved >> bit & 1 == 1);
            moved = bits.fold(0, |sum, (_, of_bit)| sum ^ of_bit);
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_patched_crc_is_the_whole_messages(
            a in proptest::collection::vec(any::<u8>(), 40), b in proptest::collection::vec(any::<u8>(), 40),
            rest in proptest::collection::vec(any::<u8>(), 0..5000), n in 1usize..30,
        ) {
            let rest = rest.repeat(n);
            let whole = |head: &[u8]| crc32c::crc32c_append(crc32c::crc32c(head), &rest);
            let difference = crc32c::crc32c(&a) ^ crc32c::crc32c(&b);
            prop_assert_eq!(whole(&a) ^ behind(difference, rest.len()), whole(&b));
        }
    }
}
