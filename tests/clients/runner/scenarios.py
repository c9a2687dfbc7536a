"""The scenarios themselves: what is asked of a driver and what must come back. One function for each."""

import itertools
import os
import random
import time
from collections import defaultdict

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

import driver
import wirepeek
from driver import Failed, to_send

# A condition that the broker must reach (a rebalance, a deletion) has this long (s).
SOON = 20


def check(condition, what):
    if not condition:
        raise Failed(what)


def eventually(condition, what, seconds=SOON):
    """Polls `condition` until it gives something true, which is returned."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class World:
    """The broker under test, the scenario file, and the reference client by which the runner asks the broker."""

    def __init__(self, bootstrap, spec, here, work):
        self.bootstrap, self.spec, self.here, self.work = bootstrap, spec, here, work
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self.run_id = f"{os.getpid():x}{int(time.time()) & 0xffff:04x}"
        # Timestamps that the scenarios set: within every retention time, and not the present.
        self.hour_ago = (int(time.time()) - 3600) * 1000
        (work / "logs").mkdir(exist_ok=True)
        for log in (work / "logs").iterdir():
            log.unlink(missing_ok=True)

    def driver(self, client):
        argv = [a.format(work=self.work, here=self.here) for a in self.spec["client"][client]["run"]]
        return driver.Driver(client, [*argv, self.bootstrap], self.work / "logs" / f"{client}.log")

    def lacks(self, client):
        return set(self.spec["client"][client].get("lacks", []))

    def topic(self, *words):
        return "-".join(["t", self.run_id, *words])

    def create(self, topic, partitions):
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(SOON)
        # Known is not yet led: a producer that retries on its own could write twice what we want once.
        eventually(lambda: self.partitions(topic) == partitions and self.led(topic), f"{topic} is led")

    def partitions(self, topic):
        """How many partitions the broker says that it has; 0 if there is no such topic."""
        found = self.admin.list_topics(timeout=SOON).topics.get(topic)
        return len(found.partitions) if found and not found.error else 0

    def led(self, topic):
        """Whether there is such a topic, and each of its partitions has a leader."""
        try:
            return bool(self.ends(topic))
        except KafkaException:
            return False

    def ends(self, topic):
        """The end offset of each partition."""
        ask = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(self.partitions(topic))}
        return {p.partition: f.result(SOON).offset for p, f in self.admin.list_offsets(ask).items()}

    def committed(self, group):
        done = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(SOON)
        return {p.partition: p.offset for p in done.topic_partitions}

    def assignments(self, group):
        """The partitions of each member if the group is stable, else nothing."""
        try:
            found = self.admin.describe_consumer_groups([group])[group].result(SOON)
        except Exception:  # the coordinator is loading or the group not yet there: asked again by the caller
            return None
        if found.state.name != "STABLE":
            return None
        return [{p.partition for p in m.assignment.topic_partitions} for m in found.members]

    def batches(self, topic):
        return [b for p in range(self.partitions(topic)) for b in wirepeek.batches(self.bootstrap, topic, p)]


class Turn:
    """One client going through one scenario."""

    def __init__(self, world, client, scenario):
        self.world, self.client, self.scenario = world, client, scenario
        self.lacks = world.lacks(client)
        self.topic = world.topic(client, scenario)
        self.drivers = []

    def driver(self):
        self.drivers.append(self.world.driver(self.client))
        return self.drivers[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.drivers:
            one.kill()

    def produce(self, by, records, topic=None, codec="none", idempotent=False):
        return by.call("produce", topic=topic or self.topic, codec=codec, idempotent=idempotent, records=records)

    def place(self, n, partitions):
        """A partition by number, or none where the client can't be told one."""
        return None if "partition" in self.lacks else n % partitions

    def numbered(self, first, last, partitions, timestamp=None):
        """Records `first`..`last`, each with its number as value, spread over keys and partitions."""
        return [to_send(b"k%d" % (n % 7), b"%d" % n, partition=self.place(n % 7, partitions), timestamp=timestamp)
                for n in range(first, last)]


def numbers(records):
    return [int(r.value) for r in records]


