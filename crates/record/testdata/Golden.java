// Writes batches.txt with Apache Kafka's own classes: java -cp 'kafka-clients.jar:...' Golden.java > batches.txt
// With a file of `name hex` lines as argument it reads batches instead and prints their records, for comparison with ours.
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.common.compress.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;

public class Golden {
    static byte[] bytes(String s) { return s.getBytes(StandardCharsets.UTF_8); }

    static void print(String name, ByteBuffer b) {
        byte[] out = new byte[b.remaining()];
        b.duplicate().get(out);
        System.out.println(name + " " + HexFormat.of().formatHex(out));
    }

    static SimpleRecord[] records(boolean headers) {
        Header[] h = { new RecordHeader("h", bytes("1")), new RecordHeader("h", (byte[]) null) };
        byte[] longValue = bytes("the quick brown fox ".repeat(200));
        return new SimpleRecord[] {
            new SimpleRecord(1700000000000L, bytes("k0"), bytes("v0")),
            headers ? new SimpleRecord(1700000000500L, null, longValue, h) : new SimpleRecord(1700000000500L, null, longValue),
            new SimpleRecord(1700000000100L, bytes("k2"), null),
        };
    }

    static Compression[] codecs(byte magic) {
        List<Compression> all = new ArrayList<>(List.of(Compression.NONE, Compression.gzip().build(),
            Compression.snappy().build(), Compression.lz4().build()));
        if (magic == 2) all.add(Compression.zstd().build());
        return all.toArray(new Compression[0]);
    }

    public static void main(String[] args) throws Exception {
        if (args.length > 0) { read(args[0]); return; }
        for (byte magic = 0; magic <= 2; magic++)
            for (Compression c : codecs(magic)) {
                MemoryRecords m = MemoryRecords.withRecords(magic, 40L, c, TimestampType.CREATE_TIME, records(magic == 2));
                print("magic" + magic + "-" + c.type().name, m.buffer());
            }
        print("log-append-time-1", MemoryRecords.withRecords((byte) 1, 40L, Compression.gzip().build(), TimestampType.LOG_APPEND_TIME, records(false)).buffer().duplicate());
        print("transactional", MemoryRecords.withTransactionalRecords(40L, Compression.NONE, 7000L, (short) 3, 2147483646, 9, records(true)).buffer());
        print("end-txn-commit", MemoryRecords.withEndTransactionMarker(50L, 1700000000000L, 9, 7000L, (short) 3, new EndTransactionMarker(ControlRecordType.COMMIT, 12)).buffer());
        print("end-txn-abort", MemoryRecords.withEndTransactionMarker(50L, 1700000000000L, 9, 7000L, (short) 3, new EndTransactionMarker(ControlRecordType.ABORT, 12)).buffer());
        print("kraft-version", MemoryRecords.withKRaftVersionRecord(3L, 1700000000000L, 1, ByteBuffer.allocate(200), new KRaftVersionRecord().setKRaftVersion((short) 1)).buffer());
        ByteBuffer horizon = ByteBuffer.allocate(1000);
        MemoryRecordsBuilder b = new MemoryRecordsBuilder(new org.apache.kafka.common.utils.ByteBufferOutputStream(horizon), (byte) 2, Compression.NONE, TimestampType.CREATE_TIME, 60L, -1L, -1L, (short) -1, -1, false, false, 4, 1000, 1800000000000L);
        b.appendWithOffset(61L, 1700000000000L, bytes("k"), null);
        b.appendWithOffset(65L, 1700000000001L, bytes("l"), null);
        b.overrideLastOffset(70L);
        print("delete-horizon", b.build().buffer());
    }

    static void read(String file) throws Exception {
        for (String line : Files.readAllLines(Path.of(file))) {
            String[] parts = line.split(" ");
            MemoryRecords m = MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(parts[1])));
            StringBuilder s = new StringBuilder(parts[0]);
            for (RecordBatch batch : m.batches()) {
                batch.ensureValid();
                s.append(" base " + batch.baseOffset() + " last " + batch.lastOffset() + " max " + batch.maxTimestamp());
                for (org.apache.kafka.common.record.internal.Record r : batch) {
                    s.append(" | " + r.offset() + " " + r.timestamp() + " " + r.sequence());
                    s.append(" " + (r.hasKey() ? r.keySize() : -1) + " " + (r.hasValue() ? r.valueSize() : -1));
                    for (Header h : r.headers()) s.append(" " + h.key() + "=" + (h.value() == null ? "null" : new String(h.value())));
                }
            }
            System.out.println(s);
        }
    }
}
