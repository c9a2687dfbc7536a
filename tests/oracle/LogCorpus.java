// Fills a broker so that its log directory holds one of everything that DumpLogSegments can show: every codec, headers,
// nulls, both timestamp types, committed and aborted transactions, groups of each protocol, share groups, configs.
// Run: java -cp 'JARS/*' LogCorpus.java HOST:PORT
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

public class LogCorpus {
    static String bootstrap;

    static Map<String, Object> with(Object... pairs) {
        Map<String, Object> map = new HashMap<>();
        map.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < pairs.length; i += 2) map.put((String) pairs[i], pairs[i + 1]);
        return map;
    }

    static KafkaProducer<byte[], byte[]> producer(Object... pairs) {
        return new KafkaProducer<>(with(pairs), new ByteArraySerializer(), new ByteArraySerializer());
    }

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    static void fill(String topic, KafkaProducer<byte[], byte[]> p, int from, int count) throws Exception {
        for (int i = from; i < from + count; i++) {
            String key = i % 3 == 0 ? null : "key-" + i, value = i % 5 == 0 ? null : "příliš žluťoučký " + i + " x".repeat(20);
            var record = new ProducerRecord<>(topic, 0, 1700000000000L + i * 10, bytes(key), bytes(value));
            if (i % 2 == 0) {
                record.headers().add(new RecordHeader("trace", bytes("t" + i)));
                record.headers().add(new RecordHeader("trace", null));
            }
            var sent = p.send(record);
            if (i % 4 == 3) sent.get();
        }
        p.flush();
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        boolean isKafka = args.length > 1 && args[1].equals("kafka");
        try (var admin = Admin.create(with())) {
            var small = Map.of("index.interval.bytes", "100", "max.message.bytes", "100000");
            var topics = new ArrayList<NewTopic>();
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                topics.add(new NewTopic("codec-" + codec, 1, (short) 1).configs(small));
            }
            topics.add(new NewTopic("appended", 1, (short) 1).configs(Map.of("message.timestamp.type", "LogAppendTime")));
            topics.add(new NewTopic("compacted", 1, (short) 1).configs(Map.of("cleanup.policy", "compact")));
            topics.add(new NewTopic("transactions", 1, (short) 1).configs(small));
            topics.add(new NewTopic("gone", 2, (short) 1));
            admin.createTopics(topics).all().get();
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                try (var p = producer("compression.type", codec, "linger.ms", 5)) {
                    fill("codec-" + codec, p, 0, 30);
                }
            }
            try (var p = producer("enable.idempotence", false)) {
                fill("appended", p, 0, 10);
                p.send(new ProducerRecord<>("compacted", bytes("a"), bytes("1"))).get();
                p.send(new ProducerRecord<>("compacted", bytes("a"), null)).get();
            }
            admin.deleteTopics(List.of("gone")).all().get();
            var retention = new ConfigEntry("retention.ms", "86400000");
            admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, "compacted"),
                List.of(new AlterConfigOp(retention, AlterConfigOp.OpType.SET)))).all().get();
            if (isKafka || args.length > 2) {
                try (var p = producer("transactional.id", "teller")) {
                    p.initTransactions();
                    for (int i = 0; i < 4; i++) {
                        p.beginTransaction();
                        fill("transactions", p, i * 10, 10);
                        if (i % 2 == 0) p.commitTransaction(); else p.abortTransaction();
                    }
                }
            }
            if (isKafka) {
                admin.alterClientQuotas(List.of(new org.apache.kafka.common.quota.ClientQuotaAlteration(
                    new org.apache.kafka.common.quota.ClientQuotaEntity(Map.of("client-id", "c")),
                    List.of(new org.apache.kafka.common.quota.ClientQuotaAlteration.Op("producer_byte_rate", 1024.0))))).all().get();
                admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion("alice",
                    new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), "secret"))).all().get();
            }
            for (String protocol : isKafka ? List.of("classic", "consumer") : List.of("classic")) {
                try (var c = new KafkaConsumer<byte[], byte[]>(with("group.id", "group-" + protocol, "group.protocol", protocol,
                        "auto.offset.reset", "earliest", "enable.auto.commit", false), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                    c.subscribe(List.of("codec-none", "codec-lz4"));
                    int seen = 0;
                    for (int tries = 0; seen < 60 && tries < 200; tries++) seen += c.poll(Duration.ofMillis(100)).count();
                    c.commitSync();
                    c.commitSync(Map.of(new TopicPartition("codec-none", 0), new OffsetAndMetadata(7, Optional.of(0), "note")));
                }
            }
            if (isKafka) {
                admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, "sharers"),
                    List.of(new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET)))).all().get();
                try (var c = new KafkaShareConsumer<byte[], byte[]>(with("group.id", "sharers"), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                    c.subscribe(List.of("codec-none"));
                    int seen = 0;
                    for (int tries = 0; seen < 20 && tries < 100; tries++) seen += c.poll(Duration.ofMillis(100)).count();
                    c.commitSync();
                }
                admin.deleteConsumerGroups(List.of("group-classic")).all().get();
            }
        }
    }
}