def in_order(records):
    """Offsets rise by one from 0 in each partition, and equal keys keep the order of their numbers."""
    offsets, keys = defaultdict(list), defaultdict(list)
    for r in records:
        offsets[r.topic, r.partition].append(r.offset)
        keys[r.key].append(int(r.value))
    for where, found in offsets.items():
        check(found == list(range(len(found))), f"offsets of {where}: {found[:20]}")
    for key, found in keys.items():
        check(found == sorted(found), f"key {key} out of order: {found[:20]}")


def create(t):
    by = t.driver()
    by.call("create", topic=t.topic, partitions=3)
    eventually(lambda: t.world.partitions(t.topic) == 3, "the topic has 3 partitions")


def delete(t):
    t.world.create(t.topic, 2)
    by = t.driver()
    by.call("delete", topic=t.topic)
    eventually(lambda: t.world.partitions(t.topic) == 0, "the topic is gone")


def dataset(t):
    """The scenario file's records as this client gets them: (key, value, headers)."""
    for r in t.world.spec["record"]:
        if set(r.get("needs", [])) & t.lacks:
            continue
        value = r["value"].encode() * r.get("repeat", 1) if "value" in r else None
        if "bytes" in r:
            value = bytes(n % 256 for n in range(r["bytes"]))
        headers = tuple((h[0], h[1].encode() if len(h) > 1 else None) for h in r.get("headers", []))
        yield r["key"].encode() if "key" in r else None, value, headers


def round_trip(t):
    partitions = t.world.spec["settings"]["partitions"]
    by, told = t.driver(), t.world.spec["client"][t.client].get("timestamps", False)
    for codec in t.world.spec["settings"]["codecs"]:
        topic, sent, timestamp = f"{t.topic}-{codec}", [], t.world.hour_ago if told else None
        t.world.create(topic, partitions)
        for n, (key, value, headers) in enumerate(dataset(t)):
            # Equal keys must go to one partition for their order to mean anything.
            partition = t.place(sum(key or b""), partitions)
            timestamp = timestamp + n if timestamp else None
            sent.append((partition, timestamp, key, value, headers))
        t.produce(by, [to_send(k, v, h, p, ts) for p, ts, k, v, h in sent], topic, codec)
        got = by.call("consume", topics=[topic], **{"from": "earliest"}, count=len(sent))
        compare(t, codec, sent, got)
        ends = t.world.ends(topic)
        check(sum(ends.values()) == len(sent), f"{codec}: {sum(ends.values())} records on the broker, not {len(sent)}")
        # Clients leave a batch as it is where compressing makes it larger; the compressible record is never such.
        codecs = {b.codec for b in t.world.batches(topic)}
        check(codec in codecs and codecs <= {codec, "none"}, f"batches are {codecs}, not {codec}")


def compare(t, codec, sent, got):
    """What came back is what was sent, in order within each partition (each key, if the client chose partitions)."""
    where = (lambda p, key: p) if sent[0][0] is not None else (lambda p, key: key)
    expected, found = defaultdict(list), defaultdict(list)
    for partition, timestamp, key, value, headers in sent:
        expected[where(partition, key)].append((key, value, headers, timestamp))
    for r in got:
        found[where(r.partition, r.key)].append((r.key, r.value, r.headers, r.timestamp if sent[0][1] else None))
    for place, records in expected.items():
        for wanted, came in itertools.zip_longest(records, found.pop(place, [])):
            check(wanted == came, f"{codec}: sent {str(wanted)[:150]}, came {str(came)[:150]}")
    check(not found, f"{codec}: not sent: {str(dict(found))[:200]}")


def earliest(t):
    t.world.create(t.topic, 3)
    by = t.driver()
    t.produce(by, t.numbered(0, 200, 3), codec="lz4")
    got = by.call("consume", topics=[t.topic], **{"from": "earliest"}, count=200)
    check(sorted(numbers(got)) == list(range(200)), "not each number once")
    in_order(got)


def reference(t):
    """The driver that writes where the client under test only reads: what it writes has timestamps."""
    t.drivers.append(t.world.driver("confluent"))
    return t.drivers[-1]


