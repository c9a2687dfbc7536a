//! The smallest client there is: does a broker answer ApiVersions, and does it know of a live broker?
//!
//! Blocking sockets and three requests written out by hand (ApiVersions v0, Metadata v1, CreateTopics v2), so that
//! start times are measured without any client library's own start.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;
const CORRELATION_ID: i32 = 0x5eed;

/// A response is refused above this many bytes.
const RESPONSE_BYTES_MAX: usize = 16 << 20;

/// Between two attempts to connect. It bounds the error of a measured start time.
const POLL: Duration = Duration::from_micros(200);

/// Asks for ApiVersions v0 and gives the number of APIs listed.
///
/// # Errors
/// What the socket gives; `InvalidData` for a malformed response or a Kafka error code.
pub fn api_versions(addr: SocketAddr, deadline: Instant) -> io::Result<usize> {
    let mut body = Body(round_trip(addr, API_VERSIONS, 0, &[], deadline)?, 0);
    let error = body.i16()?;
    if error != 0 {
        return Err(malformed(&format!("ApiVersions answered with error {error}")));
    }
    usize::try_from(body.i32()?).map_err(|_| malformed("a negative number of APIs"))
}

/// Asks for Metadata v1 of no topic and gives the number of live (unfenced) brokers.
///
/// # Errors
/// As [`api_versions`].
pub fn live_brokers(addr: SocketAddr, deadline: Instant) -> io::Result<usize> {
    let mut body = Body(round_trip(addr, METADATA, 1, &0_i32.to_be_bytes(), deadline)?, 0);
    usize::try_from(body.i32()?).map_err(|_| malformed("a negative number of brokers"))
}

/// Creates a topic with one replica (CreateTopics v2) and waits for the answer.
///
/// # Errors
/// As [`api_versions`].
pub fn create_topic(addr: SocketAddr, name: &str, partitions: i32, deadline: Instant) -> io::Result<()> {
    let name_length = i16::try_from(name.len()).map_err(|_| malformed("a topic's name of more than 32 KiB"))?;
    let left = deadline.saturating_duration_since(Instant::now()).as_millis();
    let mut request = Vec::with_capacity(64);
    request.extend_from_slice(&1_i32.to_be_bytes());
    request.extend_from_slice(&name_length.to_be_bytes());
    request.extend_from_slice(name.as_bytes());
    request.extend_from_slice(&partitions.to_be_bytes());
    request.extend_from_slice(&1_i16.to_be_bytes());
    // No assignments, no configs; the time-out; not only to validate.
    request.extend_from_slice(&0_i32.to_be_bytes());
    request.extend_from_slice(&0_i32.to_be_bytes());
    request.extend_from_slice(&i32::try_from(left).unwrap_or(i32::MAX).to_be_bytes());
    request.push(0);
    let mut body = Body(round_trip(addr, CREATE_TOPICS, 2, &request, deadline)?, 0);
    let (_throttle_time_ms, topics) = (body.i32()?, body.i32()?);
    if topics != 1 {
        return Err(malformed("another number of topics than was asked for"));
    }
    let name_length = body.take().map(u16::from_be_bytes)?;
    body.1 += usize::from(name_length);
    match body.i16()? {
        0 => Ok(()),
        error => Err(malformed(&format!("CreateTopics answered with error {error}"))),
    }
}

/// Calls `ask` until it succeeds and satisfies `enough`; gives the time that has passed since `since`.
///
/// # Errors
/// `TimedOut` with the last error when `deadline` passes; whatever `alive` gives as soon as it gives an error.
pub fn wait<T>(
    since: Instant,
    deadline: Instant,
    mut alive: impl FnMut() -> io::Result<()>,
    mut ask: impl FnMut() -> io::Result<T>,
    enough: impl Fn(&T) -> bool,
) -> io::Result<Duration> {
    let mut polls = 0_u32;
    loop {
        let last = match ask() {
            Ok(reply) if enough(&reply) => return Ok(since.elapsed()),
            Ok(_) => "it answers, but not as hoped".to_owned(),
            Err(e) => e.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not ready in time: {last}")));
        }
        // Asking the kernel about the process costs more than a refused connection does.
        polls += 1;
        if polls.is_multiple_of(32) {
            alive()?;
        }
        std::thread::sleep(POLL);
    }
}

