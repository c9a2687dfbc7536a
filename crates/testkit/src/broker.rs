//! A broker as a process of its own: Logrun's binary, or Apache Kafka through the judge's script.
//!
//! Both are given the same lines of `server.properties`, so that what differs between two measurements is the broker.
//! Nothing here outlives its owner: a running broker that is dropped is killed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::background::{POLL, wait_within};
use crate::{free_port_pair, probe, procfs, repository};

/// Which broker, and what starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Product {
    /// The path of the `logrun` binary.
    Logrun(PathBuf),
    /// The path of the judge's script, which runs Apache Kafka from its published jars.
    Kafka(PathBuf),
}

/// The binary under test: `LOGRUN_BIN`, or else what cargo builds now in the profile of the caller, so that a test never
/// runs yesterday's program. The flag says whether it is a release build, i.e. whether its speed means anything.
///
/// # Errors
/// `NotFound` when `LOGRUN_BIN` names nothing; a sentence when the build fails.
pub fn logrun_binary() -> io::Result<(PathBuf, bool)> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    if let Some(path) = std::env::var_os("LOGRUN_BIN") {
        // A relative path is one from the repository's root: tests run in their package's directory.
        let path = repository().join(path);
        let release = path.components().any(|c| c.as_os_str() == "release");
        let path = fs::canonicalize(&path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        return Ok((path, release));
    }
    let release = !cfg!(debug_assertions);
    let build = || {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(if release {
            &["build", "--quiet", "--locked", "--release", "--bin", "logrun"][..]
        } else {
            // As a part of the workspace's tests, which made it already: by itself it would have its dependencies with
            // fewer features, and so everything would be compiled a second time.
            &["test", "--quiet", "--locked", "--workspace", "--no-run", "--test", "program"]
        });
        // What cargo tells a test of the test's own package; build scripts that look at it would run again.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|of| name.starts_with(of)) {
                command.env_remove(&*name);
            }
        }
        let status = command.current_dir(repository()).stdin(Stdio::null()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("building logrun: {status}")),
            Err(e) => Err(format!("building logrun: {e}")),
        }
    };
    BUILT.get_or_init(build).clone().map_err(io::Error::other)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    Ok((target.join(if release { "release" } else { "debug" }).join("logrun"), release))
}

/// The judge's script: `KAFKA_JUDGE`, or else `../shared/kafka/kafka` beside the checkout.
pub fn judge() -> Option<PathBuf> {
    let path = match std::env::var_os("KAFKA_JUDGE") {
        Some(path) => PathBuf::from(path),
        None => repository().parent()?.join("shared/kafka/kafka"),
    };
    path.exists().then_some(path)
}

/// A broker's place: its directory, its port (the controller has the next one) and its configuration.
#[derive(Debug)]
pub struct Home {
    product: Product,
    dir: PathBuf,
    port: u16,
    extra: String,
}

/// How long it took from the start of the process.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Until the first reply to ApiVersions.
    pub answers: Duration,
    /// Until Metadata lists a live broker, i.e. until clients can work.
    pub serves: Duration,
}

