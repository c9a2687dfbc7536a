// The driver of Apache Kafka's Java client. It obeys the line protocol of ../README.md.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Driver {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long DEADLINE_NS = TimeUnit.SECONDS.toNanos(40);
    private static final LinkedBlockingQueue<Optional<String>> LINES = new LinkedBlockingQueue<>();
    private static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        Thread reader = new Thread(Driver::read);
        reader.setDaemon(true);
        reader.start();
        for (Optional<String> line = LINES.take(); line.isPresent(); line = LINES.take()) {
            try {
                JsonNode c = JSON.readTree(line.get());
                switch (c.get("do").asText()) {
                    case "create" -> create(c);
                    case "delete" -> delete(c);
                    case "produce" -> produce(c);
                    case "consume" -> consume(c);
                    case "group" -> group(c);
                    default -> throw new IllegalArgumentException("no such command: " + line.get());
                }
                System.out.println("OK");
            } catch (Exception e) {
                e.printStackTrace();
                System.out.println("FAIL " + String.valueOf(e).replace('\n', ' '));
            }
        }
        System.exit(0);
    }

    private static void read() {
        try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) LINES.add(Optional.of(line));
        } catch (java.io.IOException e) {
            e.printStackTrace();
        }
        LINES.add(Optional.empty());
    }

    private static Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    private static void create(JsonNode c) throws Exception {
        try (Admin admin = admin()) {
            NewTopic topic = new NewTopic(c.get("topic").asText(), c.get("partitions").asInt(), (short) 1);
            admin.createTopics(List.of(topic)).all().get(20, TimeUnit.SECONDS);
        }
    }

    private static void delete(JsonNode c) throws Exception {
        try (Admin admin = admin()) {
            admin.deleteTopics(List.of(c.get("topic").asText())).all().get(20, TimeUnit.SECONDS);
        }
    }

    private static byte[] bytes(JsonNode node) {
        return node == null || node.isNull() ? null : Base64.getDecoder().decode(node.asText());
    }

    private static void produce(JsonNode c) throws Exception {
        Map<String, Object> config = Map.of(
            "bootstrap.servers", bootstrap, "compression.type", c.get("codec").asText(), "acks", "all",
            "enable.idempotence", c.get("idempotent").asBoolean(), "linger.ms", 20);
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<?>> sent = new ArrayList<>();
            for (JsonNode r : c.get("records")) {
                List<Header> headers = new ArrayList<>();
                for (JsonNode h : r.get("headers")) headers.add(new RecordHeader(h.get(0).asText(), bytes(h.get(1))));
                Integer partition = r.get("partition").isNull() ? null : r.get("partition").asInt();
                Long timestamp = r.hasNonNull("timestamp") ? r.get("timestamp").asLong() : null;
                sent.add(producer.send(new ProducerRecord<>(
                    c.get("topic").asText(), partition, timestamp, bytes(r.get("key")), bytes(r.get("value")), headers)));
            }
            for (Future<?> one : sent) one.get(30, TimeUnit.SECONDS);
        }
    }

    private static KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(more);
        config.put("bootstrap.servers", bootstrap);
        config.put("enable.auto.commit", false);
        config.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static void check(long start, String what) {
        if (System.nanoTime() - start > DEADLINE_NS) throw new IllegalStateException("no end of " + what + " before the deadline");
    }

    private static void consume(JsonNode c) throws Exception {
        try (var consumer = consumer(Map.of())) {
            List<TopicPartition> parts = new ArrayList<>();
            for (JsonNode topic : c.get("topics"))
                for (PartitionInfo p : consumer.partitionsFor(topic.asText())) parts.add(new TopicPartition(p.topic(), p.partition()));
            consumer.assign(parts);
            if (c.get("from").isNumber()) {
                Map<TopicPartition, Long> times = new HashMap<>();
                for (TopicPartition p : parts) times.put(p, c.get("from").asLong());
                for (var found : consumer.offsetsForTimes(times).entrySet()) {
                    if (found.getValue() == null) consumer.seekToEnd(List.of(found.getKey()));
                    else consumer.seek(found.getKey(), found.getValue().offset());
                }
            } else if (c.get("from").asText().equals("latest")) {
                consumer.seekToEnd(parts);
            } else {
                consumer.seekToBeginning(parts);
            }
            int left = c.get("count").asInt();
            for (long start = System.nanoTime(); left > 0; check(start, "consume")) {
                for (var record : consumer.poll(Duration.ofMillis(100))) if (left-- > 0) show(record);
            }
        }
    }

    private static void show(ConsumerRecord<byte[], byte[]> r) throws Exception {
        ObjectNode out = JSON.createObjectNode();
        out.put("topic", r.topic()).put("partition", r.partition()).put("offset", r.offset()).put("timestamp", r.timestamp());
        out.put("key", r.key()).put("value", r.value());
        ArrayNode headers = out.putArray("headers");
        for (Header h : r.headers()) headers.addArray().add(h.key()).add(h.value());
        System.out.println(JSON.writeValueAsString(out));
    }

    private static void group(JsonNode c) throws Exception {
        Map<String, Object> config = Map.of(
            "group.id", c.get("group").asText(), "heartbeat.interval.ms", 300, "session.timeout.ms", 6000);
        try (var consumer = consumer(config)) {
            consumer.subscribe(List.of(c.get("topic").asText()));
            boolean counted = !c.get("count").isNull();
            int left = counted ? c.get("count").asInt() : Integer.MAX_VALUE;
            long start = System.nanoTime();
            while (left > 0 && (counted || LINES.poll() == null)) {
                check(start, "group");
                for (var r : consumer.poll(Duration.ofMillis(100))) {
                    if (left-- <= 0) break;
                    show(r);
                    consumer.commitSync(Map.of(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1)));
                }
            }
        }
    }
}
