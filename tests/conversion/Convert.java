// Writes the same batches to topics of every compression.type, level and timestamp type, by producers of every codec,
// idempotent and not, and prints what the broker answered. Run by tests/conversion.rs: Convert BOOTSTRAP TIMESTAMP.

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.config.ConfigResource;

public class Convert {
    // What topics say of compression; an empty name leaves it to the broker.
    static final String[][] COMPRESSIONS = {
        {"producer"}, {"uncompressed"}, {"snappy"},
        {"gzip"}, {"gzip", "compression.gzip.level", "1"}, {"gzip", "compression.gzip.level", "9"},
        {"lz4"}, {"lz4", "compression.lz4.level", "1"}, {"lz4", "compression.lz4.level", "17"},
        {"zstd"}, {"zstd", "compression.zstd.level", "-5"}, {"zstd", "compression.zstd.level", "19"},
        {""},
    };
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static final String[] TIMES = {"CreateTime", "LogAppendTime"};

    static Properties properties(String bootstrap) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        return p;
    }

    static KafkaProducer<byte[], byte[]> producer(String bootstrap, String codec, boolean idempotent) {
        Properties p = properties(bootstrap);
        p.put("compression.type", codec);
        p.put("enable.idempotence", String.valueOf(idempotent));
        // A batch is what lies between two flushes.
        p.put("linger.ms", "100000");
        p.put("batch.size", "1000000");
        p.put("delivery.timeout.ms", "200000");
        p.put("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        p.put("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        return new KafkaProducer<>(p);
    }

    static void send(KafkaProducer<byte[], byte[]> to, String topic, long timestamp, int records, int size)
            throws Exception {
        Random random = new Random(records);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = 0; i < records; i++) {
            byte[] key = i % 3 == 0 ? null : ("key " + random.nextInt(20)).getBytes();
            byte[] value = i % 7 == 6 ? null : ("value ".repeat(size / 6) + random.nextInt(1000)).getBytes();
            // The highest timestamp lies somewhere in the middle, twice.
            long time = timestamp - Math.abs(records / 2 - i) / 2;
            ProducerRecord<byte[], byte[]> r = new ProducerRecord<>(topic, 0, time, key, value);
            if (i % 5 == 0) r.headers().add("h", new byte[] {(byte) i}).add("null", null);
            sent.add(to.send(r));
        }
        to.flush();
        StringBuilder answers = new StringBuilder(topic + " " + records + " x " + size + ":");
        for (Future<RecordMetadata> f : sent) {
            try {
                RecordMetadata m = f.get();
                boolean ours = m.timestamp() <= timestamp && m.timestamp() > timestamp - 1000;
                answers.append(" ").append(m.offset()).append(ours ? "c" : "a");
            } catch (ExecutionException e) {
                answers.append(" ").append(e.getCause().getClass().getSimpleName());
            }
        }
        System.out.println(answers);
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        long timestamp = Long.parseLong(args[1]);
        List<String> topics = new ArrayList<>();
        try (Admin admin = Admin.create(properties(bootstrap))) {
            // What topics get that leave it to the broker.
            ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "");
            admin.incrementalAlterConfigs(Map.of(broker, List.of(
                new AlterConfigOp(new ConfigEntry("compression.type", "zstd"), AlterConfigOp.OpType.SET),
                new AlterConfigOp(new ConfigEntry("compression.zstd.level", "12"), AlterConfigOp.OpType.SET)))).all().get();
            List<NewTopic> made = new ArrayList<>();
            for (String time : TIMES) {
                for (String[] c : COMPRESSIONS) {
                    Map<String, String> configs = new LinkedHashMap<>();
                    configs.put("message.timestamp.type", time);
                    if (!c[0].isEmpty()) configs.put("compression.type", c[0]);
                    if (c.length > 1) configs.put(c[1], c[2]);
                    String name = (c[0].isEmpty() ? "broker" : c[0]) + (c.length > 1 ? "_" + c[2] : "") + "_" + time;
                    topics.add(name);
                    made.add(new NewTopic(name, 1, (short) 1).configs(configs));
                }
            }
            for (String codec : new String[] {"uncompressed", "producer"}) {
                topics.add("small_" + codec);
                made.add(new NewTopic("small_" + codec, 1, (short) 1).configs(
                    Map.of("compression.type", codec, "max.message.bytes", "3000")));
            }
            admin.createTopics(made).all().get();
        }
        for (String codec : CODECS) {
            for (boolean idempotent : new boolean[] {false, true}) {
                try (KafkaProducer<byte[], byte[]> to = producer(bootstrap, codec, idempotent)) {
                    for (String topic : topics) {
                        send(to, topic, timestamp, 1, 10);
                        send(to, topic, timestamp, 1, 5000);
                        if (topic.startsWith("small")) continue;
                        send(to, topic, timestamp, 60, 40);
                        send(to, topic, timestamp, 400, 300);
                    }
                }
            }
        }
    }
}
