//! [`Encoder`]: writes Kafka's primitive types; large bytes stay where they are, as pieces of their own.
//!
//! Kafka's `Writable` and `SendBuilder`. The same code counts and writes: a counting encoder keeps nothing
//! but the length, so what is counted is what is written.

use bytes::{BufMut, Bytes, BytesMut};
use logrun_model::{Str, Uuid, varint};

use crate::codec::{Codec, RawTaggedField};
use crate::error::{EncodeError, EncodeErrorKind as Kind};
use crate::records::{Piece, Records};

/// Bytes of at least this length are not copied but kept as a piece.
pub const SEGMENT_MIN: usize = 4096;

/// Where an encoded message goes.
#[derive(Debug, Default)]
pub struct Encoder {
    counting: bool,
    /// All bytes written or counted.
    len: usize,
    /// Those of them that are, or would be, copied.
    copied: usize,
    buf: BytesMut,
    pieces: Vec<Piece>,
}

macro_rules! numbers {
    ($($name:ident)*) => {$(
        #[inline]
        pub fn $name(&mut self, value: $name) {
            self.put(&value.to_be_bytes());
        }
    )*};
}

impl Encoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder that can hold `bytes` copied bytes without growing.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buf: BytesMut::with_capacity(bytes), ..Self::default() }
    }

    /// An encoder that only counts.
    pub fn counter() -> Self {
        Self { counting: true, ..Self::default() }
    }

    /// All bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes written so far that are copied, not kept as pieces of their own: what [`Encoder::with_capacity`] needs.
    pub fn copied_len(&self) -> usize {
        self.copied
    }

    /// What was written, in order, for a vectored write. No piece is empty.
    pub fn into_pieces(mut self) -> Vec<Piece> {
        self.end_copied();
        self.pieces
    }

    /// What was written, as one piece of memory; copies unless it already is one.
    ///
    /// # Panics
    /// If a part of it is not in memory: only responses that go out have such.
    pub fn into_bytes(self) -> Bytes {
        let len = self.len;
        let in_memory = |piece: Piece| piece.in_memory().expect("what is not in memory is only sent");
        let mut pieces = self.into_pieces();
        match pieces.len() {
            0 => Bytes::new(),
            1 => in_memory(pieces.remove(0)),
            _ => {
                let mut all = BytesMut::with_capacity(len);
                for piece in pieces {
                    all.extend_from_slice(&in_memory(piece));
                }
                all.freeze()
            }
        }
    }

    fn end_copied(&mut self) {
        if !self.buf.is_empty() {
            self.pieces.push(Piece::Memory(self.buf.split().freeze()));
        }
    }

    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.copied += bytes.len();
        if !self.counting {
            self.buf.extend_from_slice(bytes);
        }
    }

    /// Writes shared bytes: large ones are kept, not copied.
    pub fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SEGMENT_MIN {
            return self.put(bytes);
        }
        self.len += bytes.len();
        if !self.counting {
            self.end_copied();
            self.pieces.push(Piece::Memory(bytes.clone()));
        }
    }

    numbers!(i8 i16 i32 i64 u16 u32 f64);

    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.put(&[u8::from(value)]);
    }

    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.put(&value.0);
    }

    #[inline]
    pub fn uvarint(&mut self, mut value: u32) {
        let len = varint::len_u32(value);
        self.len += len;
        self.copied += len;
        if !self.counting {
            while value >= 0x80 {
                self.buf.put_u8(value as u8 | 0x80);
                value >>= 7;
            }
            self.buf.put_u8(value as u8);
        }
    }

    /// The length of bytes or an array: 32 bits, or a varint of one more.
    #[inline]
    fn length(&mut self, field: &'static str, length: usize, flex: bool) -> Result<(), EncodeError> {
        let n = i32::try_from(length).ok().filter(|n| *n < i32::MAX);
        let n = n.ok_or_else(|| EncodeError::new(field, Kind::TooLong { length }))?;
        match flex {
            true => self.uvarint(n as u32 + 1),
            false => self.i32(n),
        }
        Ok(())
    }

    pub fn string(&mut self, field: &'static str, value: &Str, flex: bool) -> Result<(), EncodeError> {
        let bytes = value.as_bytes();
        let length = i16::try_from(bytes.len());
        let length = length.map_err(|_| EncodeError::new(field, Kind::TooLong { length: bytes.len() }))?;
        match flex {
            true => self.uvarint(length as u32 + 1),
            false => self.i16(length),
        }
        self.put(bytes);
        Ok(())
    }

    pub fn string_opt(&mut self, field: &'static str, value: &Option<Str>, flex: bool) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.string(field, value, flex)?,
            None if flex => self.uvarint(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    pub fn bytes(&mut self, field: &'static str, value: &Bytes, flex: bool) -> Result<(), EncodeError> {
        self.length(field, value.len(), flex)?;
        self.put_shared(value);
        Ok(())
    }

    pub fn bytes_opt(&mut self, field: &'static str, value: &Option<Bytes>, flex: bool) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.bytes(field, value, flex)?,
            None => self.null_length(flex),
        }
        Ok(())
    }

    /// Records: large slices become pieces, the small ones between them are copied.
    pub fn records(&mut self, field: &'static str, value: &Records, flex: bool) -> Result<(), EncodeError> {
        self.length(field, value.len(), flex)?;
        for slice in value.slices() {
            self.put_shared(slice);
        }
        if let Some(elsewhere) = value.elsewhere().filter(|e| e.len > 0) {
            self.len += elsewhere.len;
            if !self.counting {
                self.end_copied();
                self.pieces.push(Piece::Elsewhere(elsewhere.clone()));
            }
        }
        Ok(())
    }

    pub fn records_opt(&mut self, field: &'static str, value: &Option<Records>, flex: bool) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.records(field, value, flex)?,
            None => self.null_length(flex),
        }
        Ok(())
    }

    #[inline]
    fn null_length(&mut self, flex: bool) {
        match flex {
            true => self.uvarint(0),
            false => self.i32(-1),
        }
    }

    pub fn array<T: Codec>(
        &mut self,
        field: &'static str,
        value: &[T],
        version: i16,
        flex: bool,
    ) -> Result<(), EncodeError> {
        self.length(field, value.len(), flex)?;
        for (i, element) in value.iter().enumerate() {
            if let Err(e) = element.write(self, version, flex) {
                return Err(e.at_index(i).within(field));
            }
        }
        Ok(())
    }

    pub fn array_opt<T: Codec>(
        &mut self,
        field: &'static str,
        value: &Option<Vec<T>>,
        version: i16,
        flex: bool,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.array(field, value, version, flex)?,
            None => self.null_length(flex),
        }
        Ok(())
    }

    pub fn structure<T: Codec>(
        &mut self,
        field: &'static str,
        value: &T,
        version: i16,
        flex: bool,
    ) -> Result<(), EncodeError> {
        value.write(self, version, flex).map_err(|e| e.within(field))
    }

    /// A struct behind a byte that is -1 for null and 1 otherwise.
    pub fn structure_opt<T: Codec>(
        &mut self,
        field: &'static str,
        value: &Option<T>,
        version: i16,
        flex: bool,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => {
                self.i8(1);
                self.structure(field, value, version, flex)?;
            }
            None => self.i8(-1),
        }
        Ok(())
    }

    /// A tagged struct that may be null: behind a varint that is zero for null and one otherwise.
    pub fn structure_opt_tagged<T: Codec>(
        &mut self,
        field: &'static str,
        value: &Option<T>,
        version: i16,
        flex: bool,
    ) -> Result<(), EncodeError> {
        self.uvarint(u32::from(value.is_some()));
        value.as_ref().map_or(Ok(()), |value| self.structure(field, value, version, flex))
    }

    /// Writes a tagged field: tag, size, then what `write` writes (which may be called twice).
    pub fn tagged(
        &mut self,
        tag: u32,
        write: impl Fn(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut counter = Self::counter();
        write(&mut counter)?;
        let size = counter.len;
        self.uvarint(tag);
        self.uvarint(u32::try_from(size).map_err(|_| EncodeError::new("", Kind::TooLong { length: size }))?);
        if self.counting {
            self.len += size;
            self.copied += counter.copied;
            return Ok(());
        }
        write(self)
    }

    /// An error if there are tagged fields at a version that can't have any.
    pub fn no_tags(&self, unknown: &[RawTaggedField]) -> Result<(), EncodeError> {
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(EncodeError::new("unknown_tagged_fields", Kind::UnsupportedTags)),
        }
    }
}

