"""A small WebSocket-to-TCP server on Autobahn, asyncio or Twisted: what somebody would write in an afternoon.

Autobahn lets an application close with 1000 or 3000 to 4999 only, so a failed target is 4011 here instead of 1011.
"""
import sys

FRAMEWORK, LISTEN, TARGET = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

if FRAMEWORK == "asyncio":
    import asyncio
    from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol

    class Target(asyncio.Protocol):
        def __init__(self, ws):
            self.ws = ws

        def data_received(self, data):
            self.ws.sendMessage(data, isBinary=True)

        def connection_lost(self, error):
            self.ws.targetClosed(error)

    class Bridge(WebSocketServerProtocol):
        target = None
        early = b""

        async def onOpen(self):
            try:
                self.target, _ = await asyncio.get_event_loop().create_connection(lambda: Target(self), "127.0.0.1", TARGET)
                self.target.write(self.early)
            except OSError as error:
                self.sendClose(4011, f"ECONNREFUSED {error.errno}")

        def onMessage(self, payload, isBinary):
            if self.target is None:
                self.early += payload
            else:
                self.target.write(payload)

        def onClose(self, wasClean, code, reason):
            if self.target is not None:
                self.target.close()

        def targetClosed(self, error):
            if self.state == self.STATE_OPEN:
                self.sendClose(1000) if error is None else self.sendClose(4011, "ECONNRESET")
else:
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
    from twisted.internet import reactor
    from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
    from twisted.internet.error import ConnectionDone
    from twisted.internet.protocol import Protocol

    class Target(Protocol):
        def __init__(self, ws):
            self.ws = ws

        def dataReceived(self, data):
            self.ws.sendMessage(data, isBinary=True)

        def connectionLost(self, reason):
            self.ws.targetClosed(None if reason.check(ConnectionDone) else reason)

    class Bridge(WebSocketServerProtocol):
        target = None
        early = b""

        def onOpen(self):
            dialled = connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", TARGET), Target(self))
            dialled.addCallbacks(self.targetReached, lambda reason: self.sendClose(4011, "ECONNREFUSED"))

        def targetReached(self, protocol):
            self.target = protocol.transport
            self.target.write(self.early)

        def onMessage(self, payload, isBinary):
            if self.target is None:
                self.early += payload
            else:
                self.target.write(payload)

        def onClose(self, wasClean, code, reason):
            if self.target is not None:
                self.target.loseConnection()

        def targetClosed(self, error):
            if self.state == self.STATE_OPEN:
                self.sendClose(1000) if error is None else self.sendClose(4011, "ECONNRESET")


factory = WebSocketServerFactory(f"ws://127.0.0.1:{LISTEN}", protocols=["binary"])
factory.protocol = Bridge
# By default Autobahn drops the connection, and what is still queued, 1 s after its Close frame: too soon for a slow reader.
factory.setProtocolOptions(maxMessagePayloadSize=0, maxFramePayloadSize=0, closeHandshakeTimeout=60)
if FRAMEWORK == "asyncio":
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    factory.loop = loop
    loop.run_until_complete(loop.create_server(factory, "127.0.0.1", LISTEN))
    print("listening", flush=True)
    loop.run_forever()
else:
    reactor.listenTCP(LISTEN, factory, interface="127.0.0.1")
    print("listening", flush=True)
    reactor.run()
