// Apache Kafka's command line tools, many of them in one Java machine, so that each costs no start of its own.
//
//   java -cp 'JARS/*' ToolHost.java
//
// A question is a line: the class with the tool's `main`, what is typed to it, and its arguments, parted by U+001F (a
// line feed within one is U+001E). The answer is a line of three words: the exit code, standard output and standard
// error in hexadecimal. Each run has the tool's classes loaded anew, for some of them count in static fields.

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;

import org.apache.kafka.common.utils.Exit;

public class ToolHost {
    private static final long PATIENCE_MS = 60_000;

    /** The tool has ended: an error, because tools catch exceptions. */
    private static final class Ended extends Error {
        Ended() {
            super(null, null, false, false);
        }
    }

    /** Loads the tools' own classes by itself, and leaves everything else to its parent. */
    private static final class Fresh extends ClassLoader {
        Fresh() {
            super(ToolHost.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            if (!name.startsWith("org.apache.kafka.tools.") && !name.startsWith("kafka.admin.")) {
                return super.loadClass(name, resolve);
            }
            synchronized (getClassLoadingLock(name)) {
                Class<?> loaded = findLoadedClass(name);
                if (loaded != null) {
                    return loaded;
                }
                try (InputStream in = getParent().getResourceAsStream(name.replace('.', '/') + ".class")) {
                    if (in == null) {
                        throw new ClassNotFoundException(name);
                    }
                    byte[] bytes = in.readAllBytes();
                    return defineClass(name, bytes, 0, bytes.length);
                } catch (IOException e) {
                    throw new ClassNotFoundException(name, e);
                }
            }
        }
    }

    public static void main(String[] args) throws Exception {
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = System.out;
        for (String line = questions.readLine(); line != null; line = questions.readLine()) {
            List<String> words = new ArrayList<>();
            for (String word : line.split("\u001f", -1)) {
                words.add(word.replace('\u001e', '\n'));
            }
            String[] rest = words.subList(2, words.size()).toArray(String[]::new);
            answers.println(run(words.get(0), words.get(1), rest));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static String run(String name, String input, String[] args) throws InterruptedException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        PrintStream[] before = {System.out, System.err};
        InputStream inputBefore = System.in;
        int[] code = {-1};
        List<Runnable> hooks = new ArrayList<>();
        Exit.Procedure exit = (status, message) -> {
            synchronized (code) {
                if (code[0] < 0) {
                    code[0] = status;
                }
            }
            throw new Ended();
        };
        Exit.setExitProcedure(exit);
        Exit.setHaltProcedure(exit);
        Exit.setShutdownHookAdder((hook, runnable) -> hooks.add(runnable));
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        Fresh fresh = new Fresh();
        Thread thread = new Thread(() -> {
            int result = 0;
            try {
                Method main = fresh.loadClass(name).getMethod("main", String[].class);
                main.invoke(null, (Object) args);
            } catch (InvocationTargetException e) {
                if (!(e.getCause() instanceof Ended)) {
                    e.getCause().printStackTrace();
                    result = 1;
                }
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
            synchronized (code) {
                if (code[0] < 0) {
                    code[0] = result;
                }
            }
        }, "tool");
        thread.setContextClassLoader(fresh);
        thread.setDaemon(true);
        thread.start();
        thread.join(PATIENCE_MS);
        // What a real exit would run.
        for (Runnable hook : hooks) {
            try {
                hook.run();
            } catch (Throwable e) {
                e.printStackTrace();
            }
        }
        System.out.flush();
        System.err.flush();
        System.setOut(before[0]);
        System.setErr(before[1]);
        System.setIn(inputBefore);
        HexFormat hex = HexFormat.of();
        String[] words = {Integer.toString(thread.isAlive() ? 124 : code[0]), hex.formatHex(out.toByteArray()),
            hex.formatHex(err.toByteArray())};
        return String.join(" ", Arrays.asList(words));
    }
}
