//! [`Records`]: the value of a field of type `records`, in one or several slices.
//!
//! Kafka's `BaseRecords`. Records that come in are one slice of the frame; records that go out of a log are, for
//! each batch, a small patched header and the producer's own bytes; or they stay where they are, in a file, and only their
//! length is known here ([`Elsewhere`]). Nothing here looks into them, and nothing is copied but by
//! [`Records::into_bytes`].

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Record batches as bytes, opaque, in order. Equal if their contents are, however they are sliced.
#[derive(Clone, Default)]
pub struct Records(Inner);

#[derive(Clone)]
enum Inner {
    /// The common case owns no vector.
    One(Bytes),
    Several {
        slices: Vec<Bytes>,
        len: usize,
    },
    Elsewhere(Elsewhere),
}

/// Bytes that are not in memory: whoever writes the frame knows what `source` is and how it's sent.
#[derive(Clone)]
pub struct Elsewhere {
    pub source: Arc<dyn Any + Send + Sync>,
    /// How many bytes it is.
    pub len: usize,
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Elsewhere({} bytes)", self.len)
    }
}

/// A part of a frame as it goes out.
#[derive(Clone, Debug)]
pub enum Piece {
    Memory(Bytes),
    Elsewhere(Elsewhere),
}

impl Piece {
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Elsewhere(e) => e.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are in memory.
    pub fn in_memory(self) -> Option<Bytes> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::Elsewhere(_) => None,
        }
    }
}

impl Default for Inner {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl Records {
    /// No records at all, which is not null.
    pub const EMPTY: Self = Self(Inner::One(Bytes::new()));

    /// The length of all slices in bytes.
    pub fn len(&self) -> usize {
        match &self.0 {
            Inner::One(bytes) => bytes.len(),
            Inner::Several { len, .. } => *len,
            Inner::Elsewhere(e) => e.len,
        }
    }

    /// Where they are if not in memory. Only a response that goes out has such.
    pub fn elsewhere(&self) -> Option<&Elsewhere> {
        match &self.0 {
            Inner::Elsewhere(e) => Some(e),
            _ => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slices in order; at least one, which may be empty, unless they are elsewhere.
    pub fn slices(&self) -> &[Bytes] {
        match &self.0 {
            Inner::Elsewhere(_) => &[],
            Inner::One(bytes) => std::slice::from_ref(bytes),
            Inner::Several { slices, .. } => slices,
        }
    }

    /// The records as one piece of memory; copies unless they already are one.
    ///
    /// # Panics
    /// If they are elsewhere: what was decoded never is.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Inner::Elsewhere(_) => panic!("records that are not in memory are only sent"),
            Inner::One(bytes) => bytes,
            Inner::Several { slices, len } => {
                let mut all = BytesMut::with_capacity(len);
                for slice in slices {
                    all.extend_from_slice(&slice);
                }
                all.freeze()
            }
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::One(bytes))
    }
}

impl From<Elsewhere> for Records {
    fn from(elsewhere: Elsewhere) -> Self {
        Self(Inner::Elsewhere(elsewhere))
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(mut slices: Vec<Bytes>) -> Self {
        match slices.len() {
            0 => Self::EMPTY,
            1 => Self(Inner::One(slices.swap_remove(0))),
            _ => {
                let len = slices.iter().map(Bytes::len).sum();
                Self(Inner::Several { slices, len })
            }
        }
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |r: &Self| r.slices().iter().flat_map(|s| s.iter().copied()).collect::<Vec<_>>();
        match (&self.0, &other.0) {
            (Inner::One(a), Inner::One(b)) => a == b,
            (Inner::Elsewhere(a), Inner::Elsewhere(b)) => Arc::ptr_eq(&a.source, &b.source),
            (Inner::Elsewhere(_), _) | (_, Inner::Elsewhere(_)) => false,
            // Only tests and tools compare records.
            _ => self.len() == other.len() && bytes(self) == bytes(other),
        }
    }
}

impl Eq for Records {}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Records({} bytes", self.len())?;
        match self.slices().len() {
            0 => f.write_str(" elsewhere)"),
            1 => f.write_str(")"),
            n => write!(f, " in {n} slices)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, Encoder, SEGMENT_MIN};

    fn several() -> Records {
        vec![Bytes::from_static(b"head"), Bytes::from(vec![7; SEGMENT_MIN]), Bytes::from_static(b"head2")].into()
    }

    #[test]
    fn equal_by_content() {
        let records = several();
        let joined = Records::from(records.clone().into_bytes());
        assert_eq!(records, joined);
        assert_eq!(joined, records);
        assert_ne!(records, Records::EMPTY);
        assert_eq!(Records::from(vec![]), Records::from(Bytes::new()));
        assert_eq!(format!("{records:?}"), format!("Records({} bytes in 3 slices)", SEGMENT_MIN + 9));
    }

    #[test]
    fn one_slice_stays_the_slice_it_was() {
        let bytes = Bytes::from(vec![1; 10]);
        let records = Records::from(vec![bytes.clone()]);
        assert_eq!((records.len(), records.slices().len()), (10, 1));
        assert_eq!(records.into_bytes().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn small_slices_are_copied_and_large_ones_are_segments() {
        let records = several();
        for flex in [false, true] {
            let (mut counter, mut e) = (Encoder::counter(), Encoder::new());
            counter.records("r", &records, flex).unwrap();
            e.records("r", &records, flex).unwrap();
            let prefix = if flex { 2 } else { 4 };
            assert_eq!((counter.len(), counter.copied_len()), (e.len(), e.copied_len()));
            assert_eq!(e.len(), prefix + records.len());
            let segments: Vec<Bytes> = e.into_pieces().into_iter().filter_map(Piece::in_memory).collect();
            assert_eq!(segments.iter().map(Bytes::len).collect::<Vec<_>>(), [prefix + 4, SEGMENT_MIN, 5]);
            assert_eq!(segments[1].as_ptr(), records.slices()[1].as_ptr());
            let frame = Bytes::from(segments.concat());
            let back = Decoder::new(frame.clone()).records("r", flex).unwrap();
            assert_eq!(back, records);
            assert_eq!(back.into_bytes().as_ptr(), frame[prefix..].as_ptr());
        }
    }

    #[test]
    fn what_is_elsewhere_is_a_piece_of_its_length() {
        let records = Records::from(Elsewhere { source: Arc::new(()), len: 300 });
        let mut counter = Encoder::counter();
        counter.records("r", &records, false).unwrap();
        assert_eq!((counter.len(), counter.copied_len()), (304, 4));
        let mut e = Encoder::new();
        e.records("r", &records, false).unwrap();
        e.i16(7);
        assert_eq!(e.len(), 306);
        let pieces = e.into_pieces();
        assert_eq!(pieces.iter().map(Piece::len).collect::<Vec<_>>(), [4, 300, 2]);
        assert!(matches!((&pieces[0], &pieces[1]), (Piece::Memory(b), Piece::Elsewhere(_)) if b[..] == [0, 0, 1, 44]));
        assert_eq!(records, records.clone());
        assert_ne!(records, Records::from(Bytes::from(vec![0; 300])));
    }

    #[test]
    fn null_is_not_empty() {
        for flex in [false, true] {
            let mut e = Encoder::new();
            e.records_opt("r", &None, flex).unwrap();
            e.records_opt("r", &Some(Records::EMPTY), flex).unwrap();
            let mut d = Decoder::new(e.into_bytes());
            assert_eq!(d.records_opt("r", flex), Ok(None));
            assert_eq!(d.records_opt("r", flex), Ok(Some(Records::EMPTY)));
            d.finish().unwrap();
        }
    }
}
