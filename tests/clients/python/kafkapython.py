"""The driver of kafka-python (pure Python)."""

import logging
import os
import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

import lines

logging.basicConfig(level=os.environ.get("CLIENTS_LOG", "ERROR"), format="%(asctime)s %(name)s %(levelname)s %(message)s")


class Driver:
    def __init__(self, bootstrap):
        self.conf = {"bootstrap_servers": bootstrap}

    def create(self, c):
        admin = KafkaAdminClient(**self.conf)
        admin.create_topics({c["topic"]: {"num_partitions": c["partitions"], "replication_factor": 1}})
        admin.close()

    def delete(self, c):
        admin = KafkaAdminClient(**self.conf)
        admin.delete_topics([c["topic"]])
        admin.close()

    def produce(self, c):
        producer = KafkaProducer(
            **self.conf, acks="all", linger_ms=20, enable_idempotence=c["idempotent"],
            compression_type=None if c["codec"] == "none" else c["codec"],
        )
        sent = [producer.send(c["topic"], r.value, r.key, r.headers, r.partition, r.timestamp) for r in c["records"]]
        producer.flush(30)
        for future in sent:
            future.get(1)
        producer.close()

    def consume(self, c):
        consumer = KafkaConsumer(**self.conf, enable_auto_commit=False, auto_offset_reset="earliest")
        try:
            parts = [TopicPartition(t, p) for t in c["topics"] for p in consumer.partitions_for_topic(t)]
            consumer.assign(parts)
            if isinstance(c["from"], int):
                for part, found in consumer.offsets_for_times({p: c["from"] for p in parts}).items():
                    if found is None:
                        consumer.seek_to_end(part)
                    else:
                        consumer.seek(part, found.offset)
            elif c["from"] == "earliest":
                consumer.seek_to_beginning()
            else:
                consumer.seek_to_end()
            count, end = c["count"], lines.deadline()
            while count > 0:
                lines.past(end, "consume")
                for m in self.polled(consumer, count):
                    self.show(m)
                    count -= 1
        finally:
            consumer.close()

    def polled(self, consumer, most):
        # A poll whose time runs out between SyncGroup's response and its use forgets the assignment for good (3.0.12).
        # 100 ms is also the client's wait for metadata, after which it joins again: a poll of 100 ms hits that moment.
        return [m for batch in consumer.poll(1000, max_records=most).values() for m in batch]

    def show(self, m):
        lines.emit(m.topic, m.partition, m.offset, m.timestamp, m.key, m.value, m.headers)

    def group(self, c):
        consumer = KafkaConsumer(
            c["topic"], **self.conf, group_id=c["group"], enable_auto_commit=False, auto_offset_reset="earliest",
            heartbeat_interval_ms=300, session_timeout_ms=6000,
        )
        count, end = c["count"], lines.deadline()
        try:
            while count != 0:
                if count is None and self.commands.leave_asked():
                    break
                lines.past(end, "group")
                for m in self.polled(consumer, count):
                    self.show(m)
                    consumer.commit({TopicPartition(m.topic, m.partition): OffsetAndMetadata(m.offset + 1, "", -1)})
                    if count is not None:
                        count -= 1
        finally:
            consumer.close()


lines.serve(Driver(sys.argv[-1]))
