//! One process: its directories, its metadata log, its controller and broker, its listeners; start and stop.
//!
//! The order of a start: lock and check the directories, bind the ports, format what is not formatted, load and lead
//! the metadata log, register, be unfenced, open the partitions, and only then accept. A broker whose controllers are
//! elsewhere copies the metadata log in place of leading it. A stop goes the other way.
//! No request is served here: that is the broker's.

mod error;
mod format;
mod join;
mod listeners;
mod start;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use logrun_broker::Broker;
use logrun_config::BrokerConfig;
use logrun_io::{Io, TaskHandle};
use logrun_model::{NodeId, Str};
use logrun_net::Connections;
use tokio::sync::oneshot;
use tracing::warn;

pub use error::StartError;
pub use format::{FormatError, FormatPlan, Formatted, format};

/// How long a broker that stops asks to be let go, and how often.
const LEAVE_MAX: Duration = Duration::from_millis(800);
const LEAVE_AGAIN: Duration = Duration::from_millis(20);

/// A running node.
pub struct Node {
    io: Io,
    broker: Arc<Broker>,
    cluster_id: Str,
    node_id: NodeId,
    data_dirs: Vec<PathBuf>,
    listeners: Vec<(String, SocketAddr)>,
    connections: Connections,
    tasks: Vec<TaskHandle<()>>,
    /// What brings committed metadata into force.
    source: TaskHandle<()>,
    failed: Option<oneshot::Receiver<String>>,
    formatted: bool,
}

impl Node {
    /// Starts a node; serves when this returns.
    pub async fn start(io: Io, config: BrokerConfig) -> Result<Self, StartError> {
        start::start(io, config).await
    }

    /// The listeners' names and addresses, with real ports; brokers' first.
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.listeners
    }

    /// The address of the first broker listener, as a client on this machine would use it; none without a broker.
    pub fn broker_addr(&self) -> Option<SocketAddr> {
        let (_, address) = self.listeners.first().filter(|_| self.broker.hosts_partitions())?;
        Some(if address.ip().is_unspecified() {
            SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, address.port()))
        } else {
            *address
        })
    }

    /// Where the data is.
    pub fn data_dirs(&self) -> &[PathBuf] {
        &self.data_dirs
    }

    pub fn cluster_id(&self) -> &Str {
        &self.cluster_id
    }

    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Whether this start has formatted the storage.
    pub fn formatted(&self) -> bool {
        self.formatted
    }

    /// Completes if the node can't go on: its metadata log, or its last log directory, has failed.
    pub async fn failed(&mut self) -> String {
        match self.failed.take() {
            Some(failed) => match failed.await {
                Ok(reason) => reason,
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Stops: accepts nothing more, lets the controller know, closes every log. Takes well under a second unless the
    /// disk is slow.
    pub async fn shutdown(self) {
        for task in &self.tasks {
            task.abort();
        }
        if self.broker.hosts_partitions() && self.broker.config().lifecycle.controlled_shutdown_enable {
            let elsewhere = self.broker.controller().remote().is_some();
            let asked = async {
                // One's own controller ends as well: nobody is left who would wait for more than the first step.
                if elsewhere {
                    self.broker.leave(LEAVE_AGAIN).await
                } else {
                    self.broker.heartbeat(true).await.map(|_| ())
                }
            };
            let asked = tokio::select! {
                asked = asked => asked,
                // Neither a metadata log that hangs nor a controller that is away must hold up the end.
                () = self.io.clock.sleep(LEAVE_MAX) => {
                    warn!("going without the controller's leave: it has not answered in time");
                    Ok(())
                }
            };
            if let Err(f) = asked {
                warn!("the controlled shutdown was refused: {}", f.code);
            }
        }
        if self.broker.controller().remote().is_some() {
            // Its log is closed next.
            self.source.abort();
        }
        self.connections.close_all();
        self.broker.close().await;
        self.source.abort();
    }
}
