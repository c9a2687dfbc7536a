//! Length-prefixed frames off a stream.
//!
//! ```text
//! +---------------+----------------------+
//! | length: int32 | request: length bytes |
//! +---------------+----------------------+
//! ```
//!
//! Memory grows with the bytes that arrive, never with the length that a stranger claims.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use logrun_io::{BUFFER_BYTES_MIN, Buffer, Buffers};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The most that is set aside on a claim alone; untouched pages cost nothing.
const RESERVE_BYTES_MAX: usize = 1 << 20;
/// Room for a read when no frame is under way.
const IDLE_READ_BYTES: usize = 16 << 10;

/// Why no further frame comes from a connection.
#[derive(Debug, Error)]
pub enum FrameError {
    #[error("a frame of {length} bytes is claimed; allowed are 0 to {max} (socket.request.max.bytes)")]
    Length { length: i32, max: usize },
    #[error("the connection ended inside a frame")]
    Truncated,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Cuts a byte stream into frames. Cancelling a read loses nothing.
#[derive(Debug)]
pub struct FrameReader {
    /// Small frames, and the beginning of a large one.
    buffer: BytesMut,
    /// A large frame under way: its bytes so far and its length.
    large: Option<(Buffer, usize)>,
    buffers: Buffers,
    frame_bytes_max: usize,
}

impl FrameReader {
    pub fn new(frame_bytes_max: usize, buffers: Buffers) -> Self {
        Self { buffer: BytesMut::new(), large: None, buffers, frame_bytes_max }
    }

    /// The next frame if all of it has arrived already.
    pub fn buffered(&mut self) -> Result<Option<Bytes>, FrameError> {
        if let Some((buffer, length)) = self.large.take() {
            if buffer.len() == length {
                return Ok(Some(buffer.freeze()));
            }
            self.large = Some((buffer, length));
            return Ok(None);
        }
        let Some(length) = self.length()? else { return Ok(None) };
        if self.buffer.len() < length + 4 {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// The length of the frame under way, once its first four bytes are there.
    fn length(&self) -> Result<Option<usize>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*head);
        match usize::try_from(length) {
            Ok(n) if n <= self.frame_bytes_max => Ok(Some(n)),
            _ => Err(FrameError::Length { length, max: self.frame_bytes_max }),
        }
    }

    /// Waits for the next frame; `None` when the peer has closed the connection between two frames.
    pub async fn next<R: AsyncRead + Unpin>(&mut self, stream: &mut R) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if self.large.is_none()
                && let Some(length) = self.length()?
                && length >= BUFFER_BYTES_MIN
            {
                let mut buffer = self.buffers.take(length.min(RESERVE_BYTES_MAX));
                buffer.put(&self.buffer[4..]);
                self.buffer.clear();
                self.large = Some((buffer, length));
            }
            let read = match &mut self.large {
                Some((buffer, length)) => {
                    let missing = *length - buffer.len();
                    if buffer.len() == buffer.capacity() {
                        // As much again as has arrived: a large frame moves a bounded number of times.
                        buffer.grow(missing.min(buffer.len().max(RESERVE_BYTES_MAX)));
                    }
                    // Never beyond the frame: what follows belongs to the next one.
                    let read = stream.read(buffer.room(missing)).await?;
                    buffer.advance(read);
                    read
                }
                None => {
                    let missing = self.length()?.map_or(1, |n| (n + 4).saturating_sub(self.buffer.len()));
                    self.buffer.reserve(missing.max(IDLE_READ_BYTES));
                    stream.read_buf(&mut self.buffer).await?
                }
            };
            if read == 0 {
                let between = self.large.is_none() && self.buffer.is_empty();
                return if between { Ok(None) } else { Err(FrameError::Truncated) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn cuts_frames_wherever_the_bytes_break() {
        let (mut near, mut far) = tokio::io::duplex(7);
        let writer = tokio::spawn(async move {
            for n in [0usize, 1, 5, 100] {
                near.write_all(&(n as i32).to_be_bytes()).await.unwrap();
                near.write_all(&vec![n as u8; n]).await.unwrap();
            }
        });
        let mut frames = FrameReader::new(100, Buffers::default());
        for n in [0usize, 1, 5, 100] {
            assert_eq!(frames.next(&mut far).await.unwrap().unwrap(), vec![n as u8; n]);
        }
        assert!(frames.next(&mut far).await.unwrap().is_none());
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_claim_costs_no_memory() {
        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_all(&i32::MAX.to_be_bytes()).await.unwrap();
        let mut frames = FrameReader::new(100 << 20, Buffers::default());
        assert!(matches!(frames.next(&mut far).await, Err(FrameError::Length { length: i32::MAX, .. })));

        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_all(&(90i32 << 20).to_be_bytes()).await.unwrap();
        drop(near);
        let mut frames = FrameReader::new(100 << 20, Buffers::default());
        assert!(matches!(frames.next(&mut far).await, Err(FrameError::Truncated)));
        let held = frames.large.map_or(0, |(b, _)| b.capacity());
        assert!(held <= 2 * RESERVE_BYTES_MAX, "{held}");
    }

    #[tokio::test]
    async fn large_frames_arrive_whole_between_small_ones() {
        let (mut near, mut far) = tokio::io::duplex(5000);
        let sizes = [3usize, 70_000, 3_000_000, 5, 65_536, 1];
        let writer = tokio::spawn(async move {
            for n in sizes {
                near.write_all(&(n as i32).to_be_bytes()).await.unwrap();
                near.write_all(&vec![n as u8; n]).await.unwrap();
            }
        });
        let mut frames = FrameReader::new(100 << 20, Buffers::default());
        for n in sizes {
            let frame = frames.next(&mut far).await.unwrap().unwrap();
            assert!(frame.len() == n && frame.iter().all(|b| *b == n as u8), "{n}");
        }
        assert!(frames.next(&mut far).await.unwrap().is_none());
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn refuses_a_negative_length() {
        let mut frames = FrameReader::new(100, Buffers::default());
        let got = frames.next(&mut &(-1i32).to_be_bytes()[..]).await;
        assert!(matches!(got, Err(FrameError::Length { length: -1, .. })));
    }
}
