//! The codecs of record batches (`CompressionType`), each bounded by [`Limits`] when reading.
//!
//! A decompressor never allocates what the compressed bytes merely claim: memory grows with bytes that really came
//! out, and stops at the limit.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use bytes::Bytes;

use crate::error::BatchError;

/// A codec, by the id that batches carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum CompressionType {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl CompressionType {
    /// All codecs, in the order of their ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this id.
    pub const fn from_id(id: u8) -> Result<Self, BatchError> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            _ => Err(BatchError::UnknownCompression(id)),
        }
    }

    /// The id in a batch's attributes.
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The name in configurations (`compression.type`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of that name; `uncompressed` is a topic's word for `none`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "uncompressed" => Some(Self::None),
            _ => Self::ALL.into_iter().find(|c| c.name() == name),
        }
    }
}

/// A codec with its level (KIP-390).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Compression {
    pub codec: CompressionType,
    /// None is the codec's default: gzip 6, zstd 3. Snappy has no levels; LZ4 has its fast one only, so that
    /// `compression.lz4.level` is accepted and changes nothing.
    pub level: Option<i32>,
}

impl Compression {
    pub const NONE: Self = Self { codec: CompressionType::None, level: None };

    /// The codec at its default level.
    pub const fn of(codec: CompressionType) -> Self {
        Self { codec, level: None }
    }
}

/// How much a decompressor may produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Never more bytes than this from one batch.
    pub max_decompressed_bytes: usize,
    /// Never more than this many bytes for each compressed one …
    pub max_ratio: usize,
    /// … beyond this many bytes, which even the most repetitive small batch may take.
    pub ratio_exempt_bytes: usize,
}

impl Default for Limits {
    /// 128 MiB, and beyond 16 MiB a ratio of 1024.
    fn default() -> Self {
        Self { max_decompressed_bytes: 128 << 20, max_ratio: 1024, ratio_exempt_bytes: 16 << 20 }
    }
}

impl Limits {
    /// How many bytes may come out of `compressed` bytes.
    pub fn allowed(&self, compressed: usize) -> usize {
        compressed.saturating_mul(self.max_ratio).max(self.ratio_exempt_bytes).min(self.max_decompressed_bytes)
    }
}

/// Decompresses `data` within `limits`. With [`CompressionType::None`] it is `data` itself.
pub fn decompress(codec: CompressionType, data: &Bytes, limits: &Limits) -> Result<Bytes, BatchError> {
    #[cfg(test)]
    crate::passes::count(|p| p.decompressions += usize::from(codec != CompressionType::None));
    let limit = limits.allowed(data.len());
    match codec {
        CompressionType::None => Ok(data.clone()),
        CompressionType::Gzip => gzip::decompress(data, limit).map(Bytes::from),
        CompressionType::Snappy => snappy::decompress(data, limit).map(Bytes::from),
        CompressionType::Lz4 => lz4::decompress(data, limit, lz4::HeaderChecksum::Checked).map(Bytes::from),
        CompressionType::Zstd => zstd::decompress(data, limit).map(Bytes::from),
    }
}

/// As [`decompress`], for messages of magic 0: their LZ4 frames have a wrong header checksum (KAFKA-3160).
pub(crate) fn decompress_magic_0(codec: CompressionType, data: &Bytes, limits: &Limits) -> Result<Bytes, BatchError> {
    match codec {
        CompressionType::Lz4 => {
            lz4::decompress(data, limits.allowed(data.len()), lz4::HeaderChecksum::Ignored).map(Bytes::from)
        }
        _ => decompress(codec, data, limits),
    }
}

/// Compresses `data` as Kafka's own clients read it. With [`CompressionType::None`] it is a copy.
pub fn compress(compression: Compression, data: &[u8]) -> Result<Vec<u8>, BatchError> {
    #[cfg(test)]
    crate::passes::count(|p| p.compressions += usize::from(compression.codec != CompressionType::None));
    match compression.codec {
        CompressionType::None => Ok(data.to_vec()),
        CompressionType::Gzip => gzip::compress(data, compression.level),
        CompressionType::Snappy => snappy::compress(data),
        CompressionType::Lz4 => lz4::compress(data),
        CompressionType::Zstd => zstd::compress(data, compression.level),
    }
}

fn malformed(codec: CompressionType, reason: impl ToString) -> BatchError {
    BatchError::Decompression { codec: codec.name(), reason: reason.to_string() }
}

fn too_large(codec: CompressionType, limit: usize) -> BatchError {
    BatchError::TooLargeDecompressed { codec: codec.name(), limit }
}

fn failed(codec: CompressionType, reason: impl ToString) -> BatchError {
    BatchError::Compression { codec: codec.name(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: Limits = Limits { max_decompressed_bytes: 100_000, max_ratio: 1024, ratio_exempt_bytes: 100_000 };

    #[test]
    fn names_and_ids_agree() {
        for c in CompressionType::ALL {
            assert_eq!(CompressionType::from_id(c.id()), Ok(c));
            assert_eq!(CompressionType::from_name(c.name()), Some(c));
        }
        assert_eq!(CompressionType::from_name("producer"), None);
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0u8; 4_000_000];
        for codec in CompressionType::ALL.into_iter().skip(1) {
            let bomb = Bytes::from(compress(Compression::of(codec), &zeros).unwrap());
            let result = decompress(codec, &bomb, &SMALL);
            assert!(matches!(result, Err(BatchError::TooLargeDecompressed { limit: 100_000, .. })), "{codec:?}");
            assert_eq!(decompress(codec, &bomb, &Limits::default()).unwrap(), zeros, "{codec:?}");
        }
    }

    #[test]
    fn levels_are_taken() {
        let text = b"abcdefgh, abcdefgh and once more abcdefgh".repeat(50);
        for (codec, levels) in [(CompressionType::Gzip, vec![1, 9]), (CompressionType::Zstd, vec![-7, 1, 19, 22])] {
            for level in levels {
                let c = compress(Compression { codec, level: Some(level) }, &text).unwrap();
                assert_eq!(decompress(codec, &Bytes::from(c), &Limits::default()).unwrap(), text);
            }
        }
    }

    proptest! {
        #[test]
        fn round_trips(data in proptest::collection::vec(0u8..4, 0..5000), n in 1usize..40) {
            let data = data.repeat(n);
            for codec in CompressionType::ALL {
                let c = Bytes::from(compress(Compression::of(codec), &data).unwrap());
                prop_assert_eq!(&decompress(codec, &c, &Limits::default()).unwrap()[..], &data[..]);
            }
        }

        #[test]
        fn hostile_bytes_never_panic(
            data in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0usize..4000, flip in 1u8..,
        ) {
            let good = b"some text to compress, and again some text".repeat(100);
            for codec in CompressionType::ALL {
                let _ = decompress(codec, &Bytes::from(data.clone()), &SMALL);
                let mut c = compress(Compression::of(codec), &good).unwrap();
                let at = at % c.len();
                c[at] ^= flip;
                let _ = decompress(codec, &Bytes::from(c.clone()), &SMALL);
                c.truncate(at);
                let _ = decompress(codec, &Bytes::from(c), &SMALL);
            }
        }
    }
}
