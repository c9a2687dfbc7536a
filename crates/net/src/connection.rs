//! One connection: requests are begun in order, answered in order.
//!
//! | the service says    | the connection                                                    |
//! |---------------------|-------------------------------------------------------------------|
//! | `Outcome::Now`      | sends the response behind those that are still owed               |
//! | `Outcome::Later`    | begins the next request; the response keeps its place in the order |
//! | `Outcome::Nothing`  | sends nothing (produce with `acks=0`)                             |
//! | `Outcome::Close`    | sends what is owed and closes                                     |
//!
//! Must never begin a request before the one ahead of it has been given an outcome: clients rely on
//! the order of a connection's requests (an idempotent producer on the order of its batches).

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use bytes::{Buf, Bytes};
use logrun_io::{Buffers, FileRange, Stream};
use tokio::io::AsyncWriteExt;

use crate::frame::{FrameError, FrameReader};

/// A part of a response.
#[derive(Clone, Debug)]
pub enum Piece {
    Memory(Bytes),
    /// Sent from where it is. A file that has been cut closes the connection.
    File(FileRange),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(range) => range.len(),
        }
    }

    fn advance(&mut self, bytes: usize) {
        match self {
            Self::Memory(b) => b.advance(bytes),
            Self::File(range) => range.advance(bytes),
        }
    }
}

/// A response's bytes, length prefix and all, in pieces that are written without being joined.
#[derive(Clone, Debug, Default)]
pub struct Response(Vec<Piece>);

impl Response {
    /// All of it, if it is in memory.
    pub fn into_bytes(self) -> Option<Bytes> {
        let in_memory = self.0.into_iter().map(|piece| match piece {
            Piece::Memory(bytes) => Some(bytes),
            Piece::File(_) => None,
        });
        Some(Bytes::from(in_memory.collect::<Option<Vec<Bytes>>>()?.concat()))
    }
}

impl FromIterator<Piece> for Response {
    fn from_iter<I: IntoIterator<Item = Piece>>(pieces: I) -> Self {
        Self(pieces.into_iter().collect())
    }
}

impl From<Vec<Bytes>> for Response {
    fn from(slices: Vec<Bytes>) -> Self {
        slices.into_iter().map(Piece::Memory).collect()
    }
}

/// What becomes of a request.
pub enum Outcome {
    Now(Response),
    /// A response that is empty closes the connection.
    Later(Pin<Box<dyn Future<Output = Response> + Send>>),
    Nothing,
    Close,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub struct PeerInfo {
    /// The client's address.
    pub peer: SocketAddr,
    /// The address of ours that the client connected to.
    pub local: SocketAddr,
}

/// What a listener's frames mean. One value serves one connection, so that it may hold the connection's state.
pub trait Service: Send {
    /// Answers one request. The future may wait: no further request of the connection is begun meanwhile.
    fn handle(&mut self, frame: Bytes) -> impl Future<Output = Outcome> + Send;
}

/// How many responses may be owed before no further request is begun.
const OWED_MAX: usize = 64;
/// Slices handed to one vectored write.
const WRITE_SLICES_MAX: usize = 64;
/// Responses up to this many bytes are gathered while further requests are already at hand.
const GATHER_BYTES_MAX: usize = 256 << 10;

enum Owed {
    Ready(Response),
    Pending(Pin<Box<dyn Future<Output = Response> + Send>>),
}

/// A connection and the service that answers it.
pub struct Connection<S> {
    stream: Stream,
    frames: FrameReader,
    service: S,
    owed: VecDeque<Owed>,
    out: Vec<Piece>,
    out_bytes: usize,
}

impl<S: Service> Connection<S> {
    pub fn new(stream: Stream, service: S, frame_bytes_max: usize, buffers: Buffers) -> Self {
        Self {
            stream,
            frames: FrameReader::new(frame_bytes_max, buffers),
            service,
            owed: VecDeque::new(),
            out: Vec::new(),
            out_bytes: 0,
        }
    }

    /// Serves until the peer closes, an error, or the service's wish to close.
    pub async fn run(mut self) -> Result<(), FrameError> {
        loop {
            let Some(frame) = self.next_frame().await? else {
                self.settle().await?;
                return Ok(());
            };
            let outcome = {
                let Self { stream, service, owed, out, out_bytes, .. } = &mut self;
                let mut handling = std::pin::pin!(service.handle(frame));
                match std::future::poll_fn(|cx| Poll::Ready(handling.as_mut().poll(cx))).await {
                    Poll::Ready(outcome) => outcome,
                    // It waits for something: what earlier requests are owed must not wait with it. Nor may it wait for
                    // a peer that doesn't read: it may hold what others wait for.
                    Poll::Pending => loop {
                        tokio::select! {
                            biased;
                            flushed = flush(stream, out, out_bytes), if !out.is_empty() => flushed?,
                            outcome = &mut handling => break outcome,
                            response = head(owed), if out.is_empty() => gather(out, out_bytes, response)?,
                        }
                    },
                }
            };
            match outcome {
                Outcome::Now(response) if self.owed.is_empty() => gather(&mut self.out, &mut self.out_bytes, response)?,
                Outcome::Now(response) => self.owed.push_back(Owed::Ready(response)),
                Outcome::Later(response) => self.owed.push_back(Owed::Pending(response)),
                Outcome::Nothing => {}
                Outcome::Close => {
                    self.settle().await?;
                    return Ok(());
                }
            }
        }
    }

