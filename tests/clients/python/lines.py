"""The line protocol of the drivers: commands as JSON lines in, records as JSON lines out, then `OK` or `FAIL reason`.

Shared by the Python drivers. It knows nothing of any client. README.md describes the protocol.
"""

import base64
import json
import queue
import sys
import threading
import time
import traceback

# A command that has not ended by then has failed.
DEADLINE_S = 40


def unb64(text):
    return None if text is None else base64.b64decode(text)


def b64(data):
    if data is None:
        return None
    if isinstance(data, str):
        data = data.encode()
    return base64.b64encode(bytes(data)).decode()


class Record:
    """A record to produce, with its bytes decoded."""

    def __init__(self, line):
        self.partition = line["partition"]
        self.key = unb64(line["key"])
        self.value = unb64(line["value"])
        self.headers = [(name, unb64(value)) for name, value in line["headers"]]
        self.timestamp = line.get("timestamp")


class Commands:
    """Standard input, read by a thread of its own so that a running group member notices the next line."""

    def __init__(self):
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in sys.stdin:
            self.lines.put(line)
        self.lines.put(None)

    def leave_asked(self):
        """Whether a line came; the line is taken. A member of a group asks this between polls."""
        try:
            return self.lines.get_nowait() or True
        except queue.Empty:
            return False


def emit(topic, partition, offset, timestamp, key, value, headers):
    """Prints one consumed record."""
    print(json.dumps({
        "topic": topic, "partition": partition, "offset": offset, "timestamp": timestamp,
        "key": b64(key), "value": b64(value), "headers": [[n, b64(v)] for n, v in headers or []],
    }), flush=True)


def deadline():
    return time.monotonic() + DEADLINE_S


def serve(driver):
    """Obeys commands until standard input ends: calls `driver.NAME(command)`."""
    driver.commands = Commands()
    while (line := driver.commands.lines.get()) is not None:
        command = json.loads(line)
        try:
            if "records" in command:
                command["records"] = [Record(r) for r in command["records"]]
            getattr(driver, command["do"])(command)
            print("OK", flush=True)
        except Exception as error:  # any failure of a client is an answer, not the end of the driver
            traceback.print_exc()
            print("FAIL", type(error).__name__, str(error).replace("\n", " ")[:500], flush=True)


def past(end, what):
    """Raises when the deadline `end` has passed."""
    if time.monotonic() > end:
        raise TimeoutError(f"no end of {what} within {DEADLINE_S} s")