def latest(t):
    # A consumer that starts at the end can't be told apart from one that has not started, so a trickle of records
    # goes on until it has three: they must be three that follow each other, none of them from before its start.
    t.world.create(t.topic, 1)
    by, writer = t.driver(), reference(t)
    writer.call("produce", topic=t.topic, codec="none", idempotent=False, records=t.numbered(0, 50, 1))
    by.start("consume", topics=[t.topic], **{"from": "latest"}, count=3)
    for n in range(50, 250):
        writer.call("produce", topic=t.topic, codec="none", idempotent=False, records=t.numbered(n, n + 1, 1))
        if by.pump(0.1):
            break
    got = numbers(by.seen)
    check(len(got) == 3 and got[0] >= 50 and got == list(range(got[0], got[0] + 3)), f"latest gave {got}")


def timestamp(t):
    t.world.create(t.topic, 2)
    by, writer, base = t.driver(), reference(t), t.world.hour_ago
    records = []
    for n in range(60):  # two a second, one in each partition; batches of their own so that the index matters
        records.append(to_send(b"k", b"%d" % n, partition=n % 2, timestamp=base + n // 2 * 1000))
    for part in range(0, 60, 10):
        writer.call("produce", topic=t.topic, codec="zstd", idempotent=False, records=records[part:part + 10])
    got = by.call("consume", topics=[t.topic], **{"from": base + 17 * 1000 - 1}, count=26)
    check(sorted(numbers(got)) == list(range(34, 60)), f"from a timestamp: {sorted(numbers(got))}")


def group(t):
    t.world.create(t.topic, 4)
    name, writer = t.topic, reference(t)
    a, b = t.driver(), t.driver()

    def owned_by(members):
        owned = t.world.assignments(name)
        if not owned or len(owned) != members or not all(owned):
            return None
        return sum(map(len, owned)) == 4 and set().union(*owned) == set(range(4))

    def write(first, last):
        records = [to_send(b"k%d" % n, b"%d" % n, partition=n % 4) for n in range(first, last)]
        writer.call("produce", topic=t.topic, codec="snappy", idempotent=False, records=records)

    def seen(count, *members):
        def enough():
            for m in members:
                check(not m.pump(0.02), "a member ended by itself")
            return sum(len(m.seen) for m in members) >= count
        eventually(enough, f"the members have {count} records, now {[len(m.seen) for m in members]}")

    a.start("group", topic=t.topic, group=name, count=None)
    eventually(lambda: owned_by(1), "the first member has all partitions")
    b.start("group", topic=t.topic, group=name, count=None)
    eventually(lambda: owned_by(2), "the two members share the partitions")
    write(0, 40)
    seen(40, a, b)
    check(a.seen and b.seen, "one member got everything")
    a.send("leave")
    first = a.wait()
    eventually(lambda: owned_by(1), "the member that stayed has all partitions")
    write(40, 80)
    seen(80 - len(first), b)
    b.send("leave")
    got = numbers(first) + numbers(b.wait())
    check(sorted(got) == list(range(80)), f"not each record once: {sorted(got)}")
    committed = t.world.committed(name)
    check(committed == {p: 20 for p in range(4)}, f"committed offsets {committed}")


def resume(t):
    t.world.create(t.topic, 3)
    by, name = t.driver(), t.topic
    t.produce(by, t.numbered(0, 100, 3), codec="gzip")
    first = numbers(by.call("group", topic=t.topic, group=name, count=37))
    check(sum(max(o, 0) for o in t.world.committed(name).values()) == 37, "37 records are not what was committed")
    second = numbers(by.call("group", topic=t.topic, group=name, count=63))
    check(sorted(first + second) == list(range(100)), "the second run did not go on exactly after the first")
    check(t.world.committed(name) == t.world.ends(t.topic), "not everything committed at the end")


def idempotent(t):
    t.world.create(t.topic, 2)
    by = t.driver()
    t.produce(by, t.numbered(0, 300, 2), idempotent=True)
    got = by.call("consume", topics=[t.topic], **{"from": "earliest"}, count=300)
    check(sorted(numbers(got)) == list(range(300)), "not each number once")
    in_order(got)
    batches = t.world.batches(t.topic)
    check(batches and all(b.producer_id >= 0 and b.base_sequence >= 0 for b in batches), "batches without a producer id")


def large(t):
    t.world.create(t.topic, 1)
    by, rng = t.driver(), random.Random(900)
    value = bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz0123456789", k=900_000))
    t.produce(by, [to_send(b"large", value, partition=t.place(0, 1))])
    got = by.call("consume", topics=[t.topic], **{"from": "earliest"}, count=1)
    check(got[0].value == value, "the large message came back different")


def auto(t):
    by = t.driver()
    t.produce(by, [to_send(b"k%d" % n, b"%d" % n) for n in range(10)])
    eventually(lambda: t.world.partitions(t.topic), "the topic was created")
    got = by.call("consume", topics=[t.topic], **{"from": "earliest"}, count=10)
    check(sorted(numbers(got)) == list(range(10)), "not each number once")


SCENARIOS = {
    "create": create, "round-trip": round_trip, "earliest": earliest, "latest": latest, "timestamp": timestamp,
    "group": group, "resume": resume, "idempotent": idempotent, "large": large, "auto": auto, "delete": delete,
}


def outcome(world, client, scenario, work):
    """Runs `work` in a turn of its own: "ok" or "FAIL: reason"."""
    start = time.monotonic()
    try:
        with Turn(world, client, scenario) as turn:
            work(turn)
        seconds = time.monotonic() - start
        limit = world.spec["settings"]["scenario_seconds"]
        return "ok" if seconds <= limit else f"FAIL: took {seconds:.0f} s, allowed are {limit}"
    except Exception as error:
        return f"FAIL: {type(error).__name__ + ' ' if not isinstance(error, Failed) else ''}{str(error)[:400]}"


def run_client(world, client, wanted, skips):
    results = {}
    for scenario in wanted:
        if (client, scenario) in skips:
            results[client, scenario] = "skip: " + skips[client, scenario]
        else:
            results[client, scenario] = outcome(world, client, scenario, SCENARIOS[scenario])
    return results


def cross_records(client):
    """What a client writes for the others: three records in each codec, in plain text."""
    def of(codec):
        return [(f"{client}/{codec}/{n}".encode(), f"{n}: from {client}, in {codec}; ".encode() * 40) for n in range(3)]
    return of


def run_cross(world, clients, skips, pool):
    codecs = world.spec["settings"]["codecs"]
    topics = {c: world.topic("cross", c) for c in clients}

    def write(turn):
        topic, by = topics[turn.client], turn.driver()
        world.create(topic, 1)
        for codec in codecs:
            turn.produce(by, [to_send(k, v, [("by", turn.client.encode())], turn.place(0, 1))
                              for k, v in cross_records(turn.client)(codec)], topic, codec)

    def read(turn):
        expected = [r for c in written for codec in codecs for r in cross_records(c)(codec)]
        got = turn.driver().call("consume", topics=[topics[c] for c in written], **{"from": "earliest"},
                                 count=len(expected))
        found = defaultdict(list)
        for r in got:
            writer = r.key.decode().split("/")[0]
            check(r.headers == (("by", writer.encode()),), f"headers of {r.key}: {r.headers}")
            found[writer].append((r.key, r.value))
        for c in written:
            wanted = [r for codec in codecs for r in cross_records(c)(codec)]
            check(found[c] == wanted, f"what {c} wrote came differently: {str(found[c])[:150]}")

    def each(work, who):
        jobs = {c: pool.submit(outcome, world, c, "cross", work) for c in who}
        return {c: job.result() for c, job in jobs.items()}

    writing = each(write, [c for c in clients if (c, "cross") not in skips])
    written = [c for c in writing if writing[c] == "ok"]
    reading = each(read, written)
    results = {(c, "cross"): reading.get(c, r) for c, r in writing.items()}
    return results | {(c, "cross"): "skip: " + skips[c, "cross"] for c in clients if (c, "cross") in skips}
