//! A client of a few requests in hand-written bytes, independent of the program's codec: Metadata v1, CreateTopics v2,
//! Produce v7, Fetch v4, DeleteRecords v1, AlterReplicaLogDirs v1 and DescribeLogDirs v1 (all without compact lengths) or
//! v4, and record batch v2 (KIP-98) without compression.
//!
//! It must stay so plain that a disagreement with a broker is the broker's fault. It knows nothing of retries.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

const CREATE_TOPICS: (i16, i16) = (19, 2);
const PRODUCE: (i16, i16) = (0, 7);
const FETCH: (i16, i16) = (1, 4);
const METADATA: (i16, i16) = (3, 1);
const DELETE_RECORDS: (i16, i16) = (21, 1);
const ALTER_REPLICA_LOG_DIRS: (i16, i16) = (34, 1);
const DESCRIBE_LOG_DIRS: (i16, i16) = (35, 4);
const RESPONSE_BYTES_MAX: i32 = 100_000_000;
/// base offset, length, leader epoch, magic, CRC, attributes, last offset delta, two timestamps, producer, count
const BATCH_HEAD: usize = 61;

/// A record's offset and value.
pub type Fetched = (i64, Vec<u8>);

/// A log directory as the broker describes it.
#[derive(Clone, Debug)]
pub struct LogDir {
    /// Kafka's error code.
    pub error: i16,
    pub path: String,
    /// What is free on its file system.
    pub usable_bytes: i64,
    pub replicas: Vec<Replica>,
}

/// A replica in a log directory.
#[derive(Clone, Debug)]
pub struct Replica {
    pub topic: String,
    pub partition: i32,
    pub size: i64,
    pub offset_lag: i64,
    pub is_future: bool,
}

/// A connection. Requests may be sent ahead of the responses, which come in their order.
pub struct Connection {
    read: BufReader<TcpStream>,
    write: TcpStream,
    correlation: i32,
    /// How long the broker may take to acknowledge what is produced.
    pub produce_timeout: Duration,
}

