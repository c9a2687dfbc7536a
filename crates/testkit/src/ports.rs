//! Free ports on loopback.
//!
//! They are taken from below the kernel's ephemeral range: a client that keeps connecting to an ephemeral port on
//! which nobody listens yet will, sooner or later, be given that very port as its own and connect to itself.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 20_000;
const LAST: u32 = 32_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The first of two neighbouring ports on 127.0.0.1 that nobody uses (a broker's and its controller's).
///
/// Each process begins its search elsewhere, so that test programs that run side by side seldom meet; the port can
/// still be taken by a stranger before it is used.
///
/// # Errors
/// `AddrNotAvailable` when every port of the range is taken.
pub fn free_port_pair() -> io::Result<u16> {
    let pairs = (LAST - FIRST) / 2;
    let start = std::process::id().wrapping_mul(0x9E37_79B1) % pairs;
    for _ in 0..pairs {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + 2 * ((start + n) % pairs);
        let (Ok(a), Ok(b)) = (u16::try_from(port), u16::try_from(port + 1)) else { continue };
        if is_free(a) && is_free(b) {
            return Ok(a);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no free pair of ports on 127.0.0.1"))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_gives_another_pair() {
        let (a, b) = (free_port_pair().expect("a"), free_port_pair().expect("b"));
        assert!(a.abs_diff(b) >= 2);
        assert!(is_free(a) && is_free(a + 1));
    }
}
