"""The driver of kcat."""

import itertools
import signal
import sys

import lines
import tool

# Separators that occur in none of the scenario's texts.
RECORD, KEY = b"\x1e", b"\x1f"


def show(data):
    """Prints the whole records at the head of `data`: a line of numbers and headers, then key and value by length."""
    shown = 0
    while (end := data.find(b"\n")) >= 0:
        topic, partition, offset, timestamp, key_len, value_len, headers = data[:end].decode().split(" ", 6)
        key_len, value_len = int(key_len), int(value_len)
        key_end = end + 1 + max(key_len, 0)
        value_end = key_end + max(value_len, 0)
        if len(data) < value_end:
            break
        pairs = [h.split("=", 1) for h in headers.split(",")] if headers else []
        lines.emit(
            topic, int(partition), int(offset), int(timestamp),
            None if key_len < 0 else data[end + 1:key_end], None if value_len < 0 else data[key_end:value_end],
            [(n, v.encode()) for n, v in pairs],
        )
        data = data[value_end:]
        shown += 1
    return shown, data


FORMAT = ["-u", "-q", "-f", "%t %p %o %T %K %S %h\\n%k%s"]


class Driver:
    def __init__(self, bootstrap):
        self.kcat = ["kcat", "-b", bootstrap]

    def produce(self, c):
        # One run for each stretch of records with the same partition and headers: they are options of the run.
        def options(r):
            return r.partition, r.headers, r.value is None

        for (partition, headers, null), records in itertools.groupby(c["records"], options):
            argv = [*self.kcat, "-P", "-t", c["topic"], "-z", c["codec"], "-D", RECORD.decode(), "-K", KEY.decode(),
                    "-X", f"enable.idempotence={str(c['idempotent']).lower()}", "-X", "acks=all"]
            if partition is not None:
                argv += ["-p", str(partition)]
            for name, value in headers:
                argv += ["-H", f"{name}={value.decode()}"]
            if null:
                argv.append("-Z")
            tool.run(argv, RECORD.join((b"" if r.key is None else r.key + KEY) + (r.value or b"") for r in records))

    def consume(self, c):
        start = {"earliest": "beginning", "latest": "end"}.get(c["from"], f"s@{c['from']}")
        left = c["count"]
        for topic in c["topics"]:
            argv = [*self.kcat, "-C", "-t", topic, "-o", start, *FORMAT, "-X", "check.crcs=true"]
            if len(c["topics"]) == 1:
                member = tool.Member([*argv, "-c", str(left)])
                tool.follow(member, left, lambda: False, show, "kcat -C")
            else:
                shown, rest = show(tool.run([*argv, "-e"]))
                left -= shown
                if rest:
                    raise RuntimeError("kcat ended in the middle of a record")
        if len(c["topics"]) > 1 and left:
            raise RuntimeError(f"kcat read {left} records too few")

    def group(self, c):
        argv = [*self.kcat, *FORMAT, "-X", "auto.offset.reset=earliest", "-X", "heartbeat.interval.ms=300",
                "-X", "session.timeout.ms=6000", "-X", "auto.commit.interval.ms=100"]
        if c["count"] is not None:
            argv += ["-c", str(c["count"])]
        member = tool.Member([*argv, "-G", c["group"], c["topic"]])
        member_stop = member.stop
        member.stop = lambda: member_stop(signal.SIGINT)
        tool.follow(member, c["count"], self.commands.leave_asked, show, "kcat -G")


lines.serve(Driver(sys.argv[-1]))
