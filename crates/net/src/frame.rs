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
    buffer: BytesMut,
    frame_bytes_max: usize,
}

impl FrameReader {
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), frame_bytes_max }
    }

    /// The next frame if all of it has arrived already.
    pub fn buffered(&mut self) -> Result<Option<Bytes>, FrameError> {
        match self.missing()? {
            Some(0) => {
                let length = self.buffer.get_i32() as usize;
                let frame = self.buffer.split_to(length).freeze();
                Ok(Some(frame))
            }
            _ => Ok(None),
        }
    }

    /// How many bytes of the present frame are still to come; `None` before its length is known.
    fn missing(&self) -> Result<Option<usize>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*head);
        match usize::try_from(length) {
            Ok(n) if n <= self.frame_bytes_max => Ok(Some((n + 4).saturating_sub(self.buffer.len()))),
            _ => Err(FrameError::Length { length, max: self.frame_bytes_max }),
        }
    }

    /// Waits for the next frame; `None` when the peer has closed the connection between two frames.
    pub async fn next<R: AsyncRead + Unpin>(&mut self, stream: &mut R) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            let want = match self.missing()? {
                // At least as much again as is there, so that a large frame moves a bounded number of times.
                Some(missing) => missing.min(RESERVE_BYTES_MAX.max(self.buffer.len())),
                None => IDLE_READ_BYTES,
            };
            self.buffer.reserve(want.max(1));
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Truncated) };
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
        let mut frames = FrameReader::new(100);
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
        let mut frames = FrameReader::new(100 << 20);
        assert!(matches!(frames.next(&mut far).await, Err(FrameError::Length { length: i32::MAX, .. })));

        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_all(&(90i32 << 20).to_be_bytes()).await.unwrap();
        drop(near);
        let mut frames = FrameReader::new(100 << 20);
        assert!(matches!(frames.next(&mut far).await, Err(FrameError::Truncated)));
        assert!(frames.buffer.capacity() <= 2 * RESERVE_BYTES_MAX);
    }

    #[tokio::test]
    async fn refuses_a_negative_length() {
        let mut frames = FrameReader::new(100);
        let got = frames.next(&mut &(-1i32).to_be_bytes()[..]).await;
        assert!(matches!(got, Err(FrameError::Length { length: -1, .. })));
    }
}
