//! Frames: a four-byte length, a header, a message. Both directions, for the broker and for clients.
//!
//! The request header's version follows from the API key and version; its client id is an old-style nullable
//! string in every version, so that a broker can read the header of a request whose version it doesn't know.
//! Reading the length from a socket (and limiting it) is the network's work.

use bytes::Bytes;
use logrun_model::Str;
use thiserror::Error;

use crate::api_key::ApiKey;
use crate::codec::{Message, Request};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, EncodeError, EncodeErrorKind};
pub use crate::messages::request_header::RequestHeader;
pub use crate::messages::response_header::ResponseHeader;
use crate::records::Piece;

/// Why the header of a request can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    #[error("API key {0} is unknown")]
    UnknownApiKey(i16),
    #[error("version {version} of {api:?} is negative")]
    NegativeVersion { api: ApiKey, version: i16 },
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// Reads a request's header from a frame (without its length): the header, the header's own version, and the
/// decoder at the start of the message. The API's version is not checked: ApiVersions must answer all of them.
pub fn decode_request_header(frame: Bytes) -> Result<(RequestHeader, i16, Decoder), HeaderError> {
    let mut peek = Decoder::new(frame.clone());
    let key = peek.i16("request_api_key")?;
    let version = peek.i16("request_api_version")?;
    let api = ApiKey::from_i16(key).ok_or(HeaderError::UnknownApiKey(key))?;
    if version < 0 {
        return Err(HeaderError::NegativeVersion { api, version });
    }
    let header_version = api.request_header_version(version);
    let mut d = Decoder::new(frame);
    let header = RequestHeader::decode(&mut d, header_version)?;
    Ok((header, header_version, d))
}

/// A response as it goes out, length included, in pieces for a vectored write.
pub fn encode_response<M: Message>(
    correlation_id: i32,
    api_key: ApiKey,
    version: i16,
    response: &M,
) -> Result<Vec<Piece>, EncodeError> {
    let header = ResponseHeader { correlation_id, ..Default::default() };
    encode_frame(&header, api_key.response_header_version(version), response, version)
}

/// A request as it goes out, length included, in pieces for a vectored write.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: Option<Str>,
    version: i16,
    request: &R,
) -> Result<Vec<Bytes>, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::API_KEY.code(),
        request_api_version: version,
        correlation_id,
        client_id,
        ..Default::default()
    };
    let pieces = encode_frame(&header, R::API_KEY.request_header_version(version), request, version)?;
    let in_memory = pieces.into_iter().map(|piece| {
        let refuse = || EncodeError::new("", EncodeErrorKind::NotInMemory).in_message(R::NAME, version);
        piece.in_memory().ok_or_else(refuse)
    });
    in_memory.collect()
}

/// Reads the response to a request `R` of `version` from a frame (without its length).
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<(ResponseHeader, R::Response), DecodeError> {
    let mut d = Decoder::new(frame);
    let header = ResponseHeader::decode(&mut d, R::API_KEY.response_header_version(version))?;
    let response = R::Response::decode(&mut d, version)?;
    d.finish().map_err(|e| e.in_message(R::Response::NAME, version))?;
    Ok((header, response))
}

fn encode_frame<H: Message, M: Message>(
    header: &H,
    header_version: i16,
    message: &M,
    version: i16,
) -> Result<Vec<Piece>, EncodeError> {
    let mut counter = Encoder::counter();
    header.encode(&mut counter, header_version)?;
    message.encode(&mut counter, version)?;
    let length = counter.len();
    let prefix = i32::try_from(length)
        .map_err(|_| EncodeError::new("", EncodeErrorKind::TooLong { length }).in_message(M::NAME, version))?;
    let mut e = Encoder::with_capacity(4 + counter.copied_len());
    e.i32(prefix);
    header.encode(&mut e, header_version)?;
    message.encode(&mut e, version)?;
    debug_assert_eq!(e.len(), 4 + length);
    Ok(e.into_pieces())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use crate::messages::{ApiVersionsRequest, ApiVersionsResponse, FetchResponse, MetadataRequest};

    fn memory(pieces: Vec<Piece>) -> Vec<Bytes> {
        pieces.into_iter().map(|p| p.in_memory().unwrap()).collect()
    }

    fn frame(segments: Vec<Bytes>) -> Bytes {
        let all = segments.concat();
        assert_eq!(i32::from_be_bytes(all[..4].try_into().unwrap()) as usize, all.len() - 4);
        Bytes::from(all).slice(4..)
    }

    #[test]
    fn a_request_comes_back() {
        for version in [1, 8, 9, 13] {
            let request = MetadataRequest::default();
            let bytes = frame(encode_request(7, Some(Str::from("me")), version, &request).unwrap());
            let (header, header_version, mut d) = decode_request_header(bytes).unwrap();
            assert_eq!((header.correlation_id, header.request_api_version), (7, version));
            assert_eq!(header.client_id.unwrap(), "me");
            assert_eq!(header_version, if version >= 9 { 2 } else { 1 });
            assert_eq!(MetadataRequest::decode(&mut d, version).unwrap(), request);
            d.finish().unwrap();
        }
    }

    #[test]
    fn api_versions_answers_with_header_0() {
        let response = ApiVersionsResponse { error_code: 35, ..Default::default() };
        let bytes = frame(memory(encode_response(9, ApiKey::ApiVersions, 3, &response).unwrap()));
        let (header, back) = decode_response::<ApiVersionsRequest>(bytes, 3).unwrap();
        assert_eq!((header.correlation_id, back.error_code), (9, 35));
    }

    #[test]
    fn records_go_out_as_they_are() {
        let records = Bytes::from(vec![1; 100_000]);
        let partition = PartitionData { records: Some(records.clone().into()), ..Default::default() };
        let topic = FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
        let response = FetchResponse { responses: vec![topic], ..Default::default() };
        let segments = memory(encode_response(1, ApiKey::Fetch, 12, &response).unwrap());
        assert_eq!(segments.len(), 3);
        assert_eq!(segments[1].as_ptr(), records.as_ptr());
    }

    #[test]
    fn hostile_headers_are_errors() {
        let err = |bytes: &'static [u8]| decode_request_header(Bytes::from_static(bytes)).unwrap_err();
        assert_eq!(err(b"\x00\x04\x00\x00\x00\x00\x00\x01\xff\xff"), HeaderError::UnknownApiKey(4));
        assert!(matches!(err(b"\x00\x00\xff\xff\x00\x00\x00\x01\xff\xff"), HeaderError::NegativeVersion { .. }));
        assert!(matches!(err(b"\x00"), HeaderError::Malformed(_)));
        assert!(matches!(err(b"\x00\x00\x00\x09\x00\x00\x00\x01\x7f\xff"), HeaderError::Malformed(_)));
    }
}