/// The value of a field that is null at other versions but may not be at this one.
#[inline]
pub fn not_null<'a, T>(field: &'static str, value: &'a Option<T>) -> Result<&'a T, EncodeError> {
    value.as_ref().ok_or_else(|| EncodeError::new(field, Kind::UnexpectedNull))
}

/// Writes unknown tagged fields between the known ones, all in the order of their tags.
/// Kafka's `RawTaggedFieldWriter`.
#[derive(Debug)]
pub struct RawTags<'a> {
    left: &'a [RawTaggedField],
    previous: Option<u32>,
}

impl<'a> RawTags<'a> {
    pub fn new(unknown: &'a [RawTaggedField]) -> Self {
        Self { left: unknown, previous: None }
    }

    /// Writes those that come before the known `tag`.
    pub fn before(&mut self, e: &mut Encoder, tag: u32) -> Result<(), EncodeError> {
        while let Some((first, rest)) = self.left.split_first() {
            if first.tag > tag {
                break;
            }
            if first.tag == tag {
                return Err(order(first.tag));
            }
            self.one(e, first)?;
            self.left = rest;
        }
        Ok(())
    }

    /// Writes all that are left.
    pub fn rest(mut self, e: &mut Encoder) -> Result<(), EncodeError> {
        while let Some((first, rest)) = self.left.split_first() {
            self.one(e, first)?;
            self.left = rest;
        }
        Ok(())
    }

