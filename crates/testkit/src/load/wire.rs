//! Produce v3 and Fetch v4, the oldest versions that Kafka 4 still serves, written and read by hand.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::net::sockopt::set_tcp_congestion;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

const PRODUCE: i16 = 0;
const PRODUCE_VERSION: i16 = 3;
const FETCH: i16 = 1;
const FETCH_VERSION: i16 = 4;
/// A response is refused above this many bytes.
const RESPONSE_BYTES_MAX: usize = 256 << 20;
/// Of a batch of format v2.
const HEADER_BYTES: usize = 61;
/// A broker that says nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection for requests one after the other.
pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Brokers of this machine are what is measured: BBR's timers, which last from before the connection stands, would only
    // wake others up.
    set_tcp_congestion(&socket, "reno")?;
    rustix::net::connect(&socket, &addr)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A whole Produce request with one batch for each of `parts`, (partition, batch).
pub fn produce<'a>(topic: &str, acks: i16, parts: impl ExactSizeIterator<Item = (i32, &'a [u8])>) -> Vec<u8> {
    let mut out = header(PRODUCE, PRODUCE_VERSION);
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out.extend_from_slice(&acks.to_be_bytes());
    out.extend_from_slice(&30_000_i32.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    string(&mut out, topic);
    out.extend_from_slice(&(parts.len() as i32).to_be_bytes());
    for (partition, batch) in parts {
        out.extend_from_slice(&partition.to_be_bytes());
        out.extend_from_slice(&(batch.len() as i32).to_be_bytes());
        out.extend_from_slice(batch);
    }
    finish(out)
}

/// A whole Fetch request without a session, of one byte at least within `wait_ms`; `from` is (partition, offset).
pub fn fetch(topic: &str, from: &[(i32, i64)], wait_ms: i32, bytes_max: i32, partition_bytes_max: i32) -> Vec<u8> {
    let mut out = header(FETCH, FETCH_VERSION);
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    out.extend_from_slice(&wait_ms.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&bytes_max.to_be_bytes());
    out.push(0);
    out.extend_from_slice(&1_i32.to_be_bytes());
    string(&mut out, topic);
    out.extend_from_slice(&(from.len() as i32).to_be_bytes());
    for (partition, offset) in from {
        out.extend_from_slice(&partition.to_be_bytes());
        out.extend_from_slice(&offset.to_be_bytes());
        out.extend_from_slice(&partition_bytes_max.to_be_bytes());
    }
    finish(out)
}

fn header(api_key: i16, version: i16) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend_from_slice(&api_key.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    string(&mut out, "load");
    out
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn finish(mut out: Vec<u8>) -> Vec<u8> {
    let length = out.len() as i32 - 4;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// A request that is made once, in pages from which the kernel sends it without copying.
pub struct Template {
    pages: OwnedFd,
    bytes: usize,
}

impl Template {
    pub fn new(request: &[u8]) -> io::Result<Self> {
        let pages = memfd_create("request", MemfdFlags::CLOEXEC)?;
        let mut file = File::from(pages);
        file.write_all(request)?;
        Ok(Self { pages: file.into(), bytes: request.len() })
    }

    pub fn send(&self, stream: &TcpStream) -> io::Result<()> {
        let mut at = 0;
        let mut left = self.bytes;
        while left > 0 {
            match sendfile(stream, &self.pages, Some(&mut at), left)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => left -= sent,
            }
        }
        Ok(())
    }
}

/// Responses are read in pieces of so many bytes, all to the same place, which stays in the processor's cache. (Not to copy
/// what isn't looked at, MSG_TRUNC, makes a reader so fast that it sleeps between any two pieces, and the broker is charged
/// for waking it.)
const PIECE: usize = 128 << 10;

/// Where responses come from.
pub struct Responses {
    stream: BufReader<TcpStream>,
    /// Of the response that is being read.
    left: usize,
}

impl Responses {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream: BufReader::with_capacity(PIECE, stream), left: 0 }
    }

    /// Goes to the body of the next response; gives its correlation id.
    pub fn next(&mut self) -> io::Result<i32> {
        self.skip(self.left)?;
        self.left = 8;
        let length = usize::try_from(self.i32()?).map_err(|_| malformed("a negative length"))?;
        let correlation = self.i32()?;
        if !(4..=RESPONSE_BYTES_MAX).contains(&length) {
            return Err(malformed("an impossible length"));
        }
        self.left = length - 4;
        Ok(correlation)
    }
}

/// A response's body, from its beginning on.
pub trait Body {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()>;
    fn skip(&mut self, bytes: usize) -> io::Result<()>;

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }

    fn i16(&mut self) -> io::Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn skip_string(&mut self) -> io::Result<()> {
        let length = self.i16()?;
        self.skip(usize::try_from(length).unwrap_or(0))
    }
}

impl Body for Responses {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(buffer.len()).ok_or_else(too_short)?;
        self.stream.read_exact(buffer)
    }

    fn skip(&mut self, bytes: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(too_short)?;
        let mut bytes = bytes;
        while bytes > 0 {
            let read = self.stream.fill_buf()?.len().min(bytes);
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.stream.consume(read);
            bytes -= read;
        }
        Ok(())
    }
}