    /// The next request, while the responses that fall due are sent.
    async fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            self.collect_ready()?;
            if self.owed.len() < OWED_MAX
                && self.out_bytes < GATHER_BYTES_MAX
                && let Some(frame) = self.frames.buffered()?
            {
                return Ok(Some(frame));
            }
            flush(&mut self.stream, &mut self.out, &mut self.out_bytes).await?;
            let Self { stream, frames, owed, out, out_bytes, .. } = self;
            if owed.is_empty() {
                return frames.next(stream).await;
            }
            let full = owed.len() >= OWED_MAX;
            tokio::select! {
                biased;
                response = head(owed) => gather(out, out_bytes, response)?,
                frame = frames.next(stream), if !full => return frame,
            }
        }
    }

    fn collect_ready(&mut self) -> io::Result<()> {
        while let Some(Owed::Ready(_)) = self.owed.front() {
            if let Some(Owed::Ready(response)) = self.owed.pop_front() {
                gather(&mut self.out, &mut self.out_bytes, response)?;
            }
        }
        Ok(())
    }

    /// Sends everything that is still owed.
    async fn settle(&mut self) -> Result<(), FrameError> {
        while !self.owed.is_empty() {
            let response = head(&mut self.owed).await;
            gather(&mut self.out, &mut self.out_bytes, response)?;
        }
        flush(&mut self.stream, &mut self.out, &mut self.out_bytes).await?;
        self.stream.shutdown().await?;
        Ok(())
    }
}

/// Waits for the oldest response that is owed; forever if none is. Cancelling it loses nothing.
async fn head(owed: &mut VecDeque<Owed>) -> Response {
    match owed.front_mut() {
        None => return std::future::pending().await,
        Some(Owed::Ready(_)) => {}
        Some(Owed::Pending(response)) => {
            let response = response.await;
            owed.pop_front();
            return response;
        }
    }
    match owed.pop_front() {
        Some(Owed::Ready(response)) => response,
        _ => unreachable!("the front was ready"),
    }
}

fn gather(out: &mut Vec<Piece>, out_bytes: &mut usize, Response(pieces): Response) -> io::Result<()> {
    if pieces.is_empty() {
        return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "a request ended without a response"));
    }
    *out_bytes += pieces.iter().map(Piece::len).sum::<usize>();
    if out.is_empty() {
        *out = pieces
    } else {
        out.extend(pieces)
    }
    Ok(())
}

