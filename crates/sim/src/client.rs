//! A bare client for the simulator and for tests: one connection, responses in the order of requests, no retries.
//!
//! It speaks the wire and knows nothing of producers or groups; what a response means is the caller's business.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use logrun_io::{Io, Stream};
use logrun_model::Str;
use logrun_net::FrameReader;
use logrun_wire::{DecodeError, EncodeError, Request, frame};
use thiserror::Error;
use tokio::io::AsyncWriteExt;

/// The longest response taken, in bytes.
const RESPONSE_BYTES_MAX: usize = 100 << 20;

/// Why a request has no response. Whether the broker has acted on it is not known, except for `Encode`.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("the connection is gone: {0}")]
    Io(#[from] io::Error),
    #[error("the broker closed the connection")]
    Closed,
    #[error("no response in {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a response to request {expected} was awaited; {got} came")]
    Correlation { expected: i32, got: i32 },
    #[error(transparent)]
    Frame(#[from] logrun_net::FrameError),
}

/// One connection to a broker.
#[derive(Debug)]
pub struct Client {
    io: Io,
    stream: Stream,
    frames: FrameReader,
    client_id: Str,
    next_correlation_id: i32,
}

impl Client {
    /// Connects to the broker at `addr`.
    pub async fn connect(io: &Io, addr: SocketAddr, client_id: &str) -> Result<Self, ClientError> {
        let stream = io.net.connect(addr).await?;
        Ok(Self {
            io: io.clone(),
            stream,
            frames: FrameReader::new(RESPONSE_BYTES_MAX, io.buffers.clone()),
            client_id: client_id.into(),
            next_correlation_id: 0,
        })
    }

    /// Sends a request and waits at most `timeout` for its response. After any error the connection is of no more use.
    pub async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, ClientError> {
        let id = self.send(version, request).await?;
        let frame = self.receive(timeout).await?;
        Self::response::<R>(frame, id, version)
    }

    /// Sends a request; its correlation id. The response, if there is to be one, is [`Self::receive`]d later.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<i32, ClientError> {
        let id = self.next_correlation_id;
        self.next_correlation_id = id.wrapping_add(1);
        for segment in frame::encode_request(id, Some(self.client_id.clone()), version, request)? {
            self.stream.write_all(&segment).await?;
        }
        Ok(id)
    }

    /// Sends the first half of a request, after which the connection is of no more use.
    pub async fn send_half<R: Request>(&mut self, version: i16, request: &R) -> Result<(), ClientError> {
        let whole = frame::encode_request(self.next_correlation_id, Some(self.client_id.clone()), version, request)?;
        let bytes = whole.concat();
        self.stream.write_all(&bytes[..bytes.len() / 2]).await?;
        Ok(())
    }

    /// The next response's bytes; waits at most `timeout`.
    pub async fn receive(&mut self, timeout: Duration) -> Result<Bytes, ClientError> {
        let clock = self.io.clock.clone();
        tokio::select! {
            biased;
            frame = self.frames.next(&mut self.stream) => frame?.ok_or(ClientError::Closed),
            () = clock.sleep(timeout) => Err(ClientError::TimedOut(timeout)),
        }
    }

    /// Reads the response to request `id` from its bytes.
    pub fn response<R: Request>(frame: Bytes, id: i32, version: i16) -> Result<R::Response, ClientError> {
        let (header, response) = frame::decode_response::<R>(frame, version)?;
        if header.correlation_id != id {
            return Err(ClientError::Correlation { expected: id, got: header.correlation_id });
        }
        Ok(response)
    }
}
