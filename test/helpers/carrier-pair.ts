import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { SESSION_PROTOCOL, SocketStream, sha1Base64, WebSocketCarrier, WebSocketStream } from '#src/node/index.js'
import { checkRequest, formatAccept } from '#src/websocket/index.js'
import type { CarrierPair } from '../suites/carrier.js'

/** A carrier of ours at the server's end, and whatever `open` makes at the client's. */
export async function pairWith(open: (port: number) => Promise<CarrierPair['a']>): Promise<CarrierPair> {
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
