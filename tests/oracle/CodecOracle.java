// The judge of the codec: Apache Kafka's own generated message classes, driven line by line.
//
//   java -cp 'JARS/*' CodecOracle.java
//
// One question per line on standard input, one answer per line on standard output: hexadecimal bytes, or `!`
// and a reason where Kafka refuses. Words are separated by one space; an empty value is `-`.
//
//   transcode NAME FROM TO HEX   reads HEX as NAME at version FROM, writes it at version TO
//   default NAME VERSION         writes a new NAME at VERSION
//   fill NAME VERSION SEED       writes a NAME with random values
//   metadata HEX                 reads and writes a metadata record's value, with its frame
//   group|transaction|share KEY VALUE   reads and writes a coordinator's record; the answer is `KEY VALUE`

import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.jar.JarFile;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.share.ShareCoordinatorRecordSerde;
import org.apache.kafka.coordinator.transaction.TransactionCoordinatorRecordSerde;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.server.common.ApiMessageAndVersion;

public class CodecOracle {
    private static final HexFormat HEX = HexFormat.of();
    private static final Map<String, Class<?>> CLASSES = new HashMap<>();
    private static final Map<Class<?>, Map<String, Field>> FIELDS = new HashMap<>();

    public static void main(String[] args) throws Exception {
        findClasses();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.US_ASCII);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                answer = answer(line.split(" "));
            } catch (InvocationTargetException e) {
                answer = "! " + e.getCause();
            } catch (Exception e) {
                answer = "! " + e;
            }
            out.println(answer.replace('\n', ' '));
        }
        out.flush();
    }

    private static String answer(String[] words) throws Exception {
        switch (words[0]) {
            case "transcode": {
                ByteBuffer bytes = bytes(words[4]);
                Message message = newMessage(words[1]);
                message.read(new ByteBufferAccessor(bytes), Short.parseShort(words[2]));
                if (bytes.hasRemaining()) {
                    return "! " + bytes.remaining() + " bytes are left over";
                }
                return write(message, Short.parseShort(words[3]));
            }
            case "default":
                return write(newMessage(words[1]), Short.parseShort(words[2]));
            case "fill": {
                Message message = newMessage(words[1]);
                short version = Short.parseShort(words[2]);
                Schema[] schemas = (Schema[]) message.getClass().getField("SCHEMAS").get(null);
                new Filler(new Random(Long.parseLong(words[3]))).fill(message, schemas[version], 0);
                return write(message, version);
            }
            case "metadata": {
                ByteBuffer bytes = bytes(words[1]);
                ApiMessageAndVersion record =
                    MetadataRecordSerde.INSTANCE.read(new ByteBufferAccessor(bytes), bytes.remaining());
                ObjectSerializationCache cache = new ObjectSerializationCache();
                ByteBuffer buffer = ByteBuffer.allocate(MetadataRecordSerde.INSTANCE.recordSize(record, cache));
                MetadataRecordSerde.INSTANCE.write(record, cache, new ByteBufferAccessor(buffer));
                return hex(buffer.array());
            }
            case "group":
                return coordinator(new GroupCoordinatorRecordSerde(), words);
            case "transaction":
                return coordinator(new TransactionCoordinatorRecordSerde(), words);
            case "share":
                return coordinator(new ShareCoordinatorRecordSerde(), words);
            default:
                throw new IllegalArgumentException("unknown question " + words[0]);
        }
    }

    private static String coordinator(CoordinatorRecordSerde serde, String[] words) {
        CoordinatorRecord record = serde.deserialize(bytes(words[1]), words[2].equals("-") ? null : bytes(words[2]));
        byte[] value = serde.serializeValue(record);
        return hex(serde.serializeKey(record)) + " " + (value == null ? "-" : hex(value));
    }

    private static String write(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            return "! " + buffer.remaining() + " bytes fewer than announced";
        }
        return hex(buffer.array());
    }

    private static ByteBuffer bytes(String hex) {
        return ByteBuffer.wrap(hex.equals("-") ? new byte[0] : HEX.parseHex(hex));
    }

    private static String hex(byte[] bytes) {
        return bytes.length == 0 ? "-" : HEX.formatHex(bytes);
    }

    private static Message newMessage(String name) throws Exception {
        Class<?> found = CLASSES.get(name);
        if (found == null) {
            found = CLASSES.get(name + "Data");
        }
        if (found == null) {
            throw new IllegalArgumentException("no class for " + name);
        }
        return (Message) found.getDeclaredConstructor().newInstance();
    }

    /** The generated classes of all jars on the class path, by simple name. */
    private static void findClasses() throws Exception {
        for (String path : System.getProperty("java.class.path").split(File.pathSeparator)) {
            if (!path.contains("kafka-") || !path.endsWith(".jar")) {
                continue;
            }
            try (JarFile jar = new JarFile(path)) {
                for (var entries = jar.entries(); entries.hasMoreElements();) {
                    String name = entries.nextElement().getName();
                    boolean generated = name.startsWith("org/apache/kafka/common/message/")
                        || name.startsWith("org/apache/kafka/common/metadata/")
                        || name.contains("/generated/");
                    if (!generated || !name.endsWith(".class") || name.contains("$") || name.contains("Json")) {
                        continue;
                    }
                    Class<?> found = Class.forName(name.substring(0, name.length() - 6).replace('/', '.'));
                    if (Message.class.isAssignableFrom(found) && !found.isInterface()) {
                        CLASSES.put(found.getSimpleName(), found);
                    }
                }
            }
        }
    }

    /** The fields of a class by name, without regard to case and underscores. */
    private static Map<String, Field> fieldsOf(Class<?> owner) {
        return FIELDS.computeIfAbsent(owner, c -> {
            Map<String, Field> fields = new HashMap<>();
            for (Field field : c.getDeclaredFields()) {
                if (!Modifier.isStatic(field.getModifiers())) {
                    field.setAccessible(true);
                    fields.put(field.getName().toLowerCase().replace("_", ""), field);
                }
            }
            return fields;
        });
    }

    /** Fills a message with random values, led by the schema that its class holds for the version. */
    private record Filler(Random random) {
        void fill(Object message, Schema schema, int depth) throws Exception {
            for (BoundField field : schema.fields()) {
                if (field.def.type instanceof TaggedFields tagged) {
                    for (var entry : new TreeMap<>(tagged.fields()).entrySet()) {
                        if (random.nextInt(4) != 0) {
                            set(message, entry.getValue().name, entry.getValue().type, depth);
                        }
                    }
                    unknownTags((Message) message, tagged);
                } else {
                    set(message, field.def.name, field.def.type, depth);
                }
            }
        }

        private void unknownTags(Message message, TaggedFields known) {
            for (int tag = 0; tag < 6; tag++) {
                if (!known.fields().containsKey(tag) && random.nextInt(4) == 0) {
                    byte[] data = new byte[random.nextInt(12)];
                    random.nextBytes(data);
                    message.unknownTaggedFields().add(new RawTaggedField(tag, data));
                }
            }
        }

        private void set(Object message, String name, Type type, int depth) throws Exception {
            Field field = fieldsOf(message.getClass()).get(name.replace("_", ""));
            if (field == null) {
                throw new IllegalStateException(message.getClass() + " has no field " + name);
            }
            java.lang.reflect.Type element = field.getGenericType();
            field.set(message, value(type, field.getType(), element, depth));
        }

        private Object value(Type type, Class<?> target, java.lang.reflect.Type generic, int depth) throws Exception {
            if (type.isNullable() && random.nextInt(4) == 0) {
                return null;
            }
            if (type.isArray()) {
                return array(type.arrayElementType().get(), target, generic, depth);
            }
            if (type instanceof Schema schema) {
                Object struct = target.getDeclaredConstructor().newInstance();
                fill(struct, schema, depth + 1);
                return struct;
            }
            if (type == Type.UINT16) {
                return random.nextInt(0x10000);
            } else if (type == Type.UNSIGNED_INT32) {
                return random.nextLong() & 0xffffffffL;
            } else if (target == boolean.class) {
                return random.nextBoolean();
            } else if (target == byte.class || target == Byte.class) {
                return (byte) random.nextInt();
            } else if (target == short.class || target == Short.class) {
                return (short) random.nextInt();
            } else if (target == int.class || target == Integer.class) {
                return random.nextInt();
            } else if (target == long.class || target == Long.class) {
                return random.nextLong();
            } else if (target == double.class) {
                return random.nextGaussian();
            } else if (target == Uuid.class) {
                return random.nextInt(8) == 0 ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong());
            } else if (target == String.class) {
                return text();
            }
            byte[] content = new byte[random.nextInt(6) == 0 ? 5000 : random.nextInt(30)];
            random.nextBytes(content);
            if (target == byte[].class) {
                return content;
            } else if (target == ByteBuffer.class) {
                return ByteBuffer.wrap(content);
            } else if (target == BaseRecords.class) {
                return MemoryRecords.readableRecords(ByteBuffer.wrap(content));
            }
            throw new IllegalStateException("no value for " + target + ", " + type);
        }

        @SuppressWarnings("unchecked")
        private Object array(Type element, Class<?> target, java.lang.reflect.Type generic, int depth) throws Exception {
            Collection<Object> array;
            Class<?> elementClass;
            if (target == List.class) {
                array = new ArrayList<>();
                elementClass = (Class<?>) ((ParameterizedType) generic).getActualTypeArguments()[0];
            } else {
                array = (Collection<Object>) target.getDeclaredConstructor().newInstance();
                elementClass = (Class<?>) ((ParameterizedType) target.getGenericSuperclass()).getActualTypeArguments()[0];
            }
            int length = random.nextInt(depth > 2 ? 2 : 4);
            for (int i = 0; i < length; i++) {
                array.add(value(element, elementClass, elementClass, depth));
            }
            return array;
        }

        private String text() {
            String[] pieces = {"a", "topic-", "0", "\u0000", "\u00e9", "\u4e2d", "\ud83e\udd80", " "};
            StringBuilder text = new StringBuilder();
            int length = random.nextInt(40) == 0 ? 5000 : random.nextInt(8);
            for (int i = 0; i < length; i++) {
                text.append(pieces[random.nextInt(pieces.length)]);
            }
            return text.toString();
        }
    }
}
