//! [`System`]: what a run puts to the test. The node is one (`world.rs`), the toy of the tests another.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use logrun_io::Io;

/// A future that stays on its thread.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Something that can be started on a disk, again and again.
pub trait System {
    /// Starts a process with the settings of `server.properties`. It serves when this returns.
    fn start<'a>(&'a self, io: Io, settings: &'a [(String, String)]) -> Local<'a, Result<Box<dyn Process>, String>>;
}

/// A process that serves. What dies without being asked is simply not asked.
pub trait Process {
    /// Where clients connect to.
    fn addr(&self) -> SocketAddr;

    /// Stops it in good order; it has stopped when this returns.
    fn stop(self: Box<Self>) -> Local<'static, ()>;
}