/// One request on a connection of its own; gives the response's body behind the correlation id.
fn round_trip(addr: SocketAddr, api_key: i16, version: i16, body: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&addr, left)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(left))?;
    let client_id = b"probe";
    let mut frame = Vec::with_capacity(64);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&api_key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&CORRELATION_ID.to_be_bytes());
    frame.extend_from_slice(&i16::try_from(client_id.len()).unwrap_or(0).to_be_bytes());
    frame.extend_from_slice(client_id);
    frame.extend_from_slice(body);
    let length = i32::try_from(frame.len() - 4).map_err(|_| malformed("a request of more than 2 GiB"))?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&frame)?;

    let mut word = [0; 4];
    stream.read_exact(&mut word)?;
    let length = usize::try_from(i32::from_be_bytes(word)).map_err(|_| malformed("a negative response length"))?;
    if !(4..=RESPONSE_BYTES_MAX).contains(&length) {
        return Err(malformed("an impossible response length"));
    }
    stream.read_exact(&mut word)?;
    if i32::from_be_bytes(word) != CORRELATION_ID {
        return Err(malformed("the response to another request"));
    }
    let mut response = vec![0; length - 4];
    stream.read_exact(&mut response)?;
    Ok(response)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A response's body and the position in it.
struct Body(Vec<u8>, usize);

impl Body {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let bytes = self.0.get(self.1..self.1 + N).and_then(|b| b.try_into().ok());
        self.1 += N;
        bytes.ok_or_else(|| malformed("the response ends too early"))
    }

    fn i16(&mut self) -> io::Result<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> io::Result<i32> {
        self.take().map(i32::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers one connection with `response` and gives the request it saw.
    fn serve(response: Vec<u8>) -> (SocketAddr, std::thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut word = [0; 4];
            stream.read_exact(&mut word).expect("length");
            let mut request = vec![0; u32::from_be_bytes(word) as usize];
            stream.read_exact(&mut request).expect("request");
            stream.write_all(&response).expect("response");
            request
        });
        (addr, server)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn counts_the_apis_of_a_reply() {
        let mut reply = vec![0, 0, 0, 22];
        reply.extend_from_slice(&CORRELATION_ID.to_be_bytes());
        reply.extend_from_slice(&[0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 9, 0, 1, 0, 4, 0, 17]);
        let (addr, server) = serve(reply);
        assert_eq!(api_versions(addr, soon()).expect("reply"), 2);
        let request = server.join().expect("server");
        assert_eq!(&request[..4], &[0, 18, 0, 0]);
        assert_eq!(&request[8..], b"\0\x05probe");
    }

    #[test]
    fn a_hostile_reply_is_an_error() {
        for reply in [
            vec![0xff, 0xff, 0xff, 0xff],
            vec![0x7f, 0xff, 0xff, 0xff],
            vec![0, 0, 0, 4, 0, 0, 0, 0],
            vec![0, 0, 0, 5, 0, 0, 0x5e, 0xed, 0],
        ] {
            let (addr, server) = serve(reply);
            api_versions(addr, soon()).expect_err("malformed");
            server.join().expect("server");
        }
    }

    #[test]
    fn waiting_ends_when_the_process_does() {
        let now = Instant::now();
        let gone = || Err(io::Error::other("it is gone"));
        let error = wait(now, soon(), gone, || Err::<usize, _>(malformed("no")), |_| true).expect_err("gone");
        assert_eq!(error.to_string(), "it is gone");
    }
}
