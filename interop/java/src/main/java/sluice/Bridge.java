package sluice;

import jakarta.websocket.CloseReason;
import jakarta.websocket.CloseReason.CloseCodes;
import jakarta.websocket.OnClose;
import jakarta.websocket.OnMessage;
import jakarta.websocket.OnOpen;
import jakarta.websocket.Session;
import jakarta.websocket.server.ServerEndpoint;
import java.io.IOException;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.util.Map;
import org.glassfish.tyrus.server.Server;

/** A Tyrus server whose endpoint carries one TCP connection to a fixed target: what somebody would write in an afternoon. */
@ServerEndpoint("/tcp")
public final class Bridge {
    private static int target;
    private Socket socket;

    public static void main(String[] args) throws Exception {
        target = Integer.parseInt(args[1]);
        Server server = new Server("127.0.0.1", Integer.parseInt(args[0]), "/", Map.of(), Bridge.class);
        server.start();
        System.out.println("listening");
        System.in.read();
        server.stop();
        System.exit(0);
    }

    @OnOpen
    public void onOpen(Session session) throws IOException {
        session.setMaxBinaryMessageBufferSize(4 * 1024 * 1024);
        try {
            socket = new Socket("127.0.0.1", target);
            socket.setTcpNoDelay(true);
        } catch (IOException error) {
            session.close(new CloseReason(CloseCodes.UNEXPECTED_CONDITION, "ECONNREFUSED " + error.getMessage()));
            return;
        }
        Thread reader = new Thread(() -> read(session));
        reader.setDaemon(true);
        reader.start();
    }

    private void read(Session session) {
        byte[] buffer = new byte[65536];
        try {
            for (int n = socket.getInputStream().read(buffer); n >= 0; n = socket.getInputStream().read(buffer)) {
                session.getBasicRemote().sendBinary(ByteBuffer.wrap(buffer, 0, n));
            }
            close(session, CloseCodes.NORMAL_CLOSURE, "");
        } catch (IOException error) {
            close(session, CloseCodes.UNEXPECTED_CONDITION, "ECONNRESET " + error.getMessage());
        }
    }

    private static void close(Session session, CloseCodes code, String reason) {
        try {
            if (session.isOpen()) session.close(new CloseReason(code, reason));
        } catch (IOException error) {
            System.err.println(error);
        }
    }

    @OnMessage
    public void onMessage(byte[] bytes, Session session) throws IOException {
        if (socket != null) socket.getOutputStream().write(bytes);
    }

    @OnClose
    public void onClose(Session session) throws IOException {
        if (socket != null) socket.close();
    }
}
