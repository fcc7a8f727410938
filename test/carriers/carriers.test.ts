import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { WebSocket as WsWebSocket } from 'ws'
import { W3cWebSocketCarrier, type WebSocketLike } from '#src/carriers/index.js'
import { parseServerUrl } from '#src/config/index.js'
import {
  openWebSocket,
  SESSION_PROTOCOL,
  SocketStream,
  sha1Base64,
  WebSocketCarrier,
  WebSocketStream,
} from '#src/node/index.js'
import { checkRequest, formatAccept } from '#src/websocket/index.js'
import { type CarrierPair, carrierSuite } from '../suites/carrier.js'

/** A carrier of ours at the server's end, and whatever `open` makes at the client's. */
async function pairWith(open: (port: number) => Promise<CarrierPair['a']>): Promise<CarrierPair> {
  const sockets: Socket[] = []
  let accepted: (carrier: WebSocketCarrier) => void = () => {}
  const carrier = new Promise<WebSocketCarrier>((resolve) => (accepted = resolve))
  const server = http.createServer()
  server.on('upgrade', (request, socket, head) => {
    const fields = Object.entries(request.headers).map(([name, value]) => [name, String(value)] as const)
    const upgrade = checkRequest({ method: 'GET', httpVersion: '1.1', fields })
    if ('status' in upgrade) {
      socket.destroy()
      return
    }
    const stream = SocketStream.from(socket as Socket, head)
    sockets.push(stream.socket)
    stream.write(Buffer.from(formatAccept(upgrade.key, SESSION_PROTOCOL, sha1Base64)))
    accepted(new WebSocketCarrier(new WebSocketStream(stream, { role: 'server' })))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const a = await open((server.address() as AddressInfo).port)
  const b = await carrier
  return {
    a,
    b,
    cut: () => {
      for (const socket of sockets) if (!socket.destroyed) socket.resetAndDestroy()
    },
    done: async () => {
      a.destroy()
      b.destroy()
      server.close()
      server.closeAllConnections()
      await new Promise((resolve) => setTimeout(resolve, 20))
    },
  }
}

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
