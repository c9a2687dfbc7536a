//! The network: TCP, or pipes in memory for the simulator.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::FileRange;

/// How many bytes a connection in memory holds before its writer waits.
const MEMORY_PIPE_BYTES: usize = 1 << 20;

/// Where connections come from and go to.
#[derive(Clone, Debug)]
pub enum Net {
    Tcp,
    Memory(MemoryNet),
}

impl Net {
    /// Listens on `addr`; port 0 takes any free port.
    pub async fn bind(&self, addr: SocketAddr) -> io::Result<Listener> {
        match self {
            Self::Tcp => {
                let domain = if addr.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
                let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
                // Restart at once although connections of the former process linger in TIME_WAIT.
                socket.set_reuse_address(true)?;
                socket.set_nonblocking(true)?;
                if addr.is_ipv6() {
                    // One socket for both families where the wildcard address is asked for.
                    socket.set_only_v6(!addr.ip().is_unspecified())?;
                }
                socket.bind(&addr.into())?;
                let paced = unpaced(&socket);
                socket.listen(1024)?;
                Ok(Listener::Tcp { listener: TcpListener::from_std(socket.into())?, paced })
            }
            Self::Memory(net) => net.bind(addr),
        }
    }

    /// The addresses of `host`, in the order in which they are to be tried; never empty.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(vec![SocketAddr::from((ip, port))]);
        }
        let found = match self {
            Self::Tcp => tokio::net::lookup_host((host, port)).await?.collect(),
            // A simulated world has no names but this one.
            Self::Memory(_) if host == "localhost" => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))],
            Self::Memory(_) => Vec::new(),
        };
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("the name {host} has no address")));
        }
        Ok(found)
    }

    /// Connects to `addr`.
    pub async fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        match self {
            Self::Tcp => {
                let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                if addr.ip().to_canonical().is_loopback() {
                    unpaced(&socket);
                }
                let stream = socket.connect(addr).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Memory(net) => net.connect(addr),
        }
    }
}

/// Takes from a socket, and from what it will accept, a way to send that lets packets wait for timers, and says which:
/// BBR, which many systems have by default. Within a machine there is no congestion, and that is half of what sending costs
/// (measured: sendfile 0.18-0.35 s of CPU for a GB, without timers 0.11-0.14). Once a connection stands it is too late: the
/// kernel goes on with the timers, whatever algorithm it's given.
fn unpaced(socket: &impl AsFd) -> Option<String> {
    // A kernel that doesn't say, or refuses, only takes longer.
    let paced = tcp_congestion(socket).ok().filter(|name| name.starts_with("bbr"))?;
    set_tcp_congestion(socket, "reno").ok()?;
    Some(paced)
}

/// Whether a connection between these addresses leaves the machine for nowhere.
fn is_one_machine(peer: IpAddr, local: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || peer == local.to_canonical()
}

/// A bound address that accepts connections.
#[derive(Debug)]
pub enum Listener {
    Tcp {
        listener: TcpListener,
        /// How connections to other machines send, where it's not as the listener says.
        paced: Option<String>,
    },
    Memory {
        addr: SocketAddr,
        incoming: mpsc::UnboundedReceiver<(DuplexStream, SocketAddr)>,
        net: MemoryNet,
    },
}

impl Listener {
    /// The next connection: its stream, the peer's address, and the address of ours that the peer used.
    pub async fn accept(&mut self) -> io::Result<(Stream, SocketAddr, SocketAddr)> {
        match self {
            Self::Tcp { listener, paced } => {
                let (stream, peer) = listener.accept().await?;
                let local = stream.local_addr()?;
                stream.set_nodelay(true)?;
                if let Some(paced) = paced
                    && !is_one_machine(peer.ip(), local.ip())
                {
                    // What was the system's own a moment ago.
                    let _ = set_tcp_congestion(&stream, paced);
                }
                Ok((Stream::Tcp(stream), peer, local))
            }
            Self::Memory { addr, incoming, .. } => match incoming.recv().await {
                Some((stream, peer)) => Ok((Stream::Memory(stream), peer, *addr)),
                None => Err(io::Error::new(io::ErrorKind::NotConnected, "the simulated network is gone")),
            },
        }
    }

    /// The address that it listens on, with the real port.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp { listener, .. } => listener.local_addr(),
            Self::Memory { addr, .. } => Ok(*addr),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Memory { addr, net, .. } = self {
            net.0.lock().listeners.remove(addr);
        }
    }
}

/// One connection.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Memory(DuplexStream),
}

/// How much of a file is read at a time where the kernel can't send it.
const READ_TO_SEND_BYTES: usize = 64 << 10;

