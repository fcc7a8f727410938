import { WebSocket as WsWebSocket } from 'ws'
import { W3cWebSocketCarrier, type WebSocketLike } from '#src/carriers/index.js'
import { parseServerUrl } from '#src/config/index.js'
import { openWebSocket, SESSION_PROTOCOL, WebSocketCarrier } from '#src/node/index.js'
import { pairWith } from '../helpers/carrier-pair.js'
import { carrierSuite } from '../suites/carrier.js'

const protocols = [SESSION_PROTOCOL]

carrierSuite("Node's, random masks", () =>
  pairWith(async (port) => {
    const { ws } = await openWebSocket(parseServerUrl(`ws://127.0.0.1:${port}`), '/', { protocols })
    return new WebSocketCarrier(ws)
  }),
)

async function openW3c(Implementation: new (url: string, protocols: string[]) => WebSocketLike, port: number) {
  const ws = new Implementation(`ws://127.0.0.1:${port}/`, [...protocols])
  await new Promise((resolve) => (ws.onopen = resolve))
  return new W3cWebSocketCarrier(ws)
}

carrierSuite("the W3C's, by the ws package", () =>
  pairWith((port) => openW3c(WsWebSocket as unknown as new (url: string, protocols: string[]) => WebSocketLike, port)),
)

// Node has it from 22 on; on 20 the package stands for it.
const own = (globalThis as { WebSocket?: new (url: string, protocols: string[]) => WebSocketLike }).WebSocket
if (own !== undefined) carrierSuite("the W3C's, Node's own", () => pairWith((port) => openW3c(own, port)))
