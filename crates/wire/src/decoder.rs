//! [`Decoder`]: reads Kafka's primitive types from one frame, slicing it without copying.
//!
//! Kafka's `Readable`. Every length is checked against the bytes that are left before anything is allocated.

use bytes::Bytes;
use logrun_model::{Str, Uuid, varint};

use crate::codec::{Codec, RawTaggedField};
use crate::error::{DecodeError, DecodeErrorKind as Kind};
use crate::records::Records;

/// Most bytes that a vector reserves before its first element has been read.
const RESERVE_MAX: usize = 64 * 1024;

/// A position in a frame. Strings and bytes that it gives are slices that share the frame's memory.
#[derive(Clone, Debug)]
pub struct Decoder {
    buf: Bytes,
    pos: usize,
    /// Reading stops here: the end of the frame, or of the tagged field being read.
    end: usize,
}

macro_rules! numbers {
    ($($name:ident $size:literal)*) => {$(
        #[inline]
        pub fn $name(&mut self, field: &'static str) -> Result<$name, DecodeError> {
            Ok($name::from_be_bytes(self.array_of::<$size>(field)?))
        }
    )*};
}

impl Decoder {
    pub fn new(buf: Bytes) -> Self {
        let end = buf.len();
        Self { buf, pos: 0, end }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.end - self.pos
    }

    /// How far into the frame this is.
    pub fn position(&self) -> usize {
        self.pos
    }

