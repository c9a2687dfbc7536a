"""The driver of Python confluent-kafka (librdkafka)."""

import sys

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import lines


class Driver:
    def __init__(self, bootstrap):
        self.conf = {"bootstrap.servers": bootstrap, "log_level": 3}
        self.admin = AdminClient(self.conf)

    def create(self, c):
        for done in self.admin.create_topics([NewTopic(c["topic"], c["partitions"], 1)]).values():
            done.result(20)

    def delete(self, c):
        for done in self.admin.delete_topics([c["topic"]]).values():
            done.result(20)

    def produce(self, c):
        errors = []
        producer = Producer({
            **self.conf, "compression.type": c["codec"], "enable.idempotence": c["idempotent"], "acks": "all",
            "linger.ms": 20, "delivery.timeout.ms": 30000,
        })
        for r in c["records"]:
            extra = {} if r.timestamp is None else {"timestamp": r.timestamp}
            if r.partition is not None:
                extra["partition"] = r.partition
            producer.produce(c["topic"], r.value, r.key, headers=r.headers, **extra,
                             on_delivery=lambda error, _: error and errors.append(error))
        left = producer.flush(30)
        if errors or left:
            raise KafkaException(errors[0] if errors else f"{left} records not delivered")

    def consume(self, c):
        consumer = Consumer({**self.conf, "group.id": "unused", "enable.auto.commit": False, "check.crcs": True})
        try:
            parts = [TopicPartition(t, p, 0) for t in c["topics"]
                     for p in consumer.list_topics(t, 20).topics[t].partitions]
            if isinstance(c["from"], int):
                parts = consumer.offsets_for_times([TopicPartition(p.topic, p.partition, c["from"]) for p in parts], 20)
            else:
                for p in parts:
                    p.offset = OFFSET_BEGINNING if c["from"] == "earliest" else OFFSET_END
            consumer.assign(parts)
            self.take(consumer, c["count"], lines.deadline())
        finally:
            consumer.close()

    def take(self, consumer, count, end):
        while count:
            lines.past(end, "consume")
            m = consumer.poll(0.2)
            if m is None:
                continue
            if m.error():
                raise KafkaException(m.error())
            self.show(m)
            count -= 1

    def show(self, m):
        lines.emit(m.topic(), m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers())

    def group(self, c):
        consumer = Consumer({
            **self.conf, "group.id": c["group"], "enable.auto.commit": False, "auto.offset.reset": "earliest",
            "heartbeat.interval.ms": 300, "session.timeout.ms": 6000,
        })
        count, end = c["count"], lines.deadline()
        try:
            consumer.subscribe([c["topic"]])
            while True:
                if count is None and self.commands.leave_asked():
                    break
                lines.past(end, "group")
                m = consumer.poll(0.1)
                if m is None:
                    continue
                if m.error():
                    raise KafkaException(m.error())
                self.show(m)
                consumer.commit(m, asynchronous=False)
                if count is not None:
                    count -= 1
                    if count == 0:
                        break
        finally:
            consumer.close()


lines.serve(Driver(sys.argv[-1]))
