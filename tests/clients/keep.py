#!/usr/bin/env python3
"""Whether one broker keeps what another wrote: everything that a client can see of a cluster, compared.

usage: keep.py HOST:PORT STATE.json STAGE

Compares the cluster with the picture in STATE.json, if there is one: topic ids, configs, offsets, every batch and
record, groups and committed offsets must be equal. Then it writes more (topics, records in all codecs by several
clients, groups, a deletion, a config, purged records), goes on with the groups of earlier stages exactly where they
stood, and saves the new picture. Prints `OK` or `FAIL reason`. Test programs run it against Apache Kafka and Logrun in
turn on one directory. Needs what `setup.sh` installs.
"""

import hashlib
import json
import os
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = Path(os.environ.get("CLIENTS_WORK", HERE.parent / ".work" / "clients"))
if Path(sys.prefix).resolve() != (WORK / "venv").resolve():
    python = str(WORK / "venv" / "bin" / "python")
    os.execv(python, [python, __file__, *sys.argv[1:]])
sys.path.insert(0, str(HERE / "runner"))

from confluent_kafka import Consumer, TopicCollection, TopicPartition  # noqa: E402
from confluent_kafka.admin import (AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,  # noqa: E402
                                   OffsetSpec, ResourceType)

import scenarios  # noqa: E402
import wirepeek  # noqa: E402
from driver import to_send  # noqa: E402
from scenarios import check, eventually  # noqa: E402

# Who writes: each in every codec. They frame snappy and lz4 differently, which is what a broker must not care about.
WRITERS = ["java", "kafka-python", "franz-go"]
WAIT = 20


