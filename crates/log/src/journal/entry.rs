//! An entry of a directory's journal (see [`super`]).
//!
//! ```text
//!  0 magic "LRJ1"          24 topic id, 16 bytes
//!  4 CRC-32C of the rest   40 base offset of the segment, int64
//!    of the head, and of   48 position in the segment's file, uint64
//!    each batch's header   56 length of the payload, uint32
//!  8 sequence of the file  60 length of the name, uint16
//! 16 place in the file     62 kind, uint8
//! 20 reserved, uint32      63 whether a power cut must not take it
//! 64 name of the partition's directory, then the payload: whole batches; zeros up to a multiple of 8
//! ```
//!
//! Numbers are little-endian. The batches' bodies are covered by their own CRCs. A place that holds an entry of an
//! earlier round is known by the sequence.

use bytes::Bytes;
use logrun_model::{Offset, TopicId};
use logrun_record::{Batch, RECORD_BATCH_OVERHEAD, split_batches};

const MAGIC: [u8; 4] = *b"LRJ1";
const CRC_AT: usize = 4;
const COVERED_AT: usize = 8;
const PLACE_AT: usize = 16;
const TOPIC_ID_AT: usize = 24;
const BASE_AT: usize = 40;
const POSITION_AT: usize = 48;
const PAYLOAD_AT: usize = 56;
const NAME_AT: usize = 60;
const KIND_AT: usize = 62;
const PROMISED_AT: usize = 63;
pub(super) const FIXED_BYTES: usize = 64;
/// What an entry's length is a multiple of.
const ALIGN_BYTES: usize = 8;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The payload belongs at the position in the segment's file.
    Append = 1,
    /// The files have what all earlier entries of this partition say; they mean nothing any more.
    Forget = 2,
}

/// Where a batch, or several, belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub kind: Kind,
    /// A power cut must not take it.
    pub promised: bool,
    pub name: String,
    pub topic_id: TopicId,
    pub segment: Offset,
    pub position: u64,
    pub payload_bytes: usize,
}

/// How many bytes an entry takes.
pub(super) fn size(name: &str, payload_bytes: usize) -> usize {
    (FIXED_BYTES + name.len() + payload_bytes).next_multiple_of(ALIGN_BYTES)
}

impl Head {
    /// The bytes before the payload, for an entry at `place` of the file of `sequence`. `headers` are the payload's batches'.
    pub fn encode<'a>(&self, sequence: u64, place: u32, headers: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut out = vec![0; FIXED_BYTES];
        out[..MAGIC.len()].copy_from_slice(&MAGIC);
        put(&mut out, COVERED_AT, &sequence.to_le_bytes());
        put(&mut out, PLACE_AT, &place.to_le_bytes());
        put(&mut out, TOPIC_ID_AT, &self.topic_id.0);
        put(&mut out, BASE_AT, &self.segment.get().to_le_bytes());
        put(&mut out, POSITION_AT, &self.position.to_le_bytes());
        put(&mut out, PAYLOAD_AT, &(self.payload_bytes as u32).to_le_bytes());
        put(&mut out, NAME_AT, &(self.name.len() as u16).to_le_bytes());
        out[KIND_AT] = self.kind as u8;
        out[PROMISED_AT] = u8::from(self.promised);
        out.extend_from_slice(self.name.as_bytes());
        let crc = headers.fold(crc32c::crc32c(&out[COVERED_AT..]), crc32c::crc32c_append);
        put(&mut out, CRC_AT, &crc.to_le_bytes());
        out
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The sequence that the entry at the beginning of a file claims.
pub(super) fn sequence_of(file: &[u8]) -> Option<u64> {
    (file.get(..MAGIC.len())? == MAGIC).then_some(())?;
    get(file, COVERED_AT).map(u64::from_le_bytes)
}

/// The entry at `place` of the file of `sequence`, its payload and where the next one begins. `None` if there is none
/// that's whole: the bytes may be anything.
pub(super) fn parse(file: &Bytes, sequence: u64, place: usize) -> Option<(Head, Bytes, usize)> {
    let bytes = file.get(place..)?;
    if bytes.get(..MAGIC.len())? != MAGIC || sequence_of(bytes)? != sequence {
        return None;
    }
    if u32::from_le_bytes(get(bytes, PLACE_AT)?) as usize != place {
        return None;
    }
    let payload_bytes = u32::from_le_bytes(get(bytes, PAYLOAD_AT)?) as usize;
    let name_end = FIXED_BYTES + usize::from(u16::from_le_bytes(get(bytes, NAME_AT)?));
    let kind = match bytes.get(KIND_AT)? {
        1 => Kind::Append,
        2 => Kind::Forget,
        _ => return None,
    };
    let name = std::str::from_utf8(bytes.get(FIXED_BYTES..name_end)?).ok()?.to_owned();
    let end = name_end.checked_add(payload_bytes)?;
    if end > bytes.len() {
        return None;
    }
    let payload = file.slice(place + name_end..place + end);
    let mut crc = crc32c::crc32c(&bytes[COVERED_AT..name_end]);
    for b in split_batches(payload.clone()) {
        let b: Batch = b.ok()?;
        b.verify_crc().ok()?;
        crc = crc32c::crc32c_append(crc, &b.bytes[..RECORD_BATCH_OVERHEAD]);
    }
    if crc != u32::from_le_bytes(get(bytes, CRC_AT)?) {
        return None;
    }
    let head = Head {
        kind,
        promised: *bytes.get(PROMISED_AT)? != 0,
        topic_id: logrun_model::Uuid(get(bytes, TOPIC_ID_AT)?),
        segment: Offset(i64::from_le_bytes(get(bytes, BASE_AT)?)),
        position: u64::from_le_bytes(get(bytes, POSITION_AT)?),
        payload_bytes,
        name,
    };
    let next = place + size(&head.name, payload_bytes);
    Some((head, payload, next))
}
