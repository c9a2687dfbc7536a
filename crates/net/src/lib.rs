//! Listeners and connections: length-prefixed frames in, vectored responses out, in request order.
//!
//! Knows frames, not messages: what a frame means is its [`Service`]'s business. Kafka's counterpart
//! is `SocketServer` with its processors.

mod connection;
mod frame;
mod listener;

pub use connection::{Connection, Outcome, PeerInfo, Piece, Response, Service};
pub use frame::{FrameError, FrameReader};
pub use listener::{Acceptor, Connections};
