"""Running a command-line tool to its end, for the drivers of kcat and of Kafka's console tools."""

import os
import signal
import subprocess
import tempfile

import lines


def run(argv, stdin=b"", seconds=lines.DEADLINE_S):
    """The tool's standard output; an error with the end of its standard error if it fails."""
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=seconds)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-400:]}")
    return done.stdout


class Member:
    """A tool that consumes until it is stopped; what it printed is read as it comes."""

    def __init__(self, argv):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=self.errors, stdin=subprocess.DEVNULL)
        os.set_blocking(self.process.stdout.fileno(), False)

    def read(self):
        """What came since the last time, perhaps nothing."""
        return self.process.stdout.read() or b""

    def running(self):
        return self.process.poll() is None

    def stop(self, sign=signal.SIGTERM):
        if self.running():
            self.process.send_signal(sign)
        try:
            self.process.wait(15)
        finally:
            self.process.kill()

    def complaint(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[-400:]


def follow(member, count, leave_asked, show, what):
    """Feeds what `member` prints to `show` (bytes -> (records shown, bytes left over)) until `count` records came
    and the tool ended by itself, or, without a count, until `leave_asked`: then it is told to end."""
    import select

    end, rest, shown = lines.deadline(), b"", 0
    try:
        while member.running():
            lines.past(end, what)
            select.select([member.process.stdout], [], [], 0.1)
            n, rest = show(rest + member.read())
            shown += n
            if count is None and leave_asked():
                break
        member.stop()
        n, rest = show(rest + member.read())
        shown += n
        if rest:
            raise RuntimeError(f"{what} ended in the middle of a record: {rest[:80]!r}")
        if count is not None and shown != count:
            raise RuntimeError(f"{what} printed {shown} records, not {count}: {member.complaint()}")
    finally:
        member.process.kill()
