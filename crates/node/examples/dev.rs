//! dev
use logrun_config::Loader;
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut l = Loader::new();
    for a in std::env::args().skip(1) { l.set(&a).unwrap_or_else(|e| panic!("{e:?}")); }
    let loaded = l.finish().unwrap_or_else(|e| panic!("{e:?}"));
    let node = logrun_node::Node::start(logrun_io::Io::real(), loaded.config).await.unwrap_or_else(|e| panic!("{e}"));
    eprintln!("{:?} {:?}", node.listeners(), node.data_dirs());
    tokio::signal::ctrl_c().await.unwrap();
    node.shutdown().await;
}