/// Sends all of `out`. Cancelling it loses nothing, and sends nothing twice: what has gone is taken off at once.
async fn flush(stream: &mut Stream, out: &mut Vec<Piece>, out_bytes: &mut usize) -> io::Result<()> {
    let mut first = 0;
    while first < out.len() {
        let mut written = match &out[first] {
            piece if piece.len() == 0 => 0,
            Piece::File(range) => stream.send_file(range).await?,
            Piece::Memory(_) => {
                let mut slices = [IoSlice::new(&[]); WRITE_SLICES_MAX];
                let mut n = 0;
                let mut rest = out[first..].iter();
                let more = loop {
                    match rest.next() {
                        Some(Piece::Memory(bytes)) if n < WRITE_SLICES_MAX => {
                            slices[n] = IoSlice::new(bytes);
                            n += 1;
                        }
                        next => break next.is_some(),
                    }
                };
                let written = stream.send(&slices[..n], more).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                written
            }
        };
        loop {
            let take = written.min(out[first].len());
            out[first].advance(take);
            written -= take;
            if out[first].len() > 0 {
                break;
            }
            first += 1;
            if written == 0 {
                break;
            }
        }
    }
    out.clear();
    *out_bytes = 0;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_io::{Disk, MemoryNet, Net};
    use tokio::io::AsyncReadExt;
    use tokio::sync::oneshot;

    /// Answers `n` with `n`; odd numbers later, when told; 200 closes; 255 with nothing.
    struct Echo(VecDeque<oneshot::Receiver<()>>);

    impl Service for Echo {
        async fn handle(&mut self, frame: Bytes) -> Outcome {
            let response = Response::from(vec![Bytes::from_static(&[0, 0, 0, 1]), frame.clone()]);
            match frame[0] {
                200 => Outcome::Close,
                255 => Outcome::Nothing,
                n if n % 2 == 1 => {
                    let wait = self.0.pop_front().unwrap();
                    Outcome::Later(Box::pin(async move {
                        let _ = wait.await;
                        response
                    }))
                }
                _ => Outcome::Now(response),
            }
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn responses_keep_the_order_of_requests() {
        let net = Net::Memory(MemoryNet::new());
        let mut listener = net.bind("127.0.0.1:9".parse().unwrap()).await.unwrap();
        let mut client = net.connect("127.0.0.1:9".parse().unwrap()).await.unwrap();
        let (stream, _, _) = listener.accept().await.unwrap();
        let (tell_1, wait_1) = oneshot::channel();
        let (tell_3, wait_3) = oneshot::channel();
        let server =
            tokio::spawn(Connection::new(stream, Echo([wait_1, wait_3].into()), 100, Buffers::default()).run());
        for n in [1u8, 2, 255, 3, 4, 200] {
            client.write_all(&[0, 0, 0, 1, n]).await.unwrap();
        }
        tell_3.send(()).unwrap();
        tell_1.send(()).unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        let numbers: Vec<u8> = got.chunks(5).map(|c| c[4]).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        server.await.unwrap().unwrap();
    }

    /// Answers with what it has; a request of 1 when it is told, and says then that it has got on; one of more when it has
    /// had its turn so often.
    struct Slow(Response, Option<(oneshot::Receiver<()>, oneshot::Sender<()>)>);

    impl Service for Slow {
        async fn handle(&mut self, frame: Bytes) -> Outcome {
            match frame[0] {
                0 => {}
                1 => {
                    let (told, got_on) = self.1.take().unwrap();
                    told.await.unwrap();
                    got_on.send(()).unwrap();
                }
                turns => {
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                }
            }
            Outcome::Now(self.0.clone())
        }
    }

    fn frames(requests: &[u8]) -> Vec<u8> {
        requests.iter().flat_map(|n| [0, 0, 0, 1, *n]).collect()
    }

    /// A quarter of a megabyte, less than is gathered, in memory and in files.
    fn quarter(disk: &dyn Disk, path: &std::path::Path) -> (Response, Vec<u8>) {
        let contents: Vec<u8> = (0..100_000u32).map(|i| (i / 3) as u8).collect();
        let file = disk.open(path, logrun_io::OpenMode::Create).unwrap();
        file.write_all_at(0, &[IoSlice::new(&contents)]).unwrap();
        let range = || Piece::File(FileRange::new(file.clone(), 0, contents.len()));
        let memory = |n: u8| Piece::Memory(Bytes::from(vec![n; 25_000]));
        let pieces = [memory(1), range(), memory(2), range()];
        (pieces.into_iter().collect(), [&[1; 25_000], &contents[..], &[2; 25_000], &contents[..]].concat())
    }

    /// A peer that doesn't read would keep from everybody what the handler of its request holds.
    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_request_gets_on_while_the_peer_does_not_read() {
        let net = Net::Memory(MemoryNet::new());
        let mut listener = net.bind("127.0.0.1:9".parse().unwrap()).await.unwrap();
        let mut client = net.connect("127.0.0.1:9".parse().unwrap()).await.unwrap();
        let (stream, _, _) = listener.accept().await.unwrap();
        let (response, expected) = quarter(&logrun_io::disk::SimDisk::new(), "/f".as_ref());
        let (tell, told) = oneshot::channel();
        let (got_on, gets_on) = oneshot::channel();
        let service = Slow(response, Some((told, got_on)));
        let server = tokio::spawn(Connection::new(stream, service, 100, Buffers::default()).run());
        // The pipe takes four of them whole, and a part of the fifth.
        client.write_all(&frames(&[0, 0, 0, 0, 0, 1, 0])).await.unwrap();
        let patience = std::time::Duration::from_secs(1);
        tokio::time::sleep(patience).await;
        tell.send(()).unwrap();
        tokio::time::timeout(patience, gets_on).await.expect("it waits for the peer").unwrap();
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert!(got == expected.repeat(7), "{} of {} bytes", got.len(), expected.len() * 7);
        server.await.unwrap().unwrap();
    }

    /// Responses are broken off wherever a request behind them gets on, and lose nothing by it.
    #[tokio::test]
    async fn what_is_sent_while_requests_get_on_arrives_once() {
        let path = std::env::temp_dir().join(format!("logrun-net-slow-{}", std::process::id()));
        let real = logrun_io::disk::RealDisk::new();
        let simulated = logrun_io::disk::SimDisk::new();
        simulated.create_dir_all(&std::env::temp_dir()).unwrap();
        let worlds: [(&dyn Disk, Net, &str); 3] = [
            (&real, Net::Tcp, "127.0.0.1:0"),
            (&simulated, Net::Tcp, "127.0.0.1:0"),
            (&simulated, Net::Memory(MemoryNet::new()), "127.0.0.1:9"),
        ];
        for (disk, net, addr) in worlds {
            let (response, expected) = quarter(disk, &path);
            disk.remove_file(&path).unwrap();
            let mut listener = net.bind(addr.parse().unwrap()).await.unwrap();
            let mut client = net.connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _, _) = listener.accept().await.unwrap();
            let connection = Connection::new(stream, Slow(response, None), 100, Buffers::default());
            let server = tokio::spawn(connection.run());
            let requests: Vec<u8> = (0..100).map(|n| [0, 2, 3, 5, 40][n % 5]).collect();
            client.write_all(&frames(&requests)).await.unwrap();
            client.shutdown().await.unwrap();
            let mut got = Vec::new();
            let mut part = [0; 7_001];
            loop {
                let n = client.read(&mut part).await.unwrap();
                got.extend_from_slice(&part[..n]);
                if n == 0 {
                    break;
                }
                tokio::task::yield_now().await;
            }
            assert!(got == expected.repeat(requests.len()), "{} of {}", got.len(), expected.len() * requests.len());
            server.await.unwrap().unwrap();
        }
    }

    /// Answers with what it has.
    struct Fixed(Response);

    impl Service for Fixed {
        async fn handle(&mut self, _: Bytes) -> Outcome {
            Outcome::Now(self.0.clone())
        }
    }

    async fn served(net: Net, addr: &str, response: Response, requests: usize) -> (Vec<u8>, Result<(), FrameError>) {
        let mut listener = net.bind(addr.parse().unwrap()).await.unwrap();
        let mut client = net.connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _, _) = listener.accept().await.unwrap();
        let server = tokio::spawn(Connection::new(stream, Fixed(response), 100, Buffers::default()).run());
        client.write_all(&[0, 0, 0, 1, 0].repeat(requests)).await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        (got, server.await.unwrap())
    }

    /// Pieces of memory and of files in turn, larger than what a socket takes at once; and what a peer gets of them.
    fn mixed(file: &std::sync::Arc<dyn logrun_io::File>, contents: &[u8]) -> (Response, Vec<u8>) {
        let ranges = [(0, 5), (5, 3_000_000), (7, 0), (3_500_000, 499_999)];
        let (mut pieces, mut expected) = (Vec::new(), Vec::new());
        for (i, (at, len)) in ranges.into_iter().enumerate() {
            let between = vec![i as u8; [10, 0, 200_000, 3][i]];
            pieces.push(Piece::Memory(Bytes::from(between.clone())));
            pieces.push(Piece::Memory(Bytes::from_static(b"x")));
            pieces.push(Piece::File(FileRange::new(file.clone(), at, len)));
            expected.extend([&between[..], b"x", &contents[at as usize..at as usize + len]].concat());
        }
        (pieces.into_iter().collect(), expected)
    }

    #[tokio::test]
    async fn what_lies_in_a_file_is_sent_in_its_place() {
        let contents: Vec<u8> = (0..4_000_000u32).map(|i| (i / 3) as u8).collect();
        let dir = std::env::temp_dir().join(format!("logrun-net-{}", std::process::id()));
        let real = logrun_io::disk::RealDisk::new();
        let simulated = logrun_io::disk::SimDisk::new();
        let worlds: [(&dyn Disk, Net, &str); 3] = [
            (&real, Net::Tcp, "127.0.0.1:0"),
            (&simulated, Net::Tcp, "127.0.0.1:0"),
            (&simulated, Net::Memory(MemoryNet::new()), "127.0.0.1:9"),
        ];
        for (disk, net, addr) in worlds {
            disk.create_dir_all(&dir).unwrap();
            let path = dir.join("f");
            let file = disk.open(&path, logrun_io::OpenMode::Create).unwrap();
            file.write_all_at(0, &[IoSlice::new(&contents)]).unwrap();
            let (response, expected) = mixed(&file, &contents);
            // It's sent though it has no name any more.
            disk.remove_file(&path).unwrap();
            let (got, ended) = served(net.clone(), addr, response.clone(), 2).await;
            assert!(got == expected.repeat(2), "{} of {} bytes", got.len(), expected.len() * 2);
            ended.unwrap();
            file.set_len(1_000_000).unwrap();
            let (got, ended) = served(net, addr, response, 1).await;
            assert!(expected.starts_with(&got) && got.len() >= 999_000);
            assert!(matches!(ended, Err(FrameError::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof));
            disk.remove_dir_all(&dir).unwrap();
        }
    }
}
