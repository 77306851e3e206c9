// A client of jnats: publishes numbers, counts what it receives, and tells what happens to it.
//
// Usage: java -cp LIB/* Client.java URL NAME. Ends when its standard input does.

import io.nats.client.*;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

public class Client {
    static final long EVERY_MS = 2;

    static synchronized void tell(String event, String text, String more) {
        System.out.printf("{\"at\": %.6f, \"event\": \"%s\", \"text\": \"%s\"%s}%n",
            System.currentTimeMillis() / 1000.0, event, text.replace("\\", "").replace("\"", "'").replace("\n", " "), more);
        System.out.flush();
    }

    static String named(ConnectionListener.Events event) {
        return switch (event) {
            case DISCONNECTED -> "disconnected";
            case RECONNECTED -> "reconnected";
            case LAME_DUCK -> "lame_duck";
            default -> event.name().toLowerCase();
        };
    }

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0], name = arguments[1];
        Options options = new Options.Builder()
            .server(url)
            .connectionName(name)
            .connectionListener((connection, event) -> tell(named(event), "", ""))
            .errorListener(new ErrorListener() {
                public void errorOccurred(Connection connection, String error) {
                    tell("error", error, "");
                }

                public void exceptionOccurred(Connection connection, Exception exception) {
                    tell("error", String.valueOf(exception), "");
                }
            })
            .build();
        Connection connection = Nats.connect(options);
        AtomicLong received = new AtomicLong();
        connection.createDispatcher(message -> received.incrementAndGet()).subscribe("down." + name);
        connection.flush(Duration.ofSeconds(5));
        AtomicBoolean over = new AtomicBoolean();
        Thread waiting = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (java.io.IOException ignored) {
                // its end is all that matters
            }
            over.set(true);
        });
        waiting.setDaemon(true);
        waiting.start();
        long published = 0, refused = 0;
        while (!over.get()) {
            try {
                connection.publish("up." + name, Long.toString(published).getBytes());
                published++;
            } catch (RuntimeException exception) {
                refused++;
                if (refused == 1) {
                    tell("refused", String.valueOf(exception), "");
                }
            }
            Thread.sleep(EVERY_MS);
        }
        connection.flush(Duration.ofSeconds(5));
        tell("over", "", String.format(", \"published\": %d, \"refused\": %d, \"received\": %d", published, refused, received.get()));
        System.exit(0);
    }
}
