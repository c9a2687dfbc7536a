"""Apache Kafka's own command-line tools: each must end well and say what the scenario file expects of it."""

import re
import subprocess

TOOL_S = 60


def run(world):
    """One result for each tool, in the order of the scenario file: they work on one topic and one group."""
    topic, group = world.topic("tools"), world.topic("tools", "group")
    names, results = {"topic": topic, "group": group}, {}
    try:
        world.create(topic, 2)
    except Exception as error:
        return {("tools", t["name"]): f"FAIL: no topic: {error}" for t in world.spec["tool"]}
    for tool in world.spec["tool"]:
        results["tools", tool["name"]] = one(world, tool, names)
    return results


def fill(text, names):
    """Not `str.format`: regular expressions and JSON have braces of their own."""
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text


def one(world, tool, names):
    argv = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
            f"-Dlog4j2.configurationFile={world.here}/java/log4j2.yaml", "-cp", f"{world.work}/java-lib/*",
            tool["run"][0], "--bootstrap-server", world.bootstrap, *(fill(a, names) for a in tool["run"][1:])]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TOOL_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"FAIL: no end within {TOOL_S} s"
    if done.returncode:
        return f"FAIL: ended with {done.returncode}: {(done.stdout + done.stderr)[-300:]!r}"
    missing = [s for s in tool["says"] if not re.search(fill(s, names), done.stdout)]
    return f"FAIL: no {missing} in {done.stdout[-400:]!r}" if missing else "ok"