    /// Everything not read yet.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.buf.slice(self.pos..self.end);
        self.pos = self.end;
        rest
    }

    /// An error unless everything has been read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(DecodeError::new("", Kind::TrailingBytes { count })),
        }
    }

    #[inline]
    fn array_of<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        match self.buf.get(self.pos..self.end).and_then(|b| b.first_chunk::<N>()) {
            Some(bytes) => {
                self.pos += N;
                Ok(*bytes)
            }
            None => Err(self.truncated(field, N)),
        }
    }

    #[cold]
    fn truncated(&self, field: &'static str, needed: usize) -> DecodeError {
        DecodeError::new(field, Kind::Truncated { needed, left: self.remaining() })
    }

    numbers!(i8 1 i16 2 i32 4 i64 8 u16 2 u32 4 f64 8);

    #[inline]
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        Ok(self.i8(field)? != 0)
    }

    #[inline]
    pub fn uuid(&mut self, field: &'static str) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.array_of::<16>(field)?))
    }

    /// An unsigned varint of at most 32 bits.
    #[inline]
    pub fn uvarint(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let bytes = &self.buf[self.pos..self.end];
        match varint::read_u32(bytes) {
            Ok((value, n)) => {
                self.pos += n;
                Ok(value)
            }
            Err(_) => Err(DecodeError::new(field, Kind::InvalidVarint)),
        }
    }

    /// The next `len` bytes, shared with the frame.
    pub fn take(&mut self, field: &'static str, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.remaining() {
            return Err(self.truncated(field, len));
        }
        let slice = self.buf.slice(self.pos..self.pos + len);
        self.pos += len;
        Ok(slice)
    }

    /// The length of bytes or an array: 32 bits, or a varint of one more; `None` is null.
    #[inline]
    fn length(&mut self, field: &'static str, flex: bool) -> Result<Option<usize>, DecodeError> {
        if flex {
            return Ok((self.uvarint(field)? as usize).checked_sub(1));
        }
        Ok(usize::try_from(self.i32(field)?).ok())
    }

    pub fn string_opt(&mut self, field: &'static str, flex: bool) -> Result<Option<Str>, DecodeError> {
        let length = match flex {
            true => (self.uvarint(field)? as usize).checked_sub(1),
            false => usize::try_from(self.i16(field)?).ok(),
        };
        let Some(length) = length else { return Ok(None) };
        if length > i16::MAX as usize {
            return Err(DecodeError::new(field, Kind::StringTooLong { length }));
        }
        match Str::from_bytes(self.take(field, length)?) {
            Ok(s) => Ok(Some(s)),
            Err(e) => Err(DecodeError::new(field, Kind::InvalidUtf8 { valid_up_to: e.valid_up_to })),
        }
    }

    pub fn string(&mut self, field: &'static str, flex: bool) -> Result<Str, DecodeError> {
        let value = self.string_opt(field, flex)?;
        value.ok_or_else(|| DecodeError::new(field, Kind::UnexpectedNull))
    }

    pub fn bytes_opt(&mut self, field: &'static str, flex: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(field, flex)? {
            Some(length) => Ok(Some(self.take(field, length)?)),
            None => Ok(None),
        }
    }

    pub fn bytes(&mut self, field: &'static str, flex: bool) -> Result<Bytes, DecodeError> {
        let value = self.bytes_opt(field, flex)?;
        value.ok_or_else(|| DecodeError::new(field, Kind::UnexpectedNull))
    }

    /// Records as one slice of the frame.
    pub fn records_opt(&mut self, field: &'static str, flex: bool) -> Result<Option<Records>, DecodeError> {
        Ok(self.bytes_opt(field, flex)?.map(Records::from))
    }

    pub fn records(&mut self, field: &'static str, flex: bool) -> Result<Records, DecodeError> {
        self.bytes(field, flex).map(Records::from)
    }

    pub fn array_opt<T: Codec>(
        &mut self,
        field: &'static str,
        version: i16,
        flex: bool,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(field, flex)? else { return Ok(None) };
        let left = self.remaining();
        if count.checked_mul(T::MIN_SIZE).is_none_or(|size| size > left) {
            return Err(DecodeError::new(field, Kind::ArrayTooLong { count, left }));
        }
        let mut out = Vec::with_capacity(count.min(RESERVE_MAX / size_of::<T>().max(1)));
        for i in 0..count {
            match T::read(self, version, flex) {
                Ok(value) => out.push(value),
                Err(e) => return Err(e.at_index(i).within(field)),
            }
        }
        Ok(Some(out))
    }

    pub fn array<T: Codec>(&mut self, field: &'static str, version: i16, flex: bool) -> Result<Vec<T>, DecodeError> {
        let value = self.array_opt(field, version, flex)?;
        value.ok_or_else(|| DecodeError::new(field, Kind::UnexpectedNull))
    }

    pub fn structure<T: Codec>(&mut self, field: &'static str, version: i16, flex: bool) -> Result<T, DecodeError> {
        T::read(self, version, flex).map_err(|e| e.within(field))
    }

    /// A struct behind a byte that is negative for null.
    pub fn structure_opt<T: Codec>(
        &mut self,
        field: &'static str,
        version: i16,
        flex: bool,
    ) -> Result<Option<T>, DecodeError> {
        match self.i8(field)? < 0 {
            true => Ok(None),
            false => self.structure(field, version, flex).map(Some),
        }
    }

    /// A tagged struct that may be null: behind a varint that is zero for null.
    pub fn structure_opt_tagged<T: Codec>(
        &mut self,
        field: &'static str,
        version: i16,
        flex: bool,
    ) -> Result<Option<T>, DecodeError> {
        match self.uvarint(field)? {
            0 => Ok(None),
            _ => self.structure(field, version, flex).map(Some),
        }
    }

    /// How many tagged fields follow.
    pub fn tag_count(&mut self) -> Result<u32, DecodeError> {
        self.uvarint("tagged fields")
    }

    /// The tag and the size of the next tagged field; so many bytes are there.
    pub fn tag(&mut self) -> Result<(u32, usize), DecodeError> {
        let tag = self.uvarint("tagged fields")?;
        let size = self.uvarint("tagged fields")? as usize;
        if size > self.remaining() {
            return Err(self.truncated("tagged fields", size));
        }
        Ok((tag, size))
    }

    /// Reads a known tagged field, which must take all of its `size` bytes and no more.
    pub fn tagged<T>(
        &mut self,
        field: &'static str,
        size: usize,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let outer = self.end;
        let end = self.pos.saturating_add(size).min(outer);
        self.end = end;
        let result = read(self);
        self.end = outer;
        match result {
            Ok(_) if self.pos != end => Err(DecodeError::new(field, Kind::TagSize { size, left: end - self.pos })),
            result => result,
        }
    }

    /// Keeps a tagged field that the schema does not know.
    pub fn raw_tag(&mut self, tag: u32, size: usize) -> Result<RawTaggedField, DecodeError> {
        Ok(RawTaggedField { tag, data: self.take("tagged fields", size)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(bytes: &'static [u8]) -> Decoder {
        Decoder::new(Bytes::from_static(bytes))
    }

    #[test]
    fn lengths_are_checked_before_allocation() {
        let e = decoder(b"\x7f\xff\xff\xff").array::<i32>("a", 0, false).unwrap_err();
        assert_eq!(e.kind(), &Kind::ArrayTooLong { count: 0x7fff_ffff, left: 0 });
        let e = decoder(b"\xff\xff\xff\xff\x0f").bytes("b", true).unwrap_err();
        assert!(matches!(e.kind(), Kind::Truncated { .. }));
        let e = decoder(b"\x81\x80\x02zzzzz").string("s", true).unwrap_err();
        assert_eq!(e.kind(), &Kind::StringTooLong { length: 32768 });
        assert_eq!(decoder(b"\xff\xff\xff\xff\xff\xff").uvarint("u").unwrap_err().kind(), &Kind::InvalidVarint);
    }

    #[test]
    fn null_is_any_negative_length() {
        assert_eq!(decoder(b"\xff\xff").string_opt("s", false), Ok(None));
        assert_eq!(decoder(b"\xff\xff\xff\xfe").bytes_opt("b", false), Ok(None));
        assert_eq!(decoder(b"\x00").array_opt::<i32>("a", 0, true), Ok(None));
        assert_eq!(decoder(b"\x00").string("s", true).unwrap_err().kind(), &Kind::UnexpectedNull);
    }

    #[test]
    fn strings_share_the_frame() {
        let frame = Bytes::from(b"\x00\x03abc".to_vec());
        let s = Decoder::new(frame.clone()).string("s", false).unwrap();
        assert_eq!(s.as_bytes().as_ptr(), frame[2..].as_ptr());
    }

    #[test]
    fn a_tagged_field_keeps_to_its_size() {
        let mut d = decoder(b"\x00\x00\x00\x01\x00");
        let e = d.tagged("t", 5, |d| d.i32("t")).unwrap_err();
        assert_eq!(e.kind(), &Kind::TagSize { size: 5, left: 1 });
        let mut d = decoder(b"\x00\x00\x00\x01\x00");
        let e = d.tagged("t", 3, |d| d.i32("t")).unwrap_err();
        assert_eq!(e.kind(), &Kind::Truncated { needed: 4, left: 3 });
    }
}