impl Home {
    /// A home in `dir` on free ports; `extra` are further lines of `server.properties`.
    ///
    /// # Errors
    /// No free ports, or the directory can't be made.
    pub fn new(product: Product, dir: &Path, extra: &str) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let dir = fs::canonicalize(dir)?;
        if let Product::Kafka(script) = &product {
            share_jars(script, &dir)?;
        }
        Ok(Self { product, dir, port: free_port_pair()?, extra: extra.to_owned() })
    }

    /// The same home with other further lines of `server.properties`, some of which may need its port.
    #[must_use]
    pub fn with_lines(mut self, extra: &str) -> Self {
        extra.clone_into(&mut self.extra);
        self
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The same as `host:port`.
    pub fn bootstrap(&self) -> String {
        self.addr().to_string()
    }

    /// The data directory (`log.dirs`).
    pub fn data(&self) -> PathBuf {
        match self.product {
            Product::Logrun(_) => self.dir.join("data"),
            Product::Kafka(_) => self.dir.join(format!("node-{}", self.port)).join("data"),
        }
    }

    /// What the broker wrote to its log so far.
    pub fn log(&self) -> String {
        let path = match self.product {
            Product::Logrun(_) => self.dir.join("server.log"),
            Product::Kafka(_) => self.dir.join(format!("node-{}", self.port)).join("server.log"),
        };
        fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// The configuration, equal in meaning for both products.
    fn properties(&self) -> String {
        let (port, controller) = (self.port, self.port + 1);
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             {}\n",
            self.data().display(),
            self.extra
        )
    }

    /// Starts the process and does not wait for it to serve.
    ///
    /// # Errors
    /// What writing the configuration or starting the process gives.
    pub fn spawn(&self) -> io::Result<Running> {
        let mut command = match &self.product {
            Product::Logrun(binary) => {
                let config = self.dir.join("server.properties");
                fs::write(&config, self.properties())?;
                let log = File::create(self.dir.join("server.log"))?;
                let mut command = Command::new(binary);
                command.arg("serve").arg("--config").arg(config);
                command.current_dir(&self.dir).stdout(log.try_clone()?).stderr(log);
                command
            }
            Product::Kafka(script) => {
                // The script writes these very lines itself; only the extra ones are handed over.
                let mut command = Command::new(script);
                command.arg("start").arg(self.port.to_string()).env("PEER_HOME", &self.dir).env("EXTRA", &self.extra);
                command.stdout(Stdio::piped()).stderr(Stdio::null());
                command
            }
        };
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).spawn()?;
        let pid = matches!(self.product, Product::Logrun(_)).then(|| child.id());
        Ok(Running { child, pid, started, addr: self.addr(), by_script: pid.is_none() })
    }

    /// Starts it and waits until it serves, at most `patience`.
    ///
    /// # Errors
    /// `TimedOut`, or the process ended; the message has the last lines of the broker's log.
    pub fn start(&self, patience: Duration) -> io::Result<(Running, Ready)> {
        let mut running = self.spawn()?;
        match running.wait_ready(patience) {
            Ok(ready) => Ok((running, ready)),
            Err(e) => {
                drop(running);
                let log = self.log();
                let tail: Vec<&str> = log.lines().rev().take(15).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                Err(io::Error::new(e.kind(), format!("{e}\n{}", tail.join("\n"))))
            }
        }
    }
}

/// Fetches the judge's jars once, to where the script keeps them, and lets this home use the same ones.
fn share_jars(script: &Path, dir: &Path) -> io::Result<()> {
    const JARS: &str = "lib-4.3.1";
    let ours = dir.join(JARS);
    if ours.exists() {
        return Ok(());
    }
    let done = Command::new(script).arg("setup").stdin(Stdio::null()).status()?;
    if !done.success() {
        return Err(io::Error::other(format!("`{} setup` failed: {done}", script.display())));
    }
    let peer_home = std::env::var_os("PEER_HOME").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(Path::new(&home).join(".cache/peer-kafka"))
    });
    let jars = peer_home.map(|h| h.join(JARS)).filter(|j| j.exists());
    let jars =
        jars.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the judge's jars are not where it keeps them"))?;
    std::os::unix::fs::symlink(fs::canonicalize(jars)?, ours)
}

/// A started broker. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Unknown until the judge's script has printed it.
    pid: Option<u32>,
    started: Instant,
    addr: SocketAddr,
    by_script: bool,
}

impl Running {
    /// A broker that was started otherwise, just now, and will listen on `addr`.
    pub fn of(child: Child, addr: SocketAddr) -> Self {
        let pid = Some(child.id());
        Self { child, pid, started: Instant::now(), addr, by_script: false }
    }

