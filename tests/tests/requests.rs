//! Requests as clients really send them, byte by byte, where that is not what a codec would write.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use logrun_testkit::{Home, Product, Scratch, logrun_binary};

const PATIENCE: Duration = Duration::from_secs(20);

/// librdkafka 2.16 sends three bytes behind the end of Metadata v13; Apache Kafka does not look there.
#[test]
fn bytes_behind_a_request_are_passed_over() {
    let scratch = Scratch::new("requests").expect("a directory");
    let binary = logrun_binary().expect("a binary").0;
    let home = Home::new(Product::Logrun(binary), scratch.path(), "").expect("a home");
    let (_running, _) = home.start(PATIENCE).expect("it starts");
    let mut stream = TcpStream::connect(home.addr()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    // Metadata (3) v13, correlation 7, client "x", no tags; all topics, no tags, and what is behind.
    let request = [0, 3, 0, 13, 0, 0, 0, 7, 0, 1, b'x', 0, 0, 0, 0, 0, 1, 0, 0];
    for _ in 0..2 {
        stream.write_all(&(request.len() as u32).to_be_bytes()).expect("a write");
        stream.write_all(&request).expect("a write");
        let mut head = [0; 8];
        stream.read_exact(&mut head).expect("the connection stays and answers");
        assert_eq!(head[4..], 7_i32.to_be_bytes());
        let length = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let mut rest = vec![0; usize::try_from(length).expect("a length") - 4];
        stream.read_exact(&mut rest).expect("the whole response");
        // Tags of the header, throttle time, one broker.
        assert_eq!(rest[..6], [0, 0, 0, 0, 0, 2]);
    }
}
