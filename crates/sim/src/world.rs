//! [`World`]: the node as a [`System`]. The only file here that knows the node's own face.

use std::net::SocketAddr;

use logrun_config::{BrokerConfig, Loader};
use logrun_io::Io;
use logrun_node::Node;

use crate::system::{Local, Process, System};

/// Starts nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct World;

impl System for World {
    fn start<'a>(&'a self, io: Io, settings: &'a [(String, String)]) -> Local<'a, Result<Box<dyn Process>, String>> {
        Box::pin(async move {
            let config = config(settings)?;
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
    Ok(loader.finish().map_err(|e| e.to_string())?.config)
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
