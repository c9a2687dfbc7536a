"""Fetches of our own, by hand-written bytes: what is in a partition, batch by batch, as the broker sends it.

The clients hide codecs and producer ids; the scenarios want to know that a batch really has them. Fetch version 4
(the oldest that Kafka 4 serves) and the head of record batch v2 (KIP-98) are all it knows.
"""

import socket
import struct
from dataclasses import dataclass

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
FETCH, VERSION = 1, 4


@dataclass
class Batch:
    base_offset: int
    last_offset: int
    codec: str
    producer_id: int
    base_sequence: int
    records: int


def text(s):
    return struct.pack(">h", len(s)) + s.encode()


def call(sock, body):
    request = struct.pack(">hhi", FETCH, VERSION, 7) + text("wirepeek") + body
    sock.sendall(struct.pack(">i", len(request)) + request)

    def exactly(n):
        data = b""
        while len(data) < n:
            more = sock.recv(n - len(data))
            if not more:
                raise ConnectionError("the broker closed the connection")
            data += more
        return data

    return exactly(struct.unpack(">i", exactly(4))[0])


def fetch(sock, topic, partition, offset):
    """(high watermark, the bytes of whole and perhaps one partial batch)."""
    # What is there is there: nothing is waited for, at the end neither.
    body = struct.pack(">iiiib", -1, 0, 1, 50_000_000, 0)
    body += struct.pack(">i", 1) + text(topic) + struct.pack(">iiqi", 1, partition, offset, 50_000_000)
    reply = call(sock, body)
    at = 4 + 4 + 4 + 2 + len(topic) + 4 + 4  # correlation, throttle, one topic, its name, one partition, its number
    error, high_watermark, _, aborted = struct.unpack_from(">hqqi", reply, at)
    if error:
        raise RuntimeError(f"fetch of {topic}-{partition} at {offset}: error {error}")
    at += 22 + 16 * max(aborted, 0)
    (size,) = struct.unpack_from(">i", reply, at)
    return high_watermark, reply[at + 4:at + 4 + max(size, 0)]


def batches(bootstrap, topic, partition, offset=0):
    """All batches of a partition from `offset`, in order."""
    host, port = bootstrap.rsplit(":", 1)
    out = []
    with socket.create_connection((host, int(port)), 20) as sock:
        while True:
            high_watermark, data = fetch(sock, topic, partition, offset)
            if offset >= high_watermark:
                return out
            at = 0
            while at + 61 <= len(data):
                base, length, _, magic, _, attributes, delta, _, _, pid, _, sequence, count = struct.unpack_from(
                    ">qiibIhiqqqhii", data, at)
                if at + 12 + length > len(data):
                    break
                if magic != 2:
                    raise RuntimeError(f"batch of magic {magic}")
                out.append(Batch(base, base + delta, CODECS[attributes & 7], pid, sequence, count))
                offset = base + delta + 1
                at += 12 + length
