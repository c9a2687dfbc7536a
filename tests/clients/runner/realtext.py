"""Real input: the machine's own text files, piped in by kcat line by line, compared byte for byte on the way out."""

import hashlib
import subprocess
import time
from pathlib import Path

# Where a machine that can build Logrun has text: logs, dictionaries, documentation, libraries' sources.
PLACES = [
    ("/var/log", "*.log"), ("/usr/share/dict", "*"), ("/usr/share/doc", "*copyright"), ("/usr/share/perl", "*.p[lm]"),
    ("/usr/include", "*.h"), ("GOROOT/src", "*.go"), ("PYTHON", "*.py"), ("/usr/lib/python3", "*.py"),
]
# kcat's limit of a message is librdkafka's, 1,000,000 bytes; a longer line is left out.
LINE_BYTES_MAX = 500_000
WALL_S = 120


def places():
    """The places that are there, in a fixed order."""
    def said(*argv):
        try:
            return subprocess.run(argv, capture_output=True, text=True, timeout=20).stdout.strip()
        except OSError:
            return "/nonexistent"

    go, python = said("go", "env", "GOROOT"), said("python3", "-c", "import os; print(os.path.dirname(os.__file__))")
    for place, pattern in PLACES:
        root = Path(place.replace("GOROOT", go).replace("PYTHON", python))
        if root.is_dir():
            yield from sorted(p for p in root.rglob(pattern) if p.is_file() and "site-packages" not in p.parts)


def corpus(target, size):
    """Writes at least `size` bytes of lines to `target`, as often over the same files as it takes. kcat has no empty
    messages in line mode, so blank lines are left out."""
    written, files = 0, list(places())
    with open(target, "wb") as out:
        while written < size:
            before = written
            for path in files:
                try:
                    data = path.read_bytes()
                except OSError:  # a log that rotated away meanwhile
                    continue
                if b"\0" in data:
                    continue
                lines = b"".join(x + b"\n" for x in data.split(b"\n") if x and len(x) <= LINE_BYTES_MAX)
                out.write(lines)
                written += len(lines)
                if written >= size:
                    break
            if written == before:
                raise RuntimeError("this machine has no text files where we look")
    return written


def sha256(path):
    digest, lines = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
            lines += data.count(b"\n")
    return digest.hexdigest(), lines


def one(world, codec, text, want, lines):
    topic = world.topic("text", codec)
    world.create(topic, 1)
    kcat = ["kcat", "-b", world.bootstrap, "-t", topic, "-p", "0", "-q"]
    with open(text, "rb") as stdin:
        # Idempotent: the order survives a retry.
        done = subprocess.run([*kcat, "-P", "-z", codec, "-X", "enable.idempotence=true"], stdin=stdin,
                              capture_output=True, timeout=WALL_S)
    if done.returncode:
        return f"FAIL: kcat -P ended with {done.returncode}: {done.stderr.decode()[-300:]}"
    if world.ends(topic)[0] != lines:
        return f"FAIL: {world.ends(topic)[0]} records on the broker, {lines} lines were sent"
    back = text.with_suffix("." + codec)
    with open(back, "wb") as stdout:
        done = subprocess.run([*kcat, "-C", "-o", "beginning", "-e", "-X", "check.crcs=true"], stdout=stdout,
                              stderr=subprocess.PIPE, timeout=WALL_S)
    got, _ = sha256(back)
    back.unlink()
    return "ok" if got == want else f"FAIL: sha256 of what came back is {got}, sent was {want} ({done.stderr[-200:]!r})"


def run(world, size):
    """One result for each codec."""
    text = world.work / "real.txt"
    bytes_ = corpus(text, size)
    want, lines = sha256(text)
    print(f"  real text: {bytes_:,} bytes, {lines:,} lines, sha256 {want[:16]}…", flush=True)
    results = {}
    for codec in world.spec["settings"]["codecs"]:
        start = time.monotonic()
        try:
            results["text", codec] = one(world, codec, text, want, lines)
        except Exception as error:
            results["text", codec] = f"FAIL: {type(error).__name__} {error}"
        print(f"  real text {codec:6} in {time.monotonic() - start:.1f} s", flush=True)
    return results
