//! `logrun serve`: runs a node until it is told to stop.
//!
//! SIGTERM, SIGINT and SIGHUP stop it in order; a second one ends it at once.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use logrun_config::{BrokerConfig, Loaded};
use logrun_io::Io;
use logrun_node::Node;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::args::ServeArgs;
use crate::banner;
use crate::logging;
use crate::source::{absolute, node, process_environment};
use logrun_ctl::Failure;

/// How long a node may take to stop in order before it is left to the recovery of the next start.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Runs a node. `started` is when the process began.
pub fn serve(args: &ServeArgs, started: Instant) -> Result<ExitCode, Failure> {
    logging::start(&args.log_level)?;
    let ephemeral = args.ephemeral.then(EphemeralDir::name);
    let loaded = node(args, &process_environment(), ephemeral.as_ref().map(EphemeralDir::path))?;
    say(&loaded);
    raise_file_limit();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("logrun")
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("can't start the threads: {e}: raise the limit on processes (ulimit -u)")))?;
    let end = runtime.block_on(run(loaded.config, ephemeral.is_some(), started));
    // What still blocks a thread has nothing left to save.
    runtime.shutdown_background();
    drop(ephemeral);
    end
}

/// Takes as many descriptors as the system lets it, as the Java machine does: each partition in use holds one.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(e) = setrlimit(Resource::Nofile, limit) {
            warn!("the limit on open files can't be raised: {e}");
        }
    }
}

fn say(loaded: &Loaded) {
    for notice in &loaded.notices {
        if notice.is_warning() {
            warn!("{notice}");
        } else {
            info!("{notice}");
        }
    }
}

async fn run(config: BrokerConfig, is_ephemeral: bool, started: Instant) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    let start = Node::start(Io::real(), config);
    let mut node = tokio::select! {
        node = start => node.map_err(Failure::new)?,
        // Nothing has been promised to anybody yet.
        number = signals.next() => return Ok(ended_by(number)),
    };
    let ready = banner::Ready {
        listeners: node.listeners().to_vec(),
        data_dirs: node.data_dirs().iter().map(|dir| absolute(dir)).collect(),
        is_ephemeral,
        is_new: node.formatted(),
        node_id: node.node_id().get(),
        cluster_id: node.cluster_id().to_string(),
        broker: node.broker_addr(),
        took: started.elapsed(),
    };
    // Whoever closed standard error doesn't want to see it.
    let _ = std::io::stderr().write_all(banner::ready(&ready).as_bytes());
    let failure = tokio::select! {
        _ = signals.next() => None,
        reason = node.failed() => Some(reason),
    };
    let stopping = Instant::now();
    info!("stopping; once more to stop at once");
    tokio::select! {
        () = node.shutdown() => info!("stopped in {} ms", stopping.elapsed().as_millis()),
        number = signals.next() => return Ok(ended_by(number)),
        () = tokio::time::sleep(STOP_MAX) => warn!("gave up stopping in order; the next start recovers the logs"),
    }
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some(reason) => Err(Failure::new(format!("the node could not go on: {reason}"))),
    }
}

/// The exit code of a program that a signal ended, as shells count it.
fn ended_by(number: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + number).unwrap_or(1))
}

/// The signals that stop a node.
struct Signals([(Signal, SignalKind); 3]);

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind: SignalKind| {
            signal(kind).map(|s| (s, kind)).map_err(|e| Failure::new(format!("can't listen for signals: {e}")))
        };
        Ok(Self([listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?]))
    }

    /// Waits for the next of them; its number.
    async fn next(&mut self) -> i32 {
        let [(a, terminate), (b, interrupt), (c, hangup)] = &mut self.0;
        tokio::select! {
            _ = a.recv() => terminate.as_raw_value(),
            _ = b.recv() => interrupt.as_raw_value(),
            _ = c.recv() => hangup.as_raw_value(),
        }
    }
}

/// A directory that goes with its owner.
struct EphemeralDir(PathBuf);

impl EphemeralDir {
    /// A name that nobody has; the node makes the directory.
    fn name() -> Self {
        Self(std::env::temp_dir().join(format!("logrun-{}", Io::real().random.uuid())))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for EphemeralDir {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("logrun: {} could not be removed: {e}", self.0.display());
        }
    }
}