class Keeper:
    def __init__(self, bootstrap, stage):
        self.world = scenarios.World(bootstrap, tomllib.loads((HERE / "scenario.toml").read_text()), HERE, WORK)
        self.admin, self.stage = self.world.admin, stage

    # --- the picture ---

    def picture(self):
        listed = self.admin.list_topics(timeout=WAIT).topics
        for topic in listed:
            # Apache Kafka, just started, names leaders of an epoch that its partitions have yet to take up.
            eventually(lambda: self.world.led(topic), f"{topic} is led")
        topics = sorted(t for t in listed if not t.startswith("__"))
        described = self.admin.describe_topics(TopicCollection(topics))
        return {
            "cluster": self.admin.list_topics(timeout=WAIT).cluster_id,
            "topics": {t: self.topic(t, str(described[t].result(WAIT).topic_id)) for t in topics},
            "groups": {g: self.group(g) for g in self.groups()},
        }

    def topic(self, name, topic_id):
        partitions = range(self.world.partitions(name))
        resource = ConfigResource(ResourceType.TOPIC, name)
        configs = self.admin.describe_configs([resource])[resource].result(WAIT)
        starts = {TopicPartition(name, p): OffsetSpec.earliest() for p in partitions}
        starts = {p.partition: f.result(WAIT).offset for p, f in self.admin.list_offsets(starts).items()}
        ends = self.world.ends(name)
        return {
            "id": topic_id,
            # 1: the source "dynamic topic config"; the rest are defaults, which may differ between brokers' settings.
            "configs": {c.name: c.value for c in configs.values() if c.source == 1},
            "partitions": [{"start": starts[p], "end": ends[p], **self.contents(name, p, starts[p], ends[p])}
                           for p in partitions],
        }

    def contents(self, topic, partition, start, end):
        """The batches as they are stored, and the records as librdkafka reads them, CRC checked."""
        batches = [[b.base_offset, b.last_offset, b.codec, b.producer_id, b.base_sequence]
                   for b in wirepeek.batches(self.world.bootstrap, topic, partition, start)]
        digest, count = hashlib.sha256(), 0
        consumer = Consumer({"bootstrap.servers": self.world.bootstrap, "group.id": "unused", "log_level": 0,
                             "enable.auto.commit": False, "check.crcs": True, "enable.partition.eof": False})
        try:
            consumer.assign([TopicPartition(topic, partition, start)])
            position = start
            while position < end:
                m = consumer.poll(WAIT)
                # A message without a value is false, so None is asked for.
                check(m is not None, f"{topic}-{partition}: nothing to read at {position} of {end}")
                check(not m.error(), f"{topic}-{partition} at {position} of {end}: {m.error()}")
                digest.update(repr((m.offset(), m.timestamp(), m.key(), m.value(), m.headers())).encode())
                position, count = m.offset() + 1, count + 1
        finally:
            consumer.close()
        return {"batches": batches, "records": count, "sha256": digest.hexdigest()}

    def groups(self):
        # While a partition of the groups' topic is being loaded, the answer is an error for it.
        found = eventually(self.loaded_groups, "all groups are loaded")
        return sorted(g.group_id for g in found.valid)

    def loaded_groups(self):
        found = self.admin.list_consumer_groups().result(WAIT)
        return None if found.errors else found

    def group(self, name):
        done = self.admin.list_consumer_group_offsets([scenarios.ConsumerGroupTopicPartitions(name)])[name].result(WAIT)
        return {f"{p.topic}-{p.partition}": [p.offset, p.metadata] for p in done.topic_partitions}

    # --- writing more ---

    def numbered(self, first, count):
        return [to_send(b"k%d" % (n % 5), f"{self.stage} {n} ".encode() * 20, [("stage", self.stage.encode())], n % 2)
                for n in range(first, first + count)]

    def write(self, old):
        world, stage = self.world, self.stage
        for writer in WRITERS:
            by = world.driver(writer)
            try:
                for codec in world.spec["settings"]["codecs"]:
                    topic = f"keep-{codec}"
                    if not world.partitions(topic):
                        world.create(topic, 2)
                    # Twice, so that there are several batches; one of them by an idempotent producer.
                    by.call("produce", topic=topic, codec=codec, idempotent=False, records=self.numbered(0, 50))
                    by.call("produce", topic=topic, codec=codec, idempotent=True, records=self.numbered(50, 50))
            finally:
                by.kill()
        self.advance(old)
        self.change()
        # A topic with a key that is overwritten, compacted in its time.
        compact = f"compact-{stage}"
        self.admin.create_topics([NewTopic(compact, 1, 1, config={"cleanup.policy": "compact"})])[compact].result(WAIT)
        # Apache Kafka answers before its brokers list the topic.
        eventually(lambda: world.led(compact), f"{compact} is led")

    def advance(self, old):
        """Each stage reads a part with two groups: one that began with the first stage, one of its own."""
        for name, client, count in (("steady", "java", 37), (f"own-{self.stage}", "kafka-python", 41)):
            before = sum(max(o, 0) for o, _ in old["groups"].get(name, {}).values()) if old else 0
            by = self.world.driver(client)
            try:
                by.call("group", topic="keep-gzip", group=name, count=count)
            finally:
                by.kill()
            after = sum(max(o, 0) for o, _ in self.group(name).values())
            check(after == before + count, f"group {name} stood at {before}, read {count}, stands at {after}")

    def change(self):
        """A topic deleted and made again (it has another id), partitions added, a config set, records purged."""
        world, again = self.world, "made-again"
        if world.partitions(again):
            self.admin.delete_topics([again])[again].result(WAIT)
            eventually(lambda: not world.partitions(again), f"{again} is gone")
        world.create(again, 1)
        more = world.partitions("keep-none") + 1
        self.admin.create_partitions([NewPartitions("keep-none", more)])["keep-none"].result(WAIT)
        eventually(lambda: world.partitions("keep-none") == more and world.led("keep-none"), "the new partition is led")
        value = str(10_000_000_000 + len(self.stage))
        entry = ConfigEntry("retention.ms", value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, "keep-lz4", incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(WAIT)
        purge = TopicPartition("keep-zstd", 0, world.ends("keep-zstd")[0] - 90)
        self.admin.delete_records([purge])[purge].result(WAIT)


def difference(old, new, path=""):
    """The first place where two pictures differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                return difference(old.get(key), new.get(key), f"{path}/{key}")
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for n, (a, b) in enumerate(zip(old, new)):
            if a != b:
                return difference(a, b, f"{path}[{n}]")
    return f"{path}: was {str(old)[:200]}, is {str(new)[:200]}"


def main():
    bootstrap, state, stage = sys.argv[1:]
    keeper, state = Keeper(bootstrap, stage), Path(state)
    old = json.loads(state.read_text()) if state.exists() else None
    if old:
        new = json.loads(json.dumps(keeper.picture()))
        check(new == old, "not kept: " + difference(old, new))
    keeper.write(old)
    new = keeper.picture()
    state.write_text(json.dumps(new, indent=1))
    records = sum(p["records"] for t in new["topics"].values() for p in t["partitions"])
    print(f"stage {stage}: {records} records, {len(new['groups'])} groups")


try:
    main()
    print("OK")
except Exception as error:
    print("FAIL", type(error).__name__, error)
    sys.exit(1)