impl Stream {
    /// Writes some of `bufs`, of which there is something, and says how much. With `more` to follow at once the kernel keeps
    /// a piece of a packet until it comes.
    pub async fn send(&mut self, bufs: &[io::IoSlice<'_>], more: bool) -> io::Result<usize> {
        match self {
            Self::Tcp(s) if more => {
                let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
                let send = || rustix::net::sendmsg(&*s, bufs, &mut SendAncillaryBuffer::default(), flags);
                s.async_io(Interest::WRITABLE, || Ok(rustix::io::retry_on_intr(send)?)).await
            }
            Self::Tcp(s) => s.write_vectored(bufs).await,
            Self::Memory(s) => s.write_vectored(bufs).await,
        }
    }

    /// Sends some of `range`, which is not empty, and says how much; out of the page cache, if the file is a real one,
    /// without a copy. As with [`Self::send`], nothing has gone if it is cancelled.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file has been cut: the peer can't be told any more, only cut off.
    pub async fn send_file(&mut self, range: &FileRange) -> io::Result<usize> {
        let sent = match (&mut *self, range.file().fd()) {
            (Self::Tcp(s), Some(fd)) => {
                let send = || rustix::fs::sendfile(&*s, fd, Some(&mut range.offset()), range.len());
                s.async_io(Interest::WRITABLE, || Ok(rustix::io::retry_on_intr(send)?)).await?
            }
            (stream, _) => {
                let mut buf = vec![0; range.len().min(READ_TO_SEND_BYTES)];
                let n = range.file().read_at(range.offset(), &mut buf)?;
                match n {
                    0 => 0,
                    // Some of it, not all: who gives up waiting would not know how much has gone.
                    _ => match stream.write(&buf[..n]).await? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        written => written,
                    },
                }
            }
        };
        if sent == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(sent) }
    }
}

macro_rules! each {
    ($self:expr, $s:ident => $e:expr) => {
        match $self.get_mut() {
            Stream::Tcp($s) => $e,
            Stream::Memory($s) => $e,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_shutdown(cx))
    }
}

/// A network of pipes inside one simulated world. Cheap to clone; all clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct MemoryNet(Arc<Mutex<MemoryState>>);

#[derive(Debug, Default)]
struct MemoryState {
    listeners: BTreeMap<SocketAddr, mpsc::UnboundedSender<(DuplexStream, SocketAddr)>>,
    next_port: u16,
}

impl MemoryState {
    fn free_port(&mut self) -> u16 {
        self.next_port = self.next_port.checked_add(1).unwrap_or(1).max(40_000);
        self.next_port
    }
}

impl MemoryNet {
    pub fn new() -> Self {
        Self::default()
    }

    fn bind(&self, mut addr: SocketAddr) -> io::Result<Listener> {
        let mut state = self.0.lock();
        if addr.port() == 0 {
            addr.set_port(state.free_port());
        }
        if state.listeners.contains_key(&addr) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (tx, incoming) = mpsc::unbounded_channel();
        state.listeners.insert(addr, tx);
        Ok(Listener::Memory { addr, incoming, net: self.clone() })
    }

    fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        let mut state = self.0.lock();
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, state.free_port()));
        let listener = state.listeners.get(&addr).ok_or(io::ErrorKind::ConnectionRefused)?;
        let (ours, theirs) = tokio::io::duplex(MEMORY_PIPE_BYTES);
        listener.send((theirs, peer)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(Stream::Memory(ours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn within_one_machine_no_packet_waits_for_a_timer() {
        for addr in ["127.0.0.1:0", "[::]:0"] {
            let mut listener = Net::Tcp.bind(addr.parse().unwrap()).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let client = Net::Tcp.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap();
            let (server, _, _) = listener.accept().await.unwrap();
            for stream in [client, server] {
                let Stream::Tcp(stream) = stream else { panic!("in memory") };
                assert!(!tcp_congestion(&stream).unwrap().starts_with("bbr"));
                assert!(stream.nodelay().unwrap());
            }
        }
    }

    #[test]
    fn one_machine_is_told_by_the_addresses() {
        let is_one = |peer: &str, local: &str| is_one_machine(peer.parse().unwrap(), local.parse().unwrap());
        assert!(is_one("127.0.0.1", "127.0.1.1"));
        assert!(is_one("::1", "::1"));
        assert!(is_one("::ffff:127.0.0.1", "::ffff:127.0.0.1"));
        assert!(is_one("10.0.0.5", "::ffff:10.0.0.5"));
        assert!(!is_one("10.0.0.6", "10.0.0.5"));
        assert!(!is_one("fe80::1", "fe80::2"));
    }
}