    fn one(&mut self, e: &mut Encoder, field: &RawTaggedField) -> Result<(), EncodeError> {
        if self.previous.is_some_and(|previous| field.tag <= previous) {
            return Err(order(field.tag));
        }
        self.previous = Some(field.tag);
        e.uvarint(field.tag);
        let length = field.data.len();
        e.uvarint(u32::try_from(length).map_err(|_| EncodeError::new("", Kind::TooLong { length }))?);
        e.put_shared(&field.data);
        Ok(())
    }
}

#[cold]
fn order(tag: u32) -> EncodeError {
    EncodeError::new("unknown_tagged_fields", Kind::TagOrder { tag })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn large_bytes_are_not_copied() {
        let big = Bytes::from(vec![7; SEGMENT_MIN]);
        let mut e = Encoder::new();
        e.bytes("a", &big, false).unwrap();
        e.i8(1);
        let segments: Vec<Bytes> = e.into_pieces().into_iter().filter_map(Piece::in_memory).collect();
        assert_eq!(segments.iter().map(Bytes::len).collect::<Vec<_>>(), [4, SEGMENT_MIN, 1]);
        assert_eq!(segments[1].as_ptr(), big.as_ptr());
    }

    #[test]
    fn unknown_tags_must_be_in_order() {
        let field = |tag| RawTaggedField { tag, data: Bytes::new() };
        let mut e = Encoder::new();
        assert!(RawTags::new(&[field(3), field(3)]).rest(&mut e).is_err());
        assert!(RawTags::new(&[field(3)]).before(&mut e, 3).is_err());
        assert!(RawTags::new(&[field(3), field(9)]).rest(&mut e).is_ok());
    }

    #[test]
    fn a_string_is_at_most_32767_bytes() {
        let mut e = Encoder::new();
        assert!(e.string("s", &Str::from("x".repeat(32768)), true).is_err());
        assert!(e.string("s", &Str::from("x".repeat(32767)), true).is_ok());
    }

    proptest! {
        #[test]
        fn counts_what_it_writes(value: u32, tag: u32, data in proptest::collection::vec(any::<u8>(), 0..9000)) {
            let data = Bytes::from(data);
            let fill = |e: &mut Encoder| {
                e.uvarint(value);
                e.tagged(tag, |e| e.tagged(value, |e| e.bytes("", &data, true)))
            };
            let (mut counter, mut e) = (Encoder::counter(), Encoder::new());
            fill(&mut counter).unwrap();
            fill(&mut e).unwrap();
            prop_assert_eq!((counter.len(), counter.copied_len()), (e.len(), e.copied_len()));
            let len = e.len();
            prop_assert_eq!(e.into_bytes().len(), len);
        }
    }
}
