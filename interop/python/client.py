"""An Autobahn client, on asyncio or Twisted: sends `up` random bytes, receives until the server closes, prints JSON."""
import hashlib
import json
import os
import sys

FRAMEWORK, URL, TOKEN, UP, STALL = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])

if FRAMEWORK == "asyncio":
    import asyncio
    from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol
else:
    from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
    from twisted.internet import reactor

sent, received = hashlib.sha256(), hashlib.sha256()


def later(seconds, act):
    if FRAMEWORK == "asyncio":
        asyncio.get_event_loop().call_later(seconds, act)
    else:
        reactor.callLater(seconds, act)


class Client(WebSocketClientProtocol):
    count = 0

    def onConnect(self, response):
        self.chosen = response.protocol

    def onOpen(self):
        for _ in range(UP // 65536):
            block = os.urandom(65536)
            sent.update(block)
            self.sendMessage(block, isBinary=True)

    def onMessage(self, payload, isBinary):
        if self.count == 0 and STALL > 0:
            pause, resume = ("pause_reading", "resume_reading") if FRAMEWORK == "asyncio" else ("pauseProducing", "resumeProducing")
            getattr(self.transport, pause)()
            later(STALL / 1000, getattr(self.transport, resume))
        assert isBinary
        self.count += len(payload)
        received.update(payload)

    def onClose(self, wasClean, code, reason):
        print(json.dumps({
            "sent": sent.hexdigest(), "received": received.hexdigest(), "count": self.count,
            "code": code, "reason": reason or "", "protocol": getattr(self, "chosen", None) or "",
        }), flush=True)
        later(0, stop)


def stop():
    if FRAMEWORK == "asyncio":
        asyncio.get_event_loop().stop()
    else:
        reactor.stop()


factory = WebSocketClientFactory(URL, protocols=["binary"], headers={"Authorization": f"Bearer {TOKEN}"})
factory.protocol = Client
factory.setProtocolOptions(maxMessagePayloadSize=0, maxFramePayloadSize=0)
port = int(URL.split(":")[2].split("/")[0])
if FRAMEWORK == "asyncio":
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    factory.loop = loop
    loop.run_until_complete(loop.create_connection(factory, "127.0.0.1", port))
    loop.run_forever()
else:
    reactor.connectTCP("127.0.0.1", port, factory)
    reactor.run()
