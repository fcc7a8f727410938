import { once } from 'node:events'
import type net from 'node:net'
import { Duplex, PassThrough } from 'node:stream'
import { after } from 'node:test'
import type tls from 'node:tls'
import { type ReadMode, SocketStream, StdioStream } from '#src/node/index.js'
import { metered } from '#src/server/metered.js'
import { accepted, secured } from '../helpers/accepted.js'
import { listen } from '../helpers/net.js'
import { byteStreamSuite } from '../suites/byte-stream.js'

const closers: (() => unknown)[] = []
after(async () => {
  for (const close of closers) await close()
})

for (const mode of ['onread', 'data'] as ReadMode[]) {
  byteStreamSuite(`an accepted socket, read by ${mode}`, async () => {
    const { socket, peer } = await accepted()
    return { stream: SocketStream.from(socket, undefined, mode), peer }
  })

  byteStreamSuite(`a connected socket, read by ${mode}`, async () => {
    let reached: (socket: net.Socket) => void = () => {}
    const far = new Promise<net.Socket>((resolve) => {
      reached = resolve
    })
    const server = await listen((socket) => reached(socket))
    closers.push(server.close)
    const stream = SocketStream.connect({ port: server.port, host: '127.0.0.1' }, mode)
    await once(stream.socket, 'connect')
    return { stream, peer: await far }
  })

  byteStreamSuite(`an accepted TLS connection, read by ${mode}`, async () => {
    const { socket, peer } = await secured()
    return { stream: SocketStream.from(socket, undefined, mode), peer }
  })

  byteStreamSuite(`a TLS connection of its own, read by ${mode}`, async () => {
    let stream: SocketStream | undefined
    const { socket } = await secured((port) => {
      stream = SocketStream.connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }, mode)
      return stream.socket as tls.TLSSocket
    })
    return { stream: stream!, peer: socket }
  })
}

for (const [how, rate] of [
  ['not held up', 1e12],
  ['held up again and again', 50e6],
] as const) {
  byteStreamSuite(`a socket whose bytes are counted, ${how}`, async () => {
    const { socket, peer } = await accepted()
    let until = 0
    const take = (bytes: number) => {
      const now = performance.now()
      until = Math.max(until, now) + (bytes / rate) * 1000
      return until - now < 1 ? 0 : until - now
    }
    return { stream: metered(SocketStream.from(socket), { metered: true, take, release: () => {} }), peer }
  })
}

byteStreamSuite('standard input and output', async () => {
  const input = new PassThrough()
  const output = new PassThrough()
  const peer = Duplex.from({ readable: output, writable: input })
  peer.on('error', () => {}) // destroying the stream under test ends both pipes without an end
  return { stream: new StdioStream(input, output), peer }
})
