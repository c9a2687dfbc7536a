"""A client's driver as a child process: commands in, records out. The other end of ../python/lines.py."""

import base64
import json
import queue
import subprocess
import threading
import time
from collections import namedtuple

# key, value: bytes or None; headers: ((name, bytes or None), ...)
Record = namedtuple("Record", "topic partition offset timestamp key value headers")

# Drivers end commands by themselves after 40 s: a reply that takes longer means that the driver hangs.
REPLY_S = 50


class Failed(Exception):
    """The driver answered FAIL, or what it brought is wrong."""


def b64(data):
    return None if data is None else base64.b64encode(data).decode()


def unb64(text):
    return None if text is None else base64.b64decode(text)


def to_send(key, value, headers=(), partition=None, timestamp=None):
    """A record as a command carries it."""
    return {"partition": partition, "key": b64(key), "value": b64(value), "timestamp": timestamp,
            "headers": [[name, b64(v)] for name, v in headers]}


class Driver:
    def __init__(self, name, argv, log):
        self.name, self.log = name, log
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        self.lines = queue.Queue()
        self.seen = []  # records of the command under way, in the order of their coming
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode(errors="replace").rstrip("\n"))
        self.lines.put(None)

    def start(self, do, **arguments):
        self.seen = []
        self.send({"do": do, **arguments})

    def send(self, line):
        try:
            self.process.stdin.write(json.dumps(line).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Failed(f"the driver is gone ({error}); see {self.log}") from None

    def pump(self, seconds):
        """Takes what comes within `seconds`; True once the command has ended."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(end - time.monotonic(), 0.001))
            except queue.Empty:
                return False
            if line is None:
                raise Failed(f"the driver ended; see {self.log}")
            if line == "OK":
                return True
            if line.startswith("FAIL"):
                raise Failed(line[5:])
            if line.startswith("{"):
                r = json.loads(line)
                self.seen.append(Record(
                    r["topic"], r["partition"], r["offset"], r["timestamp"], unb64(r["key"]), unb64(r["value"]),
                    tuple((n, unb64(v)) for n, v in r["headers"] or []),
                ))

    def wait(self, seconds=REPLY_S):
        """The records of the command under way, at its end."""
        if not self.pump(seconds):
            raise Failed(f"no reply within {seconds:.0f} s")
        return self.seen

    def call(self, do, **arguments):
        self.start(do, **arguments)
        return self.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()
