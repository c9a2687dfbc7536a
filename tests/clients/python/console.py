"""The driver of Apache Kafka's own console tools (TopicCommand, ConsoleProducer, ConsoleConsumer)."""

import sys

import lines
import tool

WORK, HERE, BOOTSTRAP = sys.argv[1:4]
NULL = "\u2205"


def java(name, *arguments):
    """The command line of one of Kafka's tools."""
    package = "org.apache.kafka.tools." + ("consumer." if name == "ConsoleConsumer" else "")
    return ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
            f"-Dlog4j2.configurationFile={HERE}/java/log4j2.yaml", "-cp", f"{WORK}/java-lib/*", package + name,
            "--bootstrap-server", BOOTSTRAP, *arguments]


def options(flag, pairs):
    return [word for pair in pairs.items() for word in (flag, "=".join(pair))]


def show(data):
    """Prints the whole lines at the head of `data`."""
    shown = 0
    while (end := data.find(b"\n")) >= 0:
        timestamp, partition, offset, headers, key, value = data[:end].decode().split("\t", 5)
        pairs = [] if headers == "NO_HEADERS" else [h.split(":", 1) for h in headers.split(",")]
        lines.emit(
            None, int(partition.split(":")[1]), int(offset.split(":")[1]), int(timestamp.split(":")[1]),
            None if key == NULL else key, None if value == NULL else value, pairs,
        )
        data = data[end + 1:]
        shown += 1
    return shown, data


class Driver:
    def create(self, c):
        tool.run(java("TopicCommand", "--create", "--topic", c["topic"], "--partitions", str(c["partitions"])))

    def delete(self, c):
        tool.run(java("TopicCommand", "--delete", "--topic", c["topic"]))

    def produce(self, c):
        def text(data):
            return NULL if data is None else data.decode()

        def line(r):
            headers = ",".join(f"{n}:{v.decode()}" for n, v in r.headers) or NULL
            return "\t".join([headers, text(r.key), text(r.value)])

        reading = {"parse.key": "true", "parse.headers": "true", "null.marker": NULL}
        producing = {"enable.idempotence": str(c["idempotent"]).lower(), "linger.ms": "20"}
        tool.run(
            java("ConsoleProducer", "--topic", c["topic"], "--compression-codec", c["codec"],
                 *options("--reader-property", reading), *options("--command-property", producing)),
            "".join(line(r) + "\n" for r in c["records"]).encode(),
        )

    def consumer(self, c, *arguments):
        shown = {"timestamp": "true", "partition": "true", "offset": "true", "headers": "true", "key": "true"}
        properties = {f"print.{k}": v for k, v in shown.items()} | {"null.literal": NULL}
        if c["count"] is not None:
            arguments += ("--max-messages", str(c["count"]))
        return tool.Member(java("ConsoleConsumer", *arguments, *options("--formatter-property", properties)))

    def consume(self, c):
        arguments = ["--include", "|".join(c["topics"])] if len(c["topics"]) > 1 else ["--topic", c["topics"][0]]
        if c["from"] == "earliest":
            arguments.append("--from-beginning")
        tool.follow(self.consumer(c, *arguments), c["count"], lambda: False, show, "ConsoleConsumer")

    def group(self, c):
        properties = {"heartbeat.interval.ms": "300", "session.timeout.ms": "6000", "auto.commit.interval.ms": "100"}
        member = self.consumer(c, "--topic", c["topic"], "--group", c["group"], "--from-beginning",
                               *options("--command-property", properties))
        tool.follow(member, c["count"], self.commands.leave_asked, show, "ConsoleConsumer")


lines.serve(Driver())
