"""The driver of aiokafka (asyncio)."""

import asyncio
import logging
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import lines

logging.basicConfig(level=logging.CRITICAL)


def blocking(method):
    """Runs the coroutine `method` to its end: the protocol of the drivers has one command at a time."""
    return lambda self, command: asyncio.run(method(self, command))


def check(response):
    for error in response.topic_errors if hasattr(response, "topic_errors") else response.topic_error_codes:
        if error[1] != 0:
            raise RuntimeError(f"{error}")


class Driver:
    def __init__(self, bootstrap):
        self.conf = {"bootstrap_servers": bootstrap}

    @blocking
    async def create(self, c):
        admin = AIOKafkaAdminClient(**self.conf)
        await admin.start()
        try:
            check(await admin.create_topics([NewTopic(c["topic"], c["partitions"], 1)]))
        finally:
            await admin.close()

    @blocking
    async def delete(self, c):
        admin = AIOKafkaAdminClient(**self.conf)
        await admin.start()
        try:
            check(await admin.delete_topics([c["topic"]]))
        finally:
            await admin.close()

    @blocking
    async def produce(self, c):
        producer = AIOKafkaProducer(
            **self.conf, acks="all", linger_ms=20, enable_idempotence=c["idempotent"],
            compression_type=None if c["codec"] == "none" else c["codec"],
        )
        await producer.start()
        try:
            sent = [await producer.send(c["topic"], r.value, r.key, r.partition, r.timestamp, r.headers)
                    for r in c["records"]]
            await asyncio.wait_for(asyncio.gather(*sent), 30)
        finally:
            await producer.stop()

    async def partitions(self, topics):
        admin = AIOKafkaAdminClient(**self.conf)
        await admin.start()
        try:
            return [(t["topic"], [p["partition"] for p in t["partitions"]]) for t in await admin.describe_topics(topics)]
        finally:
            await admin.close()

    @blocking
    async def consume(self, c):
        consumer = AIOKafkaConsumer(**self.conf, enable_auto_commit=False, auto_offset_reset="earliest")
        await consumer.start()
        try:
            parts = [TopicPartition(t, p) for t, ps in await self.partitions(c["topics"]) for p in ps]
            consumer.assign(parts)
            if isinstance(c["from"], int):
                for part, found in (await consumer.offsets_for_times({p: c["from"] for p in parts})).items():
                    if found is None:
                        await consumer.seek_to_end(part)
                    else:
                        consumer.seek(part, found.offset)
            elif c["from"] == "earliest":
                await consumer.seek_to_beginning()
            else:
                await consumer.seek_to_end()
            count, end = c["count"], lines.deadline()
            while count > 0:
                lines.past(end, "consume")
                for m in await self.polled(consumer, count):
                    self.show(m)
                    count -= 1
        finally:
            await consumer.stop()

    async def polled(self, consumer, most):
        batches = await consumer.getmany(timeout_ms=100, max_records=most)
        return [m for batch in batches.values() for m in batch]

    def show(self, m):
        lines.emit(m.topic, m.partition, m.offset, m.timestamp, m.key, m.value, m.headers)

    @blocking
    async def group(self, c):
        consumer = AIOKafkaConsumer(
            c["topic"], **self.conf, group_id=c["group"], enable_auto_commit=False, auto_offset_reset="earliest",
            heartbeat_interval_ms=300, session_timeout_ms=6000,
        )
        await consumer.start()
        count, end = c["count"], lines.deadline()
        try:
            while count != 0:
                if count is None and self.commands.leave_asked():
                    break
                lines.past(end, "group")
                for m in await self.polled(consumer, count):
                    self.show(m)
                    await consumer.commit({TopicPartition(m.topic, m.partition): m.offset + 1})
                    if count is not None:
                        count -= 1
        finally:
            await consumer.stop()


lines.serve(Driver(sys.argv[-1]))
