//! SipHash-2-4 with 128 bits of output: what stands for a record's key in the offset map.
//!
//! The map does not keep keys, so two keys of one hash would be one key to it, and the older record would be lost.
//! By chance that takes more keys than any log has (2^64); and since the hash has a secret of the process, nobody
//! can look for such a pair either, as one can for the MD5 that Kafka uses.

/// The secret: two random numbers.
pub(crate) type HashSecret = (u64, u64);

/// The hash of `key` under `secret`.
pub(crate) fn key_hash(secret: HashSecret, key: &[u8]) -> u128 {
    let (k0, k1) = secret;
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = key.as_chunks::<8>();
    for word in words {
        absorb(&mut v, u64::from_le_bytes(*word));
    }
    // What is left over, and the length in the last byte.
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = key.len() as u8;
    absorb(&mut v, u64::from_le_bytes(last));
    v[2] ^= 0xee;
    let low = squeeze(&mut v);
    v[1] ^= 0xdd;
    let high = squeeze(&mut v);
    u128::from(high) << 64 | u128::from(low)
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    round(v);
    v[0] ^= word;
}

fn squeeze(v: &mut [u64; 4]) -> u64 {
    for _ in 0..4 {
        round(v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the reference implementation: the key is 00 01 … 0f, the input the first n bytes of 00 01 02 ….
    #[test]
    fn is_the_published_function() {
        let secret = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let input: Vec<u8> = (0..64).collect();
        let hex = |n: usize| key_hash(secret, &input[..n]).to_le_bytes().map(|b| format!("{b:02x}")).concat();
        assert_eq!(hex(0), "a3817f04ba25a8e66df67214c7550293");
        assert_eq!(hex(1), "da87c1d86b99af44347659119b22fc45");
    }

    #[test]
    fn every_byte_and_the_secret_count() {
        let key = b"some key of 24 bytes....";
        let hash = key_hash((1, 2), key);
        assert_ne!(hash, key_hash((1, 3), key));
        for i in 0..key.len() {
            let mut other = *key;
            other[i] ^= 1;
            assert_ne!(hash, key_hash((1, 2), &other));
        }
        assert_ne!(key_hash((1, 2), b""), key_hash((1, 2), b"\0"));
    }
}
