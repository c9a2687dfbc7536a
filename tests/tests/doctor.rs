//! `logrun doctor` at listeners that want TLS or a login, which only Apache Kafka has yet: what it says of each mistake
//! that people make there, and that it passes where all is right.
//!
//! Ignored unless asked for, because it needs the judge: `cargo test -p logrun-tests --test doctor -- --ignored`

use std::process::Command;
use std::time::Duration;

use logrun_testkit::command::{Ended, run};
use logrun_testkit::{Certificates, Product, Scratch, Secured};
use logrun_tests::logrun;

const PATIENCE: Duration = Duration::from_secs(60);
const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";

struct Desk {
    scratch: Scratch,
}

impl Desk {
    fn typed(&self, words: &[&str]) -> Ended {
        let Product::Logrun(binary) = logrun() else { unreachable!("ours is Logrun") };
        let mut command = Command::new(binary);
        command.args(words).env("LOGRUN_CONTEXTS", self.scratch.join("contexts.toml")).env_remove("LOGRUN_CONTEXT");
        run(&mut command, self.scratch.path(), PATIENCE).unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    fn doctor(&self, address: &str, properties: &[&str]) -> Ended {
        let mut words = vec!["doctor", "-o", "tsv", "-b", address];
        words.extend(properties.iter().flat_map(|property| ["-X", property]));
        self.typed(&words)
    }

    /// All is well, a write and a read too.
    #[track_caller]
    fn passes(&self, address: &str, properties: &[&str]) -> String {
        let ended = self.doctor(address, properties);
        let rows = || ended.stdout.lines().skip(1);
        assert!(ended.code == 0 && rows().all(|line| line.split('\t').nth(1) == Some("ok")), "{}", ended.said());
        assert!(ended.stdout.contains("the same bytes came back"), "{}", ended.said());
        ended.stdout
    }

    /// It is told what is wrong and how to mend it, and nothing is tried behind it.
    #[track_caller]
    fn tells(&self, address: &str, properties: &[&str], detail: &str, remedy: &str) {
        let ended = self.doctor(address, properties);
        let rows: Vec<Vec<&str>> = ended.stdout.lines().skip(1).map(|line| line.split('\t').collect()).collect();
        let [row] = rows.as_slice() else { panic!("{detail}: {}", ended.said()) };
        assert_eq!((ended.code, row[1]), (1, "error"), "{}", ended.said());
        assert!(row[2].contains(detail), "`{detail}` is not in\n{}", row[2]);
        assert!(row[3].contains(remedy), "`{remedy}` is not in\n{}", row[3]);
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn tls_and_logins() {
    let certificates = Certificates::new();
    let desk = Desk { scratch: Scratch::new("doctor").expect("a directory") };
    let broker = Secured::start(
        &[("TLS", "SSL"), ("MUTUAL", "SSL"), ("LOGIN", "SASL_PLAINTEXT"), ("BOTH", "SASL_SSL")],
        &format!(
            "ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
             listener.name.mutual.ssl.client.auth=required\n\
             listener.name.login.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.login.plain.sasl.jaas.config={PLAIN} required user_alice=\"secret\";\n\
             listener.name.both.sasl.enabled.mechanisms=SCRAM-SHA-256\n\
             listener.name.both.scram-sha-256.sasl.jaas.config={SCRAM} required;\n",
            certificates.file("broker.pem"),
            certificates.file("ca.pem")
        ),
    );
    let plain = broker.plain();
    let trust =
        ["ssl.truststore.type=PEM".to_owned(), format!("ssl.truststore.location={}", certificates.file("ca.pem"))];
    let trust = [trust[0].as_str(), trust[1].as_str()];
    let with = |properties: &[&'static str]| -> Vec<&str> { properties.iter().copied().chain(trust).collect() };

    // TLS.
    let tls = broker.address("TLS");
    let said = desk.passes(&tls, &with(&["security.protocol=SSL"]));
    assert!(said.contains("; SSL;"), "{said}");
    desk.tells(&tls, &[], "speaks TLS, and this client doesn't", "set security.protocol=SSL");
    desk.tells(&tls, &["security.protocol=SSL"], "nothing in ssl.truststore vouches", "ssl.truststore.location");
    let by_number = format!("127.0.0.1:{}", broker.port("TLS"));
    desk.tells(
        &by_number,
        &with(&["security.protocol=SSL"]),
        "another host's",
        "an address that is in the certificate",
    );
    desk.tells(&plain, &with(&["security.protocol=SSL"]), "doesn't speak TLS", "set security.protocol=PLAINTEXT");
    let mutual = broker.address("MUTUAL");
    desk.tells(&mutual, &with(&["security.protocol=SSL"]), "certificate", "ssl.keystore");
    let known = format!("ssl.keystore.location={}", certificates.file("client.pem"));
    let mut mutually = with(&["security.protocol=SSL", "ssl.keystore.type=PEM"]);
    mutually.push(&known);
    desk.passes(&mutual, &mutually);

    // Logins.
    let login = broker.address("LOGIN");
    let jaas = |module: &str, password: &str| {
        format!("sasl.jaas.config={module} required username=\"alice\" password=\"{password}\";")
    };
    let right = jaas(PLAIN, "secret");
    let by_plain = ["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN"];
    let said = desk.passes(&login, &[by_plain[0], by_plain[1], &right]);
    assert!(said.contains("logged in by PLAIN"), "{said}");
    let wrong = jaas(PLAIN, "guess");
    desk.tells(
        &login,
        &[by_plain[0], by_plain[1], &wrong],
        "refuses the login",
        "user and password in sasl.jaas.config",
    );
    desk.tells(&login, &[], "wants a login", "security.protocol=SASL_PLAINTEXT");
    let scram = jaas(SCRAM, "secret");
    let unknown = ["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=SCRAM-SHA-512", &scram];
    desk.tells(&login, &unknown, "PLAIN", "sasl.mechanism");
    desk.tells(&plain, &[by_plain[0], by_plain[1], &right], "login", "security.protocol=PLAINTEXT");

    // Both.
    let both = broker.address("BOTH");
    let by_scram = with(&["security.protocol=SASL_SSL", "sasl.mechanism=SCRAM-SHA-256"]);
    let properties: Vec<&str> = by_scram.iter().copied().chain([scram.as_str()]).collect();
    desk.tells(&both, &properties, "refuses the login", "user and password in sasl.jaas.config");
    let credential = "SCRAM-SHA-256=[iterations=4096,password=secret]";
    let added = desk.typed(&[
        "kafka-configs",
        "--bootstrap-server",
        &plain,
        "--alter",
        "--entity-type",
        "users",
        "--entity-name",
        "alice",
        "--add-config",
        credential,
    ]);
    assert_eq!(added.code, 0, "{}", added.said());
    let said = desk.passes(&both, &properties);
    assert!(said.contains("SASL_SSL, logged in by SCRAM-SHA-256"), "{said}");
    desk.tells(
        &both,
        &["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=SCRAM-SHA-256", &scram],
        "speaks TLS",
        "SASL_SSL",
    );

    // The other commands say it in a sentence too.
    for (address, sentence) in
        [(&tls, "security.protocol"), (&login, "security.protocol"), (&both, "security.protocol")]
    {
        let ended = desk.typed(&["topics", "-b", address, "--timeout", "3s"]);
        assert!(ended.code == 1 && ended.stderr.contains(sentence), "{}", ended.said());
    }
}