impl Body for &[u8] {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let (filled, left) = self.split_at_checked(buffer.len()).ok_or_else(too_short)?;
        buffer.copy_from_slice(filled);
        *self = left;
        Ok(())
    }

    fn skip(&mut self, bytes: usize) -> io::Result<()> {
        *self = self.split_at_checked(bytes).ok_or_else(too_short)?.1;
        Ok(())
    }
}

/// Looks at each partition of a Produce response: an error is one for the whole load.
pub fn check_produced(body: &mut impl Body) -> io::Result<()> {
    for _ in 0..body.i32()? {
        body.skip_string()?;
        for _ in 0..body.i32()? {
            let partition = body.i32()?;
            let error = body.i16()?;
            if error != 0 {
                return Err(malformed(&format!("partition {partition} answered with error {error}")));
            }
            body.skip(16)?;
        }
    }
    Ok(())
}

/// What a Fetch response brought of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub partition: i32,
    pub records: u64,
    pub bytes: u64,
    /// Behind the last whole batch; none if there was none.
    pub next_offset: Option<i64>,
}

/// Walks the batch headers of a Fetch response.
pub fn fetched(body: &mut impl Body, mut each: impl FnMut(Fetched)) -> io::Result<()> {
    body.skip(4)?;
    for _ in 0..body.i32()? {
        body.skip_string()?;
        for _ in 0..body.i32()? {
            let partition = body.i32()?;
            let error = body.i16()?;
            if error != 0 {
                return Err(malformed(&format!("partition {partition} answered with error {error}")));
            }
            body.skip(16)?;
            let aborted = body.i32()?;
            body.skip(usize::try_from(aborted).unwrap_or(0) * 16)?;
            let length = usize::try_from(body.i32()?).unwrap_or(0);
            each(walk(partition, body, length)?);
        }
    }
    Ok(())
}

fn walk(partition: i32, body: &mut impl Body, length: usize) -> io::Result<Fetched> {
    let mut out = Fetched { partition, records: 0, bytes: 0, next_offset: None };
    let mut left = length;
    while left >= HEADER_BYTES {
        let mut header: &[u8] = &body.array::<HEADER_BYTES>()?;
        let base_offset = i64::from_be_bytes(header.array()?);
        let size = 12 + usize::try_from(header.i32()?).map_err(|_| malformed("a negative batch length"))?;
        left -= HEADER_BYTES;
        let Some(behind) = (left + HEADER_BYTES).checked_sub(size) else { break };
        header.skip(11)?;
        out.next_offset = Some(base_offset + i64::from(header.i32()?) + 1);
        header.skip(30)?;
        out.records += u64::try_from(header.i32()?).unwrap_or(0);
        out.bytes += size as u64;
        body.skip(left.checked_sub(behind).ok_or_else(|| malformed("a batch shorter than its header"))?)?;
        left = behind;
    }
    body.skip(left)?;
    Ok(out)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn too_short() -> io::Error {
    malformed("the response ends too early")
}

#[cfg(test)]
mod tests {
    use super::super::batch::batch;
    use super::*;

    #[test]
    fn a_fetched_batch_is_counted_and_a_torn_one_is_not() {
        let mut records = batch(5, 10);
        let whole = records.len();
        records.extend_from_slice(&batch(2, 10)[..70]);
        let mut body = vec![0; 4];
        body.extend_from_slice(&1_i32.to_be_bytes());
        string(&mut body, "t");
        body.extend_from_slice(&1_i32.to_be_bytes());
        body.extend_from_slice(&7_i32.to_be_bytes());
        body.extend_from_slice(&[0; 18]);
        body.extend_from_slice(&(-1_i32).to_be_bytes());
        body.extend_from_slice(&(records.len() as i32).to_be_bytes());
        body.extend_from_slice(&records);
        let mut seen = Vec::new();
        fetched(&mut &body[..], |f| seen.push(f)).expect("a response");
        assert_eq!(seen, [Fetched { partition: 7, records: 5, bytes: whole as u64, next_offset: Some(5) }]);
        fetched(&mut &body[..body.len() - 1], |_| ()).expect_err("too short");
        let length_at = body.len() - records.len() + 8;
        body[length_at..length_at + 4].fill(0);
        let error = fetched(&mut &body[..], |_| ()).expect_err("no batch is so short");
        assert_eq!(error.to_string(), "a batch shorter than its header");
    }

    #[test]
    fn an_error_of_a_partition_is_told() {
        let mut body = 1_i32.to_be_bytes().to_vec();
        string(&mut body, "t");
        body.extend_from_slice(&1_i32.to_be_bytes());
        body.extend_from_slice(&3_i32.to_be_bytes());
        body.extend_from_slice(&56_i16.to_be_bytes());
        body.extend_from_slice(&[0; 16]);
        let error = check_produced(&mut &body[..]).expect_err("an error");
        assert_eq!(error.to_string(), "partition 3 answered with error 56");
    }
}
