import http, { type IncomingMessage } from 'node:http'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer } from 'ws'
import { type Listening, listen } from './net.js'

/** Something in the way to a server: where to go instead of to the server itself. */
export interface Obstacle {
  readonly port: number
  close(): Promise<void>
}

/** What passes a box that knows nothing of HTTP: bytes of one connection, each way. */
export interface BoxRules {
  /** Sees what the client says; undefined swallows it. */
  up?(bytes: Buffer, connection: Connection): Buffer | undefined
  down?(bytes: Buffer, connection: Connection): Buffer | undefined
  /** Bytes per second that pass each way, all connections together. */
  readonly rate?: number
  begun?(connection: Connection): void
}

export interface Connection {
  /** Pieces that came from the client. */
  pieces: number
  bytes: number
  cut(): void
}

/** A box on the line. */
export async function box(to: number, rules: BoxRules): Promise<Obstacle> {
  const paces = rules.rate === undefined ? undefined : [new Pace(rules.rate), new Pace(rules.rate)]
  const listening = await listen((socket) => {
    const far = net.connect({ port: to, host: '127.0.0.1', noDelay: true })
    far.on('error', () => {})
    const connection: Connection = {
      pieces: 0,
      bytes: 0,
      cut: () => {
        if (!socket.destroyed) socket.resetAndDestroy()
        far.destroy()
      },
    }
    rules.begun?.(connection)
    const pump = (from: net.Socket, into: net.Socket, change: BoxRules['up'], pace: Pace | undefined) => {
      const pass = (bytes: Buffer) => {
        if (into.destroyed || !into.writable || into.write(bytes)) return
        from.pause()
        into.once('drain', () => from.resume())
      }
      let before = Promise.resolve()
      const inTurn = (act: () => void) => {
        if (pace === undefined) act()
        else before = before.then(act)
      }
      from.on('data', (bytes: Buffer) => {
        connection.bytes += bytes.length
        const passed = change === undefined ? bytes : change(bytes, connection)
        if (passed === undefined || into.destroyed) return
        if (pace === undefined) return pass(passed)
        from.pause()
        before = before
          .then(() => pace.take(passed.length))
          .then(() => {
            pass(passed)
            from.resume()
          })
      })
      from.on('end', () => inTurn(() => into.end()))
      from.on('close', () => inTurn(() => into.destroy()))
    }
    pump(
      socket,
      far,
      (bytes, of) => {
        of.pieces++
        return rules.up === undefined ? bytes : rules.up(bytes, of)
      },
      paces?.[0],
    )
    pump(far, socket, rules.down, paces?.[1])
  })
  return { port: listening.port, close: listening.close }
}

/** So many bytes a second, one after another. */
class Pace {
  readonly #rate: number
  #free = 0

  constructor(rate: number) {
    this.#rate = rate
  }

  async take(bytes: number): Promise<void> {
    const now = performance.now()
    this.#free = Math.max(now, this.#free) + (bytes / this.#rate) * 1000
    await new Promise((resolve) => setTimeout(resolve, this.#free - now))
  }
}

export interface ReverseProxyRules {
  /** What it does with an upgrade; default: passes the request on without it. */
  upgrade?(request: IncomingMessage, socket: Duplex): void
  readonly buffersRequests?: boolean
  readonly buffersAnswers?: boolean
  /** Requests that it passes on at once, of all clients together. */
  readonly atOnce?: number
  /** Methods that it lets through. */
  readonly methods?: readonly string[]
}

/** A reverse proxy that speaks HTTP/1.1 and knows no WebSocket. */
export async function reverseProxy(to: number, rules: ReverseProxyRules): Promise<Obstacle> {
  let running = 0
  const waiting: (() => void)[] = []
  const sockets = new Set<Duplex>()
  const server = http.createServer({ requestTimeout: 0 })
  const pass = (request: IncomingMessage, response: http.ServerResponse, body: Buffer | undefined) => {
    const headers = { ...request.headers, connection: 'close' }
    delete headers.upgrade
    const on = http.request(
      { port: to, host: '127.0.0.1', method: request.method, path: request.url, headers, agent: false },
      (answer) => {
        const { connection: _, 'transfer-encoding': __, 'keep-alive': ___, ...fields } = answer.headers
        if (!rules.buffersAnswers) {
          response.writeHead(answer.statusCode!, fields)
          return void answer.pipe(response)
        }
        const pieces: Buffer[] = []
        answer.on('data', (piece: Buffer) => pieces.push(piece))
        answer.on('error', () => response.destroy())
        answer.on('end', () => {
          const whole = Buffer.concat(pieces)
          response.writeHead(answer.statusCode!, { ...fields, 'content-length': whole.length })
          response.end(whole)
        })
      },
    )
    on.on('error', () => response.destroy())
    response.on('close', () => on.destroy())
    if (body === undefined) request.pipe(on)
    else on.end(body)
  }
  const enter = (request: IncomingMessage, response: http.ServerResponse) => {
    running++
    response.once('close', () => {
      running--
      waiting.shift()?.()
    })
    if (!rules.buffersRequests) return pass(request, response, undefined)
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => pass(request, response, Buffer.concat(pieces)))
    return undefined
  }
  const take = (request: IncomingMessage, response: http.ServerResponse) => {
    if (rules.methods !== undefined && !rules.methods.includes(request.method!)) {
      response.writeHead(405, { Connection: 'close' }).end('not allowed here\n')
      return
    }
    if (running < (rules.atOnce ?? Number.POSITIVE_INFINITY)) return enter(request, response)
    let gone = false
    response.once('close', () => (gone = true))
    waiting.push(() => (gone ? waiting.shift()?.() : enter(request, response)))
    return undefined
  }
  server.on('request', take)
  server.on('upgrade', (request, socket) => {
    socket.on('error', () => {})
    if (rules.upgrade !== undefined) return rules.upgrade(request, socket)
    const response = new http.ServerResponse(request)
    response.assignSocket(socket as net.Socket)
    response.once('finish', () => socket.end())
    take(request, response)
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as net.AddressInfo).port,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A proxy that opens WebSockets of its own, and answers pings itself. */
export async function webSocketProxy(to: number): Promise<Obstacle> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: ([first]) => first ?? false })
  server.on('connection', (near, request) => {
    const protocols = request.headers['sec-websocket-protocol']?.split(/, */) ?? []
    const { authorization = '' } = request.headers
    const far = new WebSocket(`ws://127.0.0.1:${to}${request.url}`, protocols, { headers: { authorization } })
    const early: Buffer[] = []
    near.on('message', (data: Buffer) => (far.readyState === WebSocket.OPEN ? far.send(data) : early.push(data)))
    far.on('open', () => {
      for (const data of early) far.send(data)
    })
    far.on('message', (data: Buffer) => near.send(data))
    near.on('close', () => far.terminate())
    far.on('close', () => near.terminate())
    far.on('error', () => near.terminate())
    near.on('error', () => {})
  })
  await new Promise((resolve) => server.once('listening', resolve))
  return {
    port: (server.address() as net.AddressInfo).port,
    close: async () => {
      for (const client of server.clients) client.terminate()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Something that answers every request itself. */
export async function answersItself(answer: string): Promise<Obstacle> {
  const listening: Listening = await listen((socket) => {
    socket.once('data', () => socket.end(answer))
  })
  return { port: listening.port, close: listening.close }
}
