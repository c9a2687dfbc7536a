//! [`World`]: the node as a [`System`]. The only file here that knows the node's own face.

use std::cell::RefCell;
use std::net::SocketAddr;

use logrun_config::{BrokerConfig, Loader};
use logrun_io::Io;
use logrun_node::Node;

use crate::system::{Local, Process, System};

/// Names and values, as a file would have them.
type Settings = Vec<(String, String)>;

/// Starts nodes.
#[derive(Debug, Default)]
pub struct World {
    /// The last settings and what they mean: one run's are the same for all lives.
    read: RefCell<Option<(Settings, BrokerConfig)>>,
}

impl World {
    fn config(&self, settings: &[(String, String)]) -> Result<BrokerConfig, String> {
        let mut read = self.read.borrow_mut();
        match &*read {
            Some((known, config)) if known == settings => Ok(config.clone()),
            _ => {
                let config = config(settings)?;
                *read = Some((settings.to_vec(), config.clone()));
                Ok(config)
            }
        }
    }
}

impl System for World {
    fn start<'a>(&'a self, io: Io, settings: &'a [(String, String)]) -> Local<'a, Result<Box<dyn Process>, String>> {
        Box::pin(async move {
            let config = self.config(settings)?;
            let node = Node::start(io, config).await.map_err(|e| e.to_string())?;
            let addr = node.broker_addr().ok_or("the node has no listener")?;
            Ok(Box::new(Running { node, addr }) as Box<dyn Process>)
        })
    }
}

fn config(settings: &[(String, String)]) -> Result<BrokerConfig, String> {
    let mut loader = Loader::new();
    let text: String = settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    loader.file("server.properties", &text).map_err(|e| e.to_string())?;
    let loaded = loader.finish().map_err(|e| e.to_string())?;
    match loaded.notices.first() {
        None => Ok(loaded.config),
        // A setting that means nothing would not be tried.
        Some(notice) => Err(format!("the configuration: {notice}")),
    }
}

struct Running {
    node: Node,
    addr: SocketAddr,
}

impl Process for Running {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn stop(self: Box<Self>) -> Local<'static, ()> {
        Box::pin(self.node.shutdown())
    }
}
