#!/usr/bin/env python3
"""The client matrix: every foreign client goes through every scenario against a running broker.

usage: run.py HOST:PORT [--clients A,B] [--scenarios X,Y] [--jobs N] [--no-setup] [--text [BYTES]] [--tools]

Reads scenario.toml, speaks to the drivers by the line protocol of README.md, prints a matrix and, last, a line
`N passed, M failed, K skipped`; exits with 1 if any failed. What a broker holds is told by a second, independent way
wherever that matters: a reference client (confluent-kafka's admin) and fetches of our own (wirepeek.py).
It only skips what the scenario file lists.
"""

import argparse
import concurrent.futures
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = Path(os.environ.get("CLIENTS_WORK", HERE.parent / ".work" / "clients"))


def load():
    """The scenario file, checked: an entry that names nothing is an error, so that no skip outlives its reason."""
    spec = tomllib.loads((HERE / "scenario.toml").read_text())
    for skip in spec["skip"]:
        if skip["client"] not in spec["client"] or skip["scenario"] not in spec["scenarios"]:
            sys.exit(f"scenario.toml skips what does not exist: {skip}")
    return spec


def in_venv():
    """Goes on in the set-up's own Python, which has the reference client."""
    python = WORK / "venv" / "bin" / "python"
    if Path(sys.prefix).resolve() != (WORK / "venv").resolve():
        os.execv(python, [str(python), __file__, *sys.argv[1:]])


def main():
    parse = argparse.ArgumentParser(usage=__doc__)
    parse.add_argument("bootstrap")
    parse.add_argument("--clients")
    parse.add_argument("--scenarios")
    parse.add_argument("--jobs", type=int, default=4)
    parse.add_argument("--no-setup", action="store_true")
    parse.add_argument("--text", type=int, nargs="?", const=50_000_000, help="also pipe this many bytes of real text")
    parse.add_argument("--tools", action="store_true", help="also run Apache Kafka's command-line tools")
    args = parse.parse_args()
    if not args.no_setup and subprocess.run([HERE / "setup.sh"]).returncode != 0:
        print("0 passed, 1 failed, 0 skipped")
        return 1
    in_venv()
    sys.path.insert(0, str(HERE / "runner"))
    import realtext
    import scenarios
    import tools

    spec = load()
    clients = args.clients.split(",") if args.clients else list(spec["client"])
    wanted = args.scenarios.split(",") if args.scenarios else list(spec["scenarios"])
    skips = {(s["client"], s["scenario"]): s["reason"] for s in spec["skip"]}
    start = time.monotonic()
    world = scenarios.World(args.bootstrap, spec, HERE, WORK)
    results = {}  # (client, scenario) -> "ok" | "FAIL: reason" | "skip: reason"
    own = [s for s in wanted if s != "cross"]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        runs = {pool.submit(scenarios.run_client, world, c, own, skips): c for c in clients}
        apart = pool.submit(tools.run, world) if args.tools else None
        for done in concurrent.futures.as_completed(runs):
            results |= done.result()
            print(f"  {runs[done]:14} done after {time.monotonic() - start:5.1f} s", flush=True)
        if "cross" in wanted:
            results |= scenarios.run_cross(world, clients, skips, pool)
        if apart:
            results |= apart.result()
    if args.text:
        results |= realtext.run(world, args.text)
    report(spec, results, time.monotonic() - start)
    return any(r.startswith("FAIL") for r in results.values())


def report(spec, results, seconds):
    columns = [s for s in spec["scenarios"] if any(k[1] == s for k in results)]
    print("\n" + " " * 14 + " ".join(f"{c:>10}" for c in columns))
    for client in (c for c in spec["client"] if any(k[0] == c for k in results)):
        print(f"{client:14}" + " ".join(f"{results.get((client, s), '').split(':')[0]:>10}" for s in columns))
    for apart in ("tools", "text"):
        if found := [f"{what} {r.split(':')[0]}" for (row, what), r in results.items() if row == apart]:
            print(f"{apart:14}" + ", ".join(found))
    print()
    for (client, scenario), result in sorted(results.items()):
        if result != "ok":
            kind, reason = result.split(": ", 1)
            print(f"{kind} {client} {scenario}: {reason}")
    count = [sum(r.split(":")[0] == kind for r in results.values()) for kind in ("ok", "FAIL", "skip")]
    print(f"in {seconds:.0f} s")
    print("{} passed, {} failed, {} skipped".format(*count))


if __name__ == "__main__":
    sys.exit(main())