fn bad(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Connection {
    /// Connects; reads and writes that take longer than `patience` fail.
    ///
    /// # Errors
    /// What the socket gives.
    pub fn open(addr: SocketAddr, patience: Duration) -> io::Result<Self> {
        let write = TcpStream::connect_timeout(&addr, patience)?;
        write.set_nodelay(true)?;
        write.set_read_timeout(Some(patience))?;
        write.set_write_timeout(Some(patience))?;
        Ok(Self {
            read: BufReader::with_capacity(1 << 16, write.try_clone()?),
            write,
            correlation: 0,
            produce_timeout: Duration::from_secs(20),
        })
    }

    fn send(&mut self, api: (i16, i16), body: &[u8]) -> io::Result<()> {
        self.send_with(api, &[], body)
    }

    /// Sends a request whose header ends in `tags`.
    fn send_with(&mut self, (key, version): (i16, i16), tags: &[u8], body: &[u8]) -> io::Result<()> {
        self.correlation += 1;
        let mut head = Vec::with_capacity(body.len() + 32);
        head.extend(key.to_be_bytes());
        head.extend(version.to_be_bytes());
        head.extend(self.correlation.to_be_bytes());
        put_str(&mut head, "logrun-tests");
        head.extend(tags);
        let mut frame = ((head.len() + body.len()) as i32).to_be_bytes().to_vec();
        frame.extend(head);
        frame.extend(body);
        self.write.write_all(&frame)
    }

    /// The next response's body, behind its correlation id.
    fn receive(&mut self) -> io::Result<Reader> {
        let mut size = [0; 4];
        self.read.read_exact(&mut size)?;
        let size = i32::from_be_bytes(size);
        if !(4..=RESPONSE_BYTES_MAX).contains(&size) {
            return Err(bad(format!("a response of {size} bytes")));
        }
        let mut bytes = vec![0; size as usize];
        self.read.read_exact(&mut bytes)?;
        Ok(Reader { bytes, at: 4 })
    }

    /// Creates a topic with replication factor 1.
    ///
    /// # Errors
    /// What the socket gives, or Kafka's error code.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> io::Result<()> {
        let mut body = 1i32.to_be_bytes().to_vec();
        put_str(&mut body, name);
        body.extend(partitions.to_be_bytes());
        body.extend(1i16.to_be_bytes());
        body.extend([0; 8]); // no assignments, no configs
        body.extend(20_000i32.to_be_bytes());
        body.push(0); // not validate only
        self.send(CREATE_TOPICS, &body)?;
        let mut reply = self.receive()?;
        let (_throttle, _topics) = (reply.i32()?, reply.i32()?);
        let name = reply.i16()?;
        reply.skip(name.max(0) as usize)?;
        check(reply.i16()?)
    }

    /// The leaders of a topic's partitions, in their order; -1 for none.
    ///
    /// # Errors
    /// What the socket gives, or Kafka's error code for the topic.
    pub fn leaders(&mut self, topic: &str) -> io::Result<Vec<i32>> {
        let mut body = 1i32.to_be_bytes().to_vec();
        put_str(&mut body, topic);
        self.send(METADATA, &body)?;
        let mut reply = self.receive()?;
        for _ in 0..reply.i32()? {
            reply.i32()?;
            reply.string()?;
            reply.i32()?;
            reply.string()?;
        }
        let (_controller, _topics) = (reply.i32()?, reply.i32()?);
        check(reply.i16()?)?;
        reply.string()?;
        reply.skip(1)?;
        let mut leaders = Vec::new();
        for _ in 0..reply.i32()? {
            let (_error, partition, leader) = (reply.i16()?, reply.i32()?, reply.i32()?);
            leaders.push((partition, leader));
            for _list in ["replicas", "isr"] {
                let n = reply.i32()?.max(0) as usize;
                reply.skip(4 * n)?;
            }
        }
        leaders.sort_unstable();
        Ok(leaders.into_iter().map(|(_, leader)| leader).collect())
    }

    /// Deletes the records of a partition below `offset`; gives where the log starts then.
    ///
    /// # Errors
    /// What the socket gives, or Kafka's error code.
    pub fn delete_records(&mut self, topic: &str, partition: i32, offset: i64) -> io::Result<i64> {
        let mut body = 1i32.to_be_bytes().to_vec();
        put_str(&mut body, topic);
        body.extend(1i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend(offset.to_be_bytes());
        body.extend(20_000i32.to_be_bytes());
        self.send(DELETE_RECORDS, &body)?;
        let mut reply = self.receive()?;
        let (_throttle, _topics) = (reply.i32()?, reply.i32()?);
        reply.string()?;
        let (_partitions, _partition) = (reply.i32()?, reply.i32()?);
        let low_watermark = reply.i64()?;
        check(reply.i16()?)?;
        Ok(low_watermark)
    }

    /// Asks for a move of a replica to another log directory.
    ///
    /// # Errors
    /// What the socket gives, or Kafka's error code.
    pub fn move_replica(&mut self, to: &Path, topic: &str, partition: i32) -> io::Result<()> {
        let mut body = 1i32.to_be_bytes().to_vec();
        put_str(&mut body, &to.display().to_string());
        body.extend(1i32.to_be_bytes());
        put_str(&mut body, topic);
        body.extend(1i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        self.send(ALTER_REPLICA_LOG_DIRS, &body)?;
        let mut reply = self.receive()?;
        let (_throttle, _topics) = (reply.i32()?, reply.i32()?);
        reply.string()?;
        let (_partitions, _partition) = (reply.i32()?, reply.i32()?);
        check(reply.i16()?)
    }

    /// All log directories and what is in them.
    ///
    /// # Errors
    /// What the socket gives, or Kafka's error code for the whole.
    pub fn describe_log_dirs(&mut self) -> io::Result<Vec<LogDir>> {
        // No list of topics, which means all; no tags.
        self.send_with(DESCRIBE_LOG_DIRS, &[0], &[0, 0])?;
        let mut reply = self.receive()?;
        reply.skip(1 + 4)?;
        check(reply.i16()?)?;
        let mut dirs = Vec::new();
        for _ in 0..reply.compact_len()? {
            let (error, path) = (reply.i16()?, reply.compact_string()?);
            let mut replicas = Vec::new();
            for _ in 0..reply.compact_len()? {
                let topic = reply.compact_string()?;
                for _ in 0..reply.compact_len()? {
                    let (partition, size, offset_lag) = (reply.i32()?, reply.i64()?, reply.i64()?);
                    let is_future = reply.array::<2>()?[0] != 0;
                    replicas.push(Replica { topic: topic.clone(), partition, size, offset_lag, is_future });
                }
                reply.skip(1)?;
            }
            let (_total, usable_bytes) = (reply.i64()?, reply.i64()?);
            reply.skip(1)?;
            dirs.push(LogDir { error, path, usable_bytes, replicas });
        }
        Ok(dirs)
    }

    /// Sends one batch with acks=1; [`Connection::produced`] takes the response.
    ///
    /// # Errors
    /// What the socket gives.
    pub fn produce(&mut self, topic: &str, partition: i32, batch: &[u8]) -> io::Result<()> {
        let mut body = (-1i16).to_be_bytes().to_vec(); // no transactional id
        body.extend(1i16.to_be_bytes()); // acks
        body.extend((self.produce_timeout.as_millis() as i32).to_be_bytes());
        body.extend(1i32.to_be_bytes());
        put_str(&mut body, topic);
        body.extend(1i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend((batch.len() as i32).to_be_bytes());
        body.extend(batch);
        self.send(PRODUCE, &body)
    }

    /// The base offset that the broker acknowledges for the oldest batch not yet acknowledged.
    ///
    /// # Errors
    /// What the socket gives, or Kafka's error code.
    pub fn produced(&mut self) -> io::Result<i64> {
        let mut reply = self.receive()?;
        reply.i32()?;
        let name = reply.i16()?;
        reply.skip(name.max(0) as usize)?;
        let (_partitions, _partition) = (reply.i32()?, reply.i32()?);
        check(reply.i16()?)?;
        reply.i64()
    }

    /// The high watermark, and the records from `offset` that one fetch brings.
    ///
    /// # Errors
    /// What the socket gives, Kafka's error code, or a batch that is not well formed.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> io::Result<(i64, Vec<Fetched>)> {
        let mut body = (-1i32).to_be_bytes().to_vec(); // not a replica
        body.extend(500i32.to_be_bytes());
        body.extend(1i32.to_be_bytes());
        body.extend(50_000_000i32.to_be_bytes());
        body.push(0);
        body.extend(1i32.to_be_bytes());
        put_str(&mut body, topic);
        body.extend(1i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend(offset.to_be_bytes());
        body.extend(50_000_000i32.to_be_bytes());
        self.send(FETCH, &body)?;
        let mut reply = self.receive()?;
        let (_throttle, _topics) = (reply.i32()?, reply.i32()?);
        let name = reply.i16()?;
        reply.skip(name.max(0) as usize)?;
        let (_partitions, _partition) = (reply.i32()?, reply.i32()?);
        check(reply.i16()?)?;
        let (high_watermark, _last_stable_offset, aborted) = (reply.i64()?, reply.i64()?, reply.i32()?);
        reply.skip(16 * aborted.max(0) as usize)?;
        let size = reply.i32()?.max(0) as usize;
        let records = reply.take(size)?;
        Ok((high_watermark, batches(records, offset)?))
    }
}

fn put_str(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn check(error: i16) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(bad(format!("the broker answers error {error}"))) }
}

/// A response's bytes and how far they are read.
struct Reader {
    bytes: Vec<u8>,
    at: usize,
}

impl Reader {
    fn take(&mut self, n: usize) -> io::Result<&[u8]> {
        let end =
            self.at.checked_add(n).filter(|e| *e <= self.bytes.len()).ok_or_else(|| bad("a response too short"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn skip(&mut self, n: usize) -> io::Result<()> {
        self.take(n).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| bad("a response too short"))
    }

    fn string(&mut self) -> io::Result<String> {
        let n = self.i16()?.max(0) as usize;
        self.take(n).map(|b| String::from_utf8_lossy(b).into_owned())
    }

    /// The length of what follows, in the form that counts from one.
    fn compact_len(&mut self) -> io::Result<usize> {
        let (mut n, mut shift) = (0usize, 0);
        loop {
            let [byte] = self.array::<1>()?;
            n |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n.saturating_sub(1));
            }
            shift += 7;
            if shift > 28 {
                return Err(bad("a length too long"));
            }
        }
    }

    fn compact_string(&mut self) -> io::Result<String> {
        let n = self.compact_len()?;
        self.take(n).map(|b| String::from_utf8_lossy(b).into_owned())
    }

    fn i16(&mut self) -> io::Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> io::Result<i64> {
        self.array().map(i64::from_be_bytes)
    }
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut n = ((value << 1) ^ (value >> 63)) as u64;
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn varint(bytes: &[u8], at: &mut usize) -> io::Result<i64> {
    let (mut n, mut shift) = (0u64, 0);
    loop {
        let byte = *bytes.get(*at).ok_or_else(|| bad("a record too short"))?;
        *at += 1;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((n >> 1) as i64 ^ -((n & 1) as i64));
        }
        shift += 7;
        if shift > 63 {
            return Err(bad("a varint too long"));
        }
    }
}

/// A batch of records with these values, no keys, no producer id, and `timestamp` (ms) for all.
pub fn batch(values: &[Vec<u8>], timestamp: i64) -> Vec<u8> {
    let mut records = Vec::new();
    for (n, value) in values.iter().enumerate() {
        let mut record = vec![0]; // attributes
        put_varint(&mut record, 0);
        put_varint(&mut record, n as i64);
        put_varint(&mut record, -1); // no key
        put_varint(&mut record, value.len() as i64);
        record.extend(value);
        put_varint(&mut record, 0); // no headers
        put_varint(&mut records, record.len() as i64);
        records.extend(record);
    }
    let mut tail = 0i16.to_be_bytes().to_vec();
    tail.extend((values.len() as i32 - 1).to_be_bytes());
    tail.extend(timestamp.to_be_bytes());
    tail.extend(timestamp.to_be_bytes());
    tail.extend((-1i64).to_be_bytes());
    tail.extend((-1i16).to_be_bytes());
    tail.extend((-1i32).to_be_bytes());
    tail.extend((values.len() as i32).to_be_bytes());
    tail.extend(records);
    let mut out = 0i64.to_be_bytes().to_vec();
    out.extend((tail.len() as i32 + 9).to_be_bytes());
    out.extend((-1i32).to_be_bytes());
    out.push(2);
    out.extend(crc32c::crc32c(&tail).to_be_bytes());
    out.extend(tail);
    out
}

/// The records at or behind `from` of all whole batches in `bytes`; a CRC that does not fit is an error.
fn batches(mut bytes: &[u8], from: i64) -> io::Result<Vec<Fetched>> {
    let mut out = Vec::new();
    while bytes.len() >= BATCH_HEAD {
        let i32_at = |at: usize| i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let length = usize::try_from(i32_at(8)).map_err(|_| bad("a batch of negative length"))?;
        let size = 12 + length;
        if bytes.len() < size {
            break;
        }
        if size < BATCH_HEAD || bytes[16] != 2 {
            return Err(bad("not a batch of version 2"));
        }
        if crc32c::crc32c(&bytes[21..size]) != i32_at(17) as u32 {
            return Err(bad("a batch whose CRC does not fit"));
        }
        let base = i64::from_be_bytes(bytes[..8].try_into().map_err(|_| bad("a batch too short"))?);
        let count = i32_at(57);
        let (body, mut at) = (&bytes[..size], BATCH_HEAD);
        for _ in 0..count {
            let length = varint(body, &mut at)?;
            let end = usize::try_from(length).ok().and_then(|l| at.checked_add(l)).filter(|e| *e <= size);
            let end = end.ok_or_else(|| bad("a record longer than its batch"))?;
            at += 1;
            let (_, delta, key) = (varint(body, &mut at)?, varint(body, &mut at)?, varint(body, &mut at)?);
            at += key.max(0) as usize;
            let value = varint(body, &mut at)?.max(0) as usize;
            let value = body.get(at..at + value).ok_or_else(|| bad("a value longer than its batch"))?;
            if base + delta >= from {
                out.push((base + delta, value.to_vec()));
            }
            at = end;
        }
        bytes = &bytes[size..];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let values: Vec<Vec<u8>> = (0..20).map(|n| vec![n; usize::from(n) * 30]).collect();
        let mut bytes = batch(&values, 1_700_000_000_000);
        bytes[..8].copy_from_slice(&100i64.to_be_bytes());
        let read = batches(&bytes, 105).expect("well formed");
        assert_eq!(read.len(), 15);
        assert!(read.iter().all(|(offset, value)| *value == values[(offset - 100) as usize]));
        // The part of a batch at the end of a response is left out; a flipped bit is not.
        assert!(batches(&bytes[..bytes.len() - 1], 0).expect("nothing whole").is_empty());
        *bytes.last_mut().expect("bytes") ^= 1;
        assert!(batches(&bytes, 0).is_err());
    }
}
