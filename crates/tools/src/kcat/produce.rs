//! `-P`: what is piped in, line by line, or files, each as one message.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use logrun_client::producer::{Producer, Record};
use logrun_client::{Config, Error};
use tokio::sync::mpsc;

use super::args::Args;
use super::client_error;
use super::input::{Splitter, key_and_value};

/// How much is read at a time, and how many such pieces wait to be sent.
const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS: usize = 4;

/// Produces to a topic until the input ends, or the first Ctrl-C. Fails if any message was not delivered.
///
/// # Errors
/// A sentence.
pub async fn run(config: &Config, args: &Args, topic: &str) -> Result<ExitCode, String> {
    if args.line_mode && args.rest.len() != 1 {
        return Err("-l asks for one file".to_owned());
    }
    let producer = Producer::connect(config).map_err(|e| client_error(&e))?;
    // Known before anything is read, so that a broker that can't be reached is told at once.
    let timeout = Some(Duration::from_secs(args.metadata_timeout_s));
    producer.client().topic(topic, true, timeout).await.map_err(|e| match e.code() {
        Some(_) => format!("Topic {topic} error: {}", client_error(&e)),
        None => format!("Failed to query metadata for topic {topic}: {}", client_error(&e)),
    })?;
    let transaction = config.get("transactional.id").is_some();
    if transaction {
        producer.init_transactions().await.map_err(|e| client_error(&e))?;
        producer.begin_transaction().map_err(|e| client_error(&e))?;
    }
    let mut sender = Sender { producer: &producer, args, topic, failed: Arc::default(), left: args.count };
    let mut ended = tokio::select! {
        ended = sender.all() => ended,
        _ = tokio::signal::ctrl_c() => Ok(if transaction { Ended::Aborted } else { Ended::Whole }),
    };
    producer.flush().await;
    let failed = sender.failed.load(Ordering::Relaxed);
    if transaction {
        let whole = matches!(ended, Ok(Ended::Whole)) && failed == 0;
        let closed = if whole { producer.commit_transaction().await } else { producer.abort_transaction().await };
        if let Err(e) = closed {
            ended = Err(client_error(&e));
        } else if !whole {
            eprintln!("% Aborted transaction");
        }
    }
    producer.close().await;
    let whole = matches!(ended?, Ended::Whole) && failed == 0;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

enum Ended {
    Whole,
    /// Not all of it was sent.
    Partly,
    Aborted,
}

struct Sender<'a> {
    producer: &'a Producer,
    args: &'a Args,
    topic: &'a str,
    failed: Arc<AtomicU64>,
    left: Option<u64>,
}

impl Sender<'_> {
    async fn all(&mut self) -> Result<Ended, String> {
        match self.args.rest.first() {
            None => self.stream(io::stdin()).await,
            Some(path) if self.args.line_mode => {
                let file = File::open(path).map_err(|e| format!("{path}: {e}"))?;
                self.stream(file).await
            }
            Some(_) => self.files().await,
        }
    }

    /// Each message of a stream. It is read on a thread of its own, so that what waits is sent while it has nothing.
    async fn stream(&mut self, mut source: impl Read + Send + 'static) -> Result<Ended, String> {
        let (chunks, mut received) = mpsc::channel::<io::Result<Vec<u8>>>(CHUNKS);
        tokio::task::spawn_blocking(move || {
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = match source.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(n) => {
                        chunk.truncate(n);
                        Ok(chunk)
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => Err(e),
                };
                let ends = read.is_err();
                if chunks.blocking_send(read).is_err() || ends {
                    return;
                }
            }
        });
        let mut splitter = Splitter::new(&self.args.delimiter);
        while let Some(chunk) = received.recv().await {
            splitter.feed(&chunk.map_err(|e| format!("reading the input: {e}"))?);
            while let Some(message) = splitter.next() {
                if !self.line(message).await? {
                    return Ok(Ended::Whole);
                }
            }
        }
        if let Some(message) = splitter.rest() {
            self.line(message).await?;
        }
        Ok(Ended::Whole)
    }

    /// One message of a stream; whether there may be more.
    async fn line(&mut self, message: &[u8]) -> Result<bool, String> {
        if message.is_empty() {
            return Ok(true);
        }
        let (key, value) = key_and_value(message, self.args.key_delimiter.as_deref());
        let key = key.or(self.args.fixed_key.as_deref().map(str::as_bytes));
        let is_null = |bytes: &[u8]| self.args.nulls && bytes.is_empty();
        self.send(key.filter(|k| !is_null(k)), Some(value).filter(|v| !is_null(v))).await?;
        if self.args.tee {
            let mut out = io::stdout().lock();
            out.write_all(message).and_then(|()| out.write_all(&self.args.delimiter)).map_err(|e| e.to_string())?;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(self.left != Some(0))
    }

    async fn files(&mut self) -> Result<Ended, String> {
        let mut failed = 0;
        for path in &self.args.rest {
            match std::fs::read(path) {
                Ok(bytes) => {
                    let key = self.args.fixed_key.clone();
                    let value = Some(&bytes[..]).filter(|b| !(self.args.nulls && b.is_empty()));
                    self.send(key.as_deref().map(str::as_bytes), value).await.map_err(|e| format!("{path}: {e}"))?;
                }
                Err(e) => {
                    eprintln!("% Failed to open {path}: {e}");
                    failed += 1;
                }
            }
        }
        if failed > 0 {
            eprintln!("% Failed to produce from {failed}/{} files", self.args.rest.len());
            return Ok(Ended::Partly);
        }
        Ok(Ended::Whole)
    }

    async fn send(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), String> {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            self.args.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_deref().map(str::as_bytes))).collect();
        let record = Record {
            topic: self.topic,
            partition: self.args.partition,
            timestamp: None,
            key,
            value,
            headers: &headers,
        };
        let failed = self.failed.clone();
        let delivered = move |result: Result<_, Error>| {
            if let Err(e) = result {
                eprintln!("% ERROR: Delivery failed for message: {}", client_error(&e));
                failed.fetch_add(1, Ordering::Relaxed);
            }
        };
        self.producer.send_with(record, delivered).await.map_err(|e| client_error(&e))
    }
}
