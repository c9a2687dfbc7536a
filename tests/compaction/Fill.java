// Writes what compaction has to decide about: keys again and again in every codec, tombstones, idempotent producers,
// transactions that commit and that abort. Run by tests/compaction.rs: Fill BOOTSTRAP STAGE.

import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

public class Fill {
    static final String TOPIC = "table";
    static final Random RANDOM = new Random(42);

    static KafkaProducer<byte[], byte[]> producer(String bootstrap, String codec, String transactionalId) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("compression.type", codec);
        p.put("linger.ms", "2");
        p.put("batch.size", "8192");
        p.put("enable.idempotence", String.valueOf(!codec.equals("gzip")));
        p.put("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        p.put("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        if (transactionalId != null) p.put("transactional.id", transactionalId);
        return new KafkaProducer<>(p);
    }

    static void send(KafkaProducer<byte[], byte[]> to, String prefix, int keys, int records) {
        for (int i = 0; i < records; i++) {
            byte[] value = null;
            if (RANDOM.nextInt(8) > 0) {
                value = new byte[100 + RANDOM.nextInt(400)];
                RANDOM.nextBytes(value);
            }
            ProducerRecord<byte[], byte[]> r =
                new ProducerRecord<>(TOPIC, 0, (prefix + RANDOM.nextInt(keys)).getBytes(), value);
            if (i % 5 == 0) r.headers().add("h", new byte[] {(byte) i}).add("h", null);
            to.send(r);
        }
        to.flush();
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        int stage = Integer.parseInt(args[1]);
        RANDOM.setSeed(stage);
        if (stage == 0) {
            Properties p = new Properties();
            p.put("bootstrap.servers", bootstrap);
            try (Admin admin = Admin.create(p)) {
                Map<String, String> configs = Map.of("cleanup.policy", "compact", "segment.bytes", "1048576",
                    "min.cleanable.dirty.ratio", "0.01", "delete.retention.ms", "1000", "index.interval.bytes", "4096");
                admin.createTopics(List.of(new NewTopic(TOPIC, 1, (short) 1).configs(configs))).all().get();
            }
        }
        for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
            try (KafkaProducer<byte[], byte[]> to = producer(bootstrap, codec, null)) {
                // Keys that only this stage has, so that some batches lose all of their records and some none.
                send(to, stage + "-" + codec + "-", 40, 400);
                send(to, "all-", 300, 1500);
            }
        }
        for (int id = 0; id < 3; id++) {
            try (KafkaProducer<byte[], byte[]> to = producer(bootstrap, "none", "txn-" + stage + "-" + id)) {
                to.initTransactions();
                for (int n = 0; n < 6; n++) {
                    to.beginTransaction();
                    send(to, "all-", 300, 60);
                    if ((n + id) % 3 == 0) to.abortTransaction(); else to.commitTransaction();
                }
            }
        }
        // The active segment is left alone: this is what lies in it, and a little more.
        try (KafkaProducer<byte[], byte[]> to = producer(bootstrap, "none", null)) {
            send(to, "last-" + stage + "-", 1000000, 4200);
        }
    }
}
