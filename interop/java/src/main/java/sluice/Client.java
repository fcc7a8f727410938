package sluice;

import jakarta.websocket.ClientEndpointConfig;
import jakarta.websocket.CloseReason;
import jakarta.websocket.Endpoint;
import jakarta.websocket.EndpointConfig;
import jakarta.websocket.MessageHandler;
import jakarta.websocket.Session;
import java.net.URI;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.glassfish.tyrus.client.ClientManager;

/** A Tyrus client: sends `up` random bytes, receives until the server closes, prints what it saw as JSON. */
public final class Client {
    public static void main(String[] args) throws Exception {
        String url = args[0];
        String token = args[1];
        int up = Integer.parseInt(args[2]);
        int stall = Integer.parseInt(args[3]);
        MessageDigest sent = MessageDigest.getInstance("SHA-256");
        MessageDigest received = MessageDigest.getInstance("SHA-256");
        long[] count = {0};
        CloseReason[] reason = {null};
        String[] protocol = {""};
        CountDownLatch closed = new CountDownLatch(1);
        ClientManager manager = ClientManager.createClient();
        manager.setDefaultMaxBinaryMessageBufferSize(4 * 1024 * 1024);
        ClientEndpointConfig config = ClientEndpointConfig.Builder.create()
            .preferredSubprotocols(List.of("binary"))
            .configurator(new ClientEndpointConfig.Configurator() {
                @Override
                public void beforeRequest(Map<String, List<String>> headers) {
                    headers.put("Authorization", List.of("Bearer " + token));
                }
            })
            .build();
        Endpoint endpoint = new Endpoint() {
            @Override
            public void onOpen(Session session, EndpointConfig ignored) {
                protocol[0] = session.getNegotiatedSubprotocol();
                session.addMessageHandler(new MessageHandler.Whole<ByteBuffer>() {
                    @Override
                    public void onMessage(ByteBuffer bytes) {
                        if (count[0] == 0 && stall > 0) pause(stall);
                        count[0] += bytes.remaining();
                        received.update(bytes);
                    }
                });
            }

            @Override
            public void onClose(Session session, CloseReason why) {
                reason[0] = why;
                closed.countDown();
            }
        };
        Session session = manager.connectToServer(endpoint, config, URI.create(url));
        Random random = new Random(1);
        byte[] block = new byte[65536];
        for (int at = 0; at < up; at += block.length) {
            random.nextBytes(block);
            sent.update(block);
            session.getBasicRemote().sendBinary(ByteBuffer.wrap(block));
        }
        if (!closed.await(60, TimeUnit.SECONDS)) throw new IllegalStateException("no close within 60 s");
        System.out.printf(
            "{\"sent\":\"%s\",\"received\":\"%s\",\"count\":%d,\"code\":%d,\"reason\":\"%s\",\"protocol\":\"%s\"}%n",
            HexFormat.of().formatHex(sent.digest()), HexFormat.of().formatHex(received.digest()), count[0],
            reason[0].getCloseCode().getCode(), reason[0].getReasonPhrase(), protocol[0]);
        System.exit(0);
    }

    private static void pause(int milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }
}
