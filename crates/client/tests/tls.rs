//! TLS and OAUTHBEARER against Apache Kafka, with certificates that `openssl` makes for the test.

mod support;

use std::sync::Arc;
use std::time::Duration;

use logrun_client::producer::{Producer, Record};
use logrun_client::security::with_token;
use logrun_client::{Client, ClientKind, Config, Error};
use logrun_io::Io;
use logrun_testkit::{Certificates, Secured};

/// A client's configuration for the broker's listener SAFE.
fn config(broker: &Secured) -> Config {
    Config::new(broker.address("SAFE")).set("default.api.timeout.ms", 20_000)
}

fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(120), test).await.expect("the test hangs");
    });
}

async fn refusal(config: &Config) -> String {
    let client = Client::connect(config).expect("a client");
    match client.any().await {
        Err(e @ (Error::Authentication { .. } | Error::Disconnected { .. } | Error::Connect { .. })) => e.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
#[ignore = "needs Apache Kafka"]
fn tls_with_certificates_of_both_sides() {
    let certificates = Certificates::new();
    let stores = format!(
        "ssl.client.auth=required\nssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\nssl.truststore.location={}\n",
        certificates.file("broker.pem"),
        certificates.file("ca.pem")
    );
    let broker = Secured::start(&[("SAFE", "SSL")], &stores);
    run(async {
        let trusting = config(&broker)
            .set("security.protocol", "SSL")
            .set("ssl.truststore.type", "PEM")
            .set("ssl.truststore.location", certificates.file("ca.pem"));
        let known = trusting
            .clone()
            .set("ssl.keystore.key", certificates.text("client.key").replace('\n', " "))
            .set("ssl.keystore.certificate.chain", certificates.text("client.crt").replace('\n', " "));
        for version in ["TLSv1.3", "TLSv1.2"] {
            let producer = Producer::connect(&known.clone().set("ssl.enabled.protocols", version)).expect("a producer");
            let large = vec![b'x'; 300_000];
            for n in 0..20 {
                let value = if n % 2 == 0 { &large[..] } else { b"small" };
                let written = producer.send(Record::to("t").value(value)).await.expect("taken").await.expect("written");
                assert!(written.offset.is_some());
            }
            producer.close().await;
        }
        // A client without a certificate is refused, by a broker that wants one.
        let e = refusal(&trusting).await;
        assert!(e.to_lowercase().contains("certificate") || e.contains("gone"), "{e}");
        // Nobody vouches for the broker.
        let e = refusal(&known.clone().set("ssl.truststore.location", certificates.file("client.crt"))).await;
        assert!(e.contains("nothing in ssl.truststore vouches"), "{e}");
        // The certificate is of another name, unless nobody looks.
        let elsewhere = known.clone().set("bootstrap.servers", format!("127.0.0.1:{}", broker.port("SAFE")));
        let e = refusal(&elsewhere).await;
        assert!(e.contains("another host's"), "{e}");
        let careless = elsewhere.set("ssl.endpoint.identification.algorithm", "");
        Client::connect(&careless).expect("a client").known_cluster().await.expect("metadata");
        // A port without TLS.
        let plain = known.set("bootstrap.servers", broker.plain());
        let e = refusal(&plain.set("ssl.endpoint.identification.algorithm", "")).await;
        assert!(e.contains("TLS") || e.contains("gone"), "{e}");
    });
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_login_inside_of_tls() {
    let certificates = Certificates::new();
    let lines = format!(
        "ssl.keystore.type=PEM\nssl.keystore.location={}\nsasl.enabled.mechanisms=PLAIN\n\
         listener.name.safe.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"secret\";\n",
        certificates.file("broker.pem")
    );
    let broker = Secured::start(&[("SAFE", "SASL_SSL")], &lines);
    run(async {
        let config = config(&broker)
            .set("security.protocol", "SASL_SSL")
            .set("sasl.mechanism", "PLAIN")
            .set("ssl.truststore.certificates", certificates.text("ca.pem"));
        let login = |password: &str| {
            let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
            let line = format!("{module} required username=\"alice\" password=\"{password}\";");
            config.clone().set("sasl.jaas.config", line)
        };
        Client::connect(&login("secret")).expect("a client").known_cluster().await.expect("metadata");
        let e = refusal(&login("guess")).await;
        assert!(e.contains("refuses this client"), "{e}");
    });
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_token_says_who_is_there() {
    let lines = "sasl.enabled.mechanisms=OAUTHBEARER\n\
         listener.name.safe.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler\n\
         listener.name.safe.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";\n";
    let broker = Secured::start(&[("SAFE", "SASL_PLAINTEXT")], lines);
    run(async {
        let config = config(&broker).set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanism", "OAUTHBEARER");
        let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
        let unsecured = format!("{module} required unsecuredLoginStringClaim_sub=\"alice\";");
        let client = Client::connect(&config.clone().set("sasl.jaas.config", unsecured)).expect("a client");
        client.known_cluster().await.expect("metadata");
        // The program's own tokens; one that is none is refused.
        let token = |text: &'static str| {
            let io = Io::real();
            let source = Arc::new(move || -> logrun_client::security::BoxFuture<'static, Result<String, String>> {
                Box::pin(std::future::ready(Ok(text.to_owned())))
            });
            let security = with_token(&io, &config, ClientKind::Admin, source).expect("a security");
            Client::with_security(io, &config, ClientKind::Admin, security).expect("a client")
        };
        // {"alg":"none"}.{"sub":"bob","iat":1700000000,"exp":4000000000}.
        let bob = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IiLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDAwMDAwMDAwMH0.";
        token(bob).known_cluster().await.expect("metadata");
        let e = token("nonsense").any().await.unwrap_err();
        assert!(matches!(e, Error::Authentication { .. }), "{e}");
    });
}
