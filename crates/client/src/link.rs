//! [`Link`]: one connection, used by one caller at a time: before it becomes a shared [`Connection`], and in tests.
//!
//! It speaks the wire and knows nothing of metadata or retries. After any error it is of no more use.
//!
//! [`Connection`]: crate::connection::Connection

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use logrun_io::Io;
use logrun_model::Str;
use logrun_net::{FrameError, FrameReader};
use logrun_wire::messages::ApiVersionsRequest;
use logrun_wire::{ApiKey, ErrorCode, Request, frame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::error::Error;
use crate::versions::Versions;

/// The longest response taken, in bytes. Memory grows with what arrives, not with what is claimed.
const RESPONSE_BYTES_MAX: usize = i32::MAX as usize;

/// A byte stream to a broker: plain, or through TLS.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> Transport for T {}

/// One connection to a broker.
#[derive(Debug)]
pub struct Link {
    io: Io,
    pub(crate) stream: Box<dyn Transport>,
    pub(crate) frames: FrameReader,
    pub(crate) client_id: Str,
    pub(crate) next_correlation_id: i32,
    pub(crate) address: String,
}

impl Link {
    /// A link over `stream`; `address` is for messages.
    pub fn new(io: &Io, stream: Box<dyn Transport>, client_id: Str, address: String) -> Self {
        let frames = FrameReader::new(RESPONSE_BYTES_MAX, io.buffers.clone());
        Self { io: io.clone(), stream, frames, client_id, next_correlation_id: 0, address }
    }

    /// A plain link to `addr`.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn connect(io: &Io, addr: SocketAddr, client_id: &str) -> Result<Self, Error> {
        let address = addr.to_string();
        match io.net.connect(addr).await {
            Ok(stream) => Ok(Self::new(io, Box::new(stream), client_id.into(), address)),
            Err(e) => Err(Error::Connect { address, reason: e.to_string() }),
        }
    }

    fn gone(&self, reason: impl ToString) -> Error {
        Error::Disconnected { address: self.address.clone(), reason: reason.to_string() }
    }

    /// Sends a request; its correlation id. The response, if there is to be one, is [`Self::receive`]d later.
    ///
    /// # Errors
    /// If the connection is gone or the request can't be written.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<i32, Error> {
        let id = self.next_correlation_id;
        self.next_correlation_id = id.wrapping_add(1);
        for segment in frame::encode_request(id, Some(self.client_id.clone()), version, request)? {
            self.stream.write_all(&segment).await.map_err(|e| self.gone(e))?;
        }
        self.stream.flush().await.map_err(|e| self.gone(e))?;
        Ok(id)
    }

    /// Sends the first half of a request, after which the link is of no more use: for tests of brokers.
    ///
    /// # Errors
    /// If the connection is gone or the request can't be written.
    pub async fn send_half<R: Request>(&mut self, version: i16, request: &R) -> Result<(), Error> {
        let whole = frame::encode_request(self.next_correlation_id, Some(self.client_id.clone()), version, request)?;
        let bytes = whole.concat();
        self.stream.write_all(&bytes[..bytes.len() / 2]).await.map_err(|e| self.gone(e))
    }

    /// The next response's bytes; waits at most `timeout`.
    ///
    /// # Errors
    /// If none comes.
    pub async fn receive(&mut self, timeout: Duration) -> Result<Bytes, Error> {
        let clock = self.io.clock.clone();
        let frame = tokio::select! {
            biased;
            frame = self.frames.next(&mut self.stream) => frame,
            () = clock.sleep(timeout) => {
                return Err(Error::TimedOut { what: format!("a response of {}", self.address), after: timeout, last: None });
            }
        };
        match frame {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(self.gone("the broker closed it")),
            Err(e @ FrameError::Length { .. }) => Err(Error::Invalid(format!("{} sent no frame: {e}", self.address))),
            Err(e) => Err(self.gone(e)),
        }
    }

    /// Sends a request and waits at most `timeout` for its response.
    ///
    /// # Errors
    /// If none comes or it can't be read.
    pub async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, Error> {
        let id = self.send(version, request).await?;
        let frame = self.receive(timeout).await?;
        Self::response::<R>(frame, id, version)
    }

    /// Reads the response to request `id` from its bytes.
    ///
    /// # Errors
    /// If it can't be read, or answers another request.
    pub fn response<R: Request>(frame: Bytes, id: i32, version: i16) -> Result<R::Response, Error> {
        let (header, response) = frame::decode_response::<R>(frame, version)?;
        if header.correlation_id != id {
            let got = header.correlation_id;
            return Err(Error::Invalid(format!("a response to request {id} was awaited; one to {got} came")));
        }
        Ok(response)
    }

    /// Asks what the broker serves. One that doesn't know the version of the question answers in version 0, and is
    /// asked again (KIP-35, KIP-511).
    ///
    /// # Errors
    /// If there is no answer, or a refusal.
    pub async fn api_versions(&mut self, timeout: Duration) -> Result<Versions, Error> {
        let request = ApiVersionsRequest {
            client_software_name: Str::from_static("logrun-client"),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
            ..Default::default()
        };
        let mut version = ApiKey::ApiVersions.stable_versions().max.min(4);
        loop {
            let id = self.send(version, &request).await?;
            let frame = self.receive(timeout).await?;
            // Behind the correlation id comes the error code, in every version.
            let refused = frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
            let spoken = if refused { 0 } else { version };
            let response = Self::response::<ApiVersionsRequest>(frame, id, spoken)?;
            if !refused {
                crate::check(response.error_code, None)?;
                return Ok(Versions::of(&self.address, &response));
            }
            let theirs = Versions::of(&self.address, &response).of_api(ApiKey::ApiVersions).max.max(0);
            if theirs >= version {
                return Err(ErrorCode::UnsupportedVersion.into());
            }
            version = theirs;
        }
    }
}
