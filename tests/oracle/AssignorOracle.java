import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.internals.AbstractPartitionAssignor;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/**
 * Says what Apache Kafka's assignors assign. A question is a line of three words: the assignor, the topics
 * ({@code topic:rack+rack/rack/-,...}, a partition between slashes) and the members
 * ({@code id;instance;rack;generation;topics;owned;userdata,...}, {@code -} for nothing); the answer is
 * {@code member=topic-partition+...,...}, or {@code !} and why there is none.
 */
public class AssignorOracle {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.US_ASCII);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                String[] words = line.split(" ");
                answer = answer(words[0], words[1], words[2]);
            } catch (RuntimeException e) {
                answer = "! " + e;
            }
            out.println(answer.replace('\n', ' '));
        }
        out.flush();
    }

    private static String answer(String name, String topics, String members) {
        Map<String, Subscription> subscriptions = new HashMap<>();
        for (String member : members.split(",")) {
            String[] parts = member.split(";");
            ByteBuffer data = parts[6].equals("-") ? null : ByteBuffer.wrap(HexFormat.of().parseHex(parts[6]));
            List<TopicPartition> owned = list(parts[5]).stream().map(AssignorOracle::partition).toList();
            Subscription s = new Subscription(list(parts[4]), data, owned, Integer.parseInt(parts[3]), text(parts[2]));
            s.setGroupInstanceId(text(parts[1]));
            subscriptions.put(parts[0], s);
        }
        Map<String, List<PartitionInfo>> infos = new HashMap<>();
        for (String topic : topics.split(",")) {
            String[] parts = topic.split(":");
            List<PartitionInfo> list = new ArrayList<>();
            for (String racks : parts[1].split("/")) {
                Node[] nodes =
                    list(racks).stream().map(r -> new Node(r.hashCode(), "h", 1, r)).toArray(Node[]::new);
                list.add(new PartitionInfo(parts[0], list.size(), null, nodes, nodes));
            }
            infos.put(parts[0], list);
        }
        Map<String, List<TopicPartition>> assignment = assignor(name).assignPartitions(infos, subscriptions);
        return new TreeMap<>(assignment).entrySet().stream()
            .map(e -> e.getKey() + "=" + e.getValue().stream().map(TopicPartition::toString).sorted()
                .collect(Collectors.joining("+")))
            .collect(Collectors.joining(","));
    }

    private static AbstractPartitionAssignor assignor(String name) {
        return switch (name) {
            case "range" -> new RangeAssignor();
            case "roundrobin" -> new RoundRobinAssignor();
            case "sticky" -> new StickyAssignor();
            case "cooperative-sticky" -> new CooperativeStickyAssignor();
            default -> throw new IllegalArgumentException("unknown assignor " + name);
        };
    }

    private static List<String> list(String text) {
        return text.equals("-") ? List.of() : Arrays.asList(text.split("\\+"));
    }

    private static Optional<String> text(String text) {
        return text.equals("-") ? Optional.empty() : Optional.of(text);
    }

    private static TopicPartition partition(String text) {
        int dash = text.lastIndexOf('-');
        return new TopicPartition(text.substring(0, dash), Integer.parseInt(text.substring(dash + 1)));
    }
}
