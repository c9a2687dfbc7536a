//! Apache Kafka with listeners that want TLS or a login, and the certificates for it, made by `openssl`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::{Home, Product, Running, Scratch, free_port_pair, judge};

/// A certificate authority, a broker that it vouches for, and a client too: `ca.pem`, `broker.pem`, `client.pem` (key and
/// certificate), and each alone (`.key`, `.crt`). The broker's is for the name `localhost`.
#[derive(Debug)]
pub struct Certificates(Scratch);

impl Certificates {
    /// Makes them.
    ///
    /// # Panics
    /// Without `openssl`.
    pub fn new() -> Self {
        let it = Self(Scratch::new("tls").expect("a directory"));
        it.openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem");
        for (name, alternative) in [("broker", "DNS:localhost"), ("client", "DNS:client")] {
            std::fs::write(it.path().join("san"), format!("subjectAltName={alternative}\n")).expect("written");
            it.openssl(&format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
            it.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out {name}.crt"
            ));
            let both = it.text(&format!("{name}.key")) + &it.text(&format!("{name}.crt"));
            std::fs::write(it.path().join(format!("{name}.pem")), both).expect("written");
        }
        it
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where a file is.
    pub fn file(&self, name: &str) -> String {
        self.path().join(name).display().to_string()
    }

    /// What is in it.
    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).expect("a file")
    }

    fn openssl(&self, args: &str) {
        let out = Command::new("openssl").args(args.split(' ')).current_dir(self.path()).output().expect("openssl");
        assert!(out.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

/// A broker of Apache Kafka with more listeners than its plain one, each advertised as `localhost`.
#[derive(Debug)]
pub struct Secured {
    ports: Vec<(String, u16)>,
    _running: Running,
    home: Home,
    _dir: Scratch,
}

impl Secured {
    /// Listeners by name with their security protocols, and the lines of their configuration.
    ///
    /// # Panics
    /// Without Apache Kafka, or if it doesn't start.
    pub fn start(listeners: &[(&str, &str)], extra: &str) -> Self {
        let script = judge().expect("Apache Kafka: KAFKA_JUDGE names its script");
        let dir = Scratch::new("secured").expect("a directory");
        let ports: Vec<(String, u16)> =
            listeners.iter().map(|(name, _)| ((*name).to_owned(), free_port_pair().expect("a port"))).collect();
        let home = Home::new(Product::Kafka(script), dir.path(), "").expect("a home");
        // The listeners are said once more, with the new ones: the last line counts.
        let plain = home.addr().port();
        let controller = plain + 1;
        let each = |of: &dyn Fn(&(String, u16), &str) -> String| -> String {
            ports.iter().zip(listeners).map(|(port, (_, protocol))| of(port, protocol)).collect()
        };
        let lines = format!(
            "listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller}{}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{plain}{}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{}\n{extra}",
            each(&|(name, port), _| format!(",{name}://127.0.0.1:{port}")),
            each(&|(name, port), _| format!(",{name}://localhost:{port}")),
            each(&|(name, _), protocol| format!(",{name}:{protocol}")),
        );
        let home = home.with_lines(&lines);
        let (running, _) = home.start(Duration::from_secs(60)).expect("a broker");
        Self { ports, _running: running, home, _dir: dir }
    }

    /// The port of a listener.
    ///
    /// # Panics
    /// There is none of the name.
    pub fn port(&self, listener: &str) -> u16 {
        self.ports.iter().find(|(name, _)| name == listener).expect("a listener").1
    }

    /// `localhost:PORT` of a listener.
    pub fn address(&self, listener: &str) -> String {
        format!("localhost:{}", self.port(listener))
    }

    /// The plain listener's address.
    pub fn plain(&self) -> String {
        self.home.bootstrap()
    }
}