    /// How long ago the process was started.
    pub fn since_start(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until ApiVersions is answered and a live broker is listed.
    ///
    /// # Errors
    /// `TimedOut` after `patience`; `UnexpectedEof` when the process ends first.
    pub fn wait_ready(&mut self, patience: Duration) -> io::Result<Ready> {
        let (since, addr, deadline) = (self.started, self.addr, self.started + patience);
        let answers =
            probe::wait(since, deadline, || self.check_alive(), || probe::api_versions(addr, deadline), |n| *n > 0)?;
        let serves =
            probe::wait(since, deadline, || self.check_alive(), || probe::live_brokers(addr, deadline), |n| *n > 0)?;
        if self.pid.is_none() {
            self.learn_pid()?;
        }
        Ok(Ready { answers, serves })
    }

    fn check_alive(&mut self) -> io::Result<()> {
        match self.child.try_wait()? {
            Some(status) if !(self.by_script && status.success()) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the process ended: {status}")))
            }
            _ => Ok(()),
        }
    }

    /// The script ends, and prints the broker's pid, once the broker's log says that it has started.
    fn learn_pid(&mut self) -> io::Result<()> {
        let mut printed = String::new();
        if let Some(out) = self.child.stdout.as_mut() {
            out.read_to_string(&mut printed)?;
        }
        self.child.wait()?;
        let pid =
            printed.trim().parse().map_err(|_| io::Error::other(format!("the script printed {printed:?}, no pid")))?;
        // That pid is a subshell's where the shell did not replace itself by its only command.
        self.pid = Some(procfs::first_child(pid)?.unwrap_or(pid));
        Ok(())
    }

    /// The broker's process id.
    ///
    /// # Errors
    /// `NotFound` while the judge's script has not told it.
    pub fn pid(&self) -> io::Result<u32> {
        self.pid.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the broker's pid is not known yet"))
    }

    /// CPU seconds used so far.
    ///
    /// # Errors
    /// As [`procfs::cpu_seconds`].
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        procfs::cpu_seconds(self.pid()?)
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// As [`procfs::resident_bytes`].
    pub fn resident_bytes(&self) -> io::Result<u64> {
        procfs::resident_bytes(self.pid()?)
    }

    /// Sends SIGTERM and waits for the end; gives how long that took and, where it is our child, how it ended.
    ///
    /// # Errors
    /// `TimedOut` when it is still there after `patience`.
    pub fn terminate(&mut self, patience: Duration) -> io::Result<(Duration, Option<ExitStatus>)> {
        self.end(Signal::TERM, patience)
    }

    /// As [`Running::terminate`], with the signal of Ctrl-C.
    ///
    /// # Errors
    /// As [`Running::terminate`].
    pub fn interrupt(&mut self, patience: Duration) -> io::Result<(Duration, Option<ExitStatus>)> {
        self.end(Signal::INT, patience)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// As [`Running::terminate`].
    pub fn kill(&mut self) -> io::Result<()> {
        self.end(Signal::KILL, Duration::from_secs(30)).map(|_| ())
    }

    fn end(&mut self, signal: Signal, patience: Duration) -> io::Result<(Duration, Option<ExitStatus>)> {
        let pid = self.pid()?;
        let start = Instant::now();
        if let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            match kill_process(raw, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(e) => return Err(e.into()),
            }
            loop {
                if self.by_script {
                    // An orphan: it is gone when nobody has its number, or when it only waits to be reaped.
                    if test_kill_process(raw).is_err() || is_zombie(pid) {
                        return Ok((start.elapsed(), None));
                    }
                } else if let Some(status) = self.child.try_wait()? {
                    return Ok((start.elapsed(), Some(status)));
                }
                if start.elapsed() > patience {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, format!("still running after {patience:?}")));
                }
                std::thread::sleep(POLL);
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a process id"))
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// `TimedOut` when it is still there after `patience`.
    pub fn wait_end(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        wait_within(&mut self.child, patience)
    }
}

fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|s| s.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.by_script {
            // The pid may be known to the script only: let it finish or fail, then end what it started.
            if self.pid.is_none() {
                let _ = self.learn_pid();
            }
            if self.pid.is_some() {
                let _ = self.kill();
            }
        } else if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How a process ended, in the words of a shell: its exit code, or 128 + the signal.
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
