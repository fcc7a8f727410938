import { once } from 'node:events'
import net from 'node:net'
import { Duplex, PassThrough } from 'node:stream'
import { after } from 'node:test'
import tls from 'node:tls'
import { type ReadMode, SocketStream, StdioStream } from '#src/node/index.js'
import { metered } from '#src/server/metered.js'
import { selfSigned } from '#src/server/self-signed.js'
import { connectTo, listen } from '../helpers/net.js'
import { byteStreamSuite } from '../suites/byte-stream.js'

const certificate = selfSigned(['127.0.0.1'])
const closers: (() => unknown)[] = []
after(async () => {
  for (const close of closers) await close()
})

/** A socket that a server has accepted, not read yet, and the other end. */
async function accepted(): Promise<{ socket: net.Socket; peer: net.Socket }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => server.close())
  const coming = once(server, 'connection')
  const peer = await connectTo((server.address() as net.AddressInfo).port)
  const [socket] = (await coming) as [net.Socket]
  return { socket, peer }
}

/** The same over TLS: what the server has accepted, and the client's end. */
async function secured(dial = trusting): Promise<{ socket: tls.TLSSocket; peer: tls.TLSSocket }> {
  const server = tls.createServer({ ...(await certificate), allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => server.close())
  const coming = once(server, 'secureConnection')
  const peer = dial((server.address() as net.AddressInfo).port)
  await once(peer, 'secureConnect')
  const [socket] = (await coming) as [tls.TLSSocket]
  return { socket, peer }
}

function trusting(port: number): tls.TLSSocket {
  const options = { port, host: '127.0.0.1', allowHalfOpen: true, rejectUnauthorized: false }
  return tls.connect(options as tls.ConnectionOptions)
}

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
