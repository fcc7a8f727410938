import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Carrier } from '#src/link/index.js'
import { HttpCarriers } from '#src/server/http/carriers.js'
import { exchangeOf } from '#src/server/http/exchange.js'
import { Http2Side } from '#src/server/http/http2.js'
import { parseHttpAsked } from '#src/server/http/request.js'
import type { CarrierPair } from '../suites/carrier.js'

/** What the server says first, so that a carrier begins as it does with a HELLO; the suite never sees it. */
const FIRST = Buffer.from('first')

/**
 * A carrier over HTTP that `open` makes at the client's end, and the server's end of it.
 *
 * @param tls certificate and key, for HTTPS and HTTP/2
 */
export async function httpPairWith(
  open: (port: number) => Promise<Carrier>,
  tls?: { cert: string; key: string },
): Promise<CarrierPair> {
  const sockets = new Set<Socket>()
  let accepted: (carrier: Carrier) => void = () => {}
  const carrier = new Promise<Carrier>((resolve) => (accepted = resolve))
  const carriers = new HttpCarriers(10, (made) => {
    made.send(FIRST, FIRST.length)
    // As a session does, it listens from the beginning.
    accepted(keeping(made))
  })
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    const origin = request.headers.origin
    if (request.method === 'OPTIONS') {
      response.writeHead(204, { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': 'content-type' })
      response.end()
      return
    }
    carriers.handle(parseHttpAsked(request.url!, '')!, { name: 'somebody' }, exchangeOf(request, response, origin))
  }
  const server = tls ? https.createServer({ ...tls, ALPNProtocols: ['h2', 'http/1.1'] }) : http.createServer()
  server.on('request', onRequest)
  const side = server instanceof https.Server ? new Http2Side(server, 16_384, onRequest) : undefined
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const a = await open((server.address() as AddressInfo).port)
  const b = await carrier
  return {
    a: withoutFirst(a),
    b,
    cut: () => {
      // Requests that have just been sent are to be under way: of a carrier without one nobody sees the end.
      setTimeout(() => {
        for (const socket of sockets) socket.resetAndDestroy()
        server.close()
      }, 50)
    },
    done: async () => {
      a.destroy()
      b.destroy()
      side?.destroy()
      server.close()
      server.closeAllConnections()
      await new Promise((resolve) => setTimeout(resolve, 20))
    },
  }
}

function withoutFirst(carrier: Carrier): Carrier {
  return new Proxy(carrier, {
    get: (of, name: keyof Carrier) => {
      if (name !== 'start') return (of[name] as (() => void) | undefined)?.bind(of)
      return (events: Parameters<Carrier['start']>[0]) => {
        let first = true
        of.start({
          begin: (declared) => void (first || events.begin(declared)),
          part: (bytes, memory) => void (first || events.part(bytes, memory)),
          end: () => {
            if (!first) events.end()
            first = false
          },
          closed: (why) => events.closed(why),
        })
      }
    },
  })
}

/** Starts a carrier at once, and keeps what comes until its owner does. */
function keeping(carrier: Carrier): Carrier {
  const early: ((events: Parameters<Carrier['start']>[0]) => void)[] = []
  let events: Parameters<Carrier['start']>[0] | undefined
  const tell = (act: (to: Parameters<Carrier['start']>[0]) => void) => void (events ? act(events) : early.push(act))
  carrier.start({
    begin: (declared) => tell((to) => to.begin(declared)),
    part: (bytes) => tell((to) => to.part(bytes, undefined)),
    end: () => tell((to) => to.end()),
    closed: (why) => tell((to) => to.closed(why)),
  })
  return new Proxy(carrier, {
    get: (of, name: keyof Carrier) => {
      if (name !== 'start') return (of[name] as (() => void) | undefined)?.bind(of)
      return (to: Parameters<Carrier['start']>[0]) => {
        events = to
        for (const act of early.splice(0)) act(to)
      }
    },
  })
}
