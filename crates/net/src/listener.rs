//! A bound address and the connections that came through it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logrun_io::{Io, Listener, TaskHandle};
use tracing::{debug, warn};

use crate::connection::{Connection, PeerInfo, Service};

/// The open connections of a process: counted, and ended together.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    tasks: BTreeMap<u64, Option<TaskHandle<()>>>,
    closed: bool,
}

impl Connections {
    /// How many connections are open.
    pub fn count(&self) -> usize {
        self.0.lock().expect("no panic while locked").tasks.len()
    }

    /// Ends every connection at its next point of waiting and refuses new ones.
    pub fn close_all(&self) {
        let mut open = self.0.lock().expect("no panic while locked");
        open.closed = true;
        for task in std::mem::take(&mut open.tasks).into_values().flatten() {
            task.abort();
        }
    }

    fn begin(&self) -> Option<u64> {
        let mut open = self.0.lock().expect("no panic while locked");
        if open.closed {
            return None;
        }
        open.next += 1;
        let id = open.next;
        open.tasks.insert(id, None);
        Some(id)
    }

    fn started(&self, id: u64, task: TaskHandle<()>) {
        let mut open = self.0.lock().expect("no panic while locked");
        if open.closed {
            task.abort();
        } else if let Some(slot) = open.tasks.get_mut(&id) {
            *slot = Some(task);
        }
    }

    fn ended(&self, id: u64) {
        self.0.lock().expect("no panic while locked").tasks.remove(&id);
    }
}

/// Accepts connections on one address and serves each with a service of its own.
pub struct Acceptor {
    listener: Listener,
    name: String,
    frame_bytes_max: usize,
}

impl Acceptor {
    /// Binds `addr`. `name` is the listener's name for the log.
    pub async fn bind(io: &Io, name: &str, addr: SocketAddr, frame_bytes_max: usize) -> io::Result<Self> {
        Ok(Self { listener: io.net.bind(addr).await?, name: name.to_owned(), frame_bytes_max })
    }

    /// The address that is listened on, with the real port.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until the task is aborted. `service` makes the service of a new connection.
    pub async fn run<S, F>(mut self, io: Io, connections: Connections, service: F)
    where
        S: Service + 'static,
        F: Fn(PeerInfo) -> S + Send + 'static,
    {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer, local)) => {
                    let Some(id) = connections.begin() else { return };
                    let connection = Connection::new(
                        stream,
                        service(PeerInfo { peer, local }),
                        self.frame_bytes_max,
                        io.buffers.clone(),
                    );
                    let (open, name) = (connections.clone(), self.name.clone());
                    let task = io.tasks.spawn(async move {
                        match connection.run().await {
                            Ok(()) => debug!(listener = name, %peer, "connection closed"),
                            Err(crate::FrameError::Io(e)) => debug!(listener = name, %peer, "connection lost: {e}"),
                            Err(e) => warn!(listener = name, %peer, "connection closed: {e}"),
                        }
                        open.ended(id);
                    });
                    connections.started(id, task);
                }
                Err(e) => {
                    // Out of descriptors, mostly: wait for some to be given back instead of spinning.
                    warn!(listener = self.name, "can't accept a connection: {e}");
                    io.clock.sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}
