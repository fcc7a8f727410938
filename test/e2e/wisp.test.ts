// Wisp v1 with the client that exists, @mercuryworkshop/wisp-js, and with packets of our own.
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { WebSocket } from 'ws'
import type { Server } from '#src/server/index.js'
import { NoAuth } from '#src/server/index.js'
import { need, ROOT } from '../helpers/need.js'
import { closedPort, echo, type Listening, listen, until } from '../helpers/net.js'
import { Random } from '../helpers/random.js'
import { startServer, TOKEN } from '../helpers/rig.js'

const CLIENT = join(ROOT, '.tools/wisp/node_modules/@mercuryworkshop/wisp-js/src/entrypoints/client.mjs')

interface WispStream {
  onmessage(data: Uint8Array): void
  onclose(reason: number): void
  send(data: Uint8Array): void
  close(): void
}
interface WispClient {
  onopen(): void
  onclose(): void
  wisp_version: number
  create_stream(host: string, port: number, type?: 'tcp' | 'udp'): WispStream
  close(): void
}

describe('Wisp v1', () => {
  const udp = createSocket('udp4')
  let target: Listening
  let server: Server
  let port = 0

  before(async () => {
    target = await listen(echo)
    udp.on('message', (message, from) => udp.send(message, from.port, from.address))
    udp.bind(0, '127.0.0.1')
    await once(udp, 'listening')
    const allow = [`127.0.0.1:${target.port}`, `127.0.0.1:${(udp.address() as AddressInfo).port}/udp`]
    const started = await startServer({ auth: new NoAuth(), allow }, false)
    server = started.server
    port = started.bound.port
  })

  after(async () => {
    await server.close(0)
    await target.close()
    udp.close()
  })

  it('wisp-js: several streams at once, 8 MiB each way, refusals and UDP', async (t) => {
    if (!need(t, CLIENT)) return
    const { client } = (await import(pathToFileURL(CLIENT).href)) as {
      client: { ClientConnection: new (url: string) => WispClient }
    }
    const connection = new client.ClientConnection(`ws://127.0.0.1:${port}/wisp/`)
    await new Promise<void>((resolve) => (connection.onopen = resolve))
    assert.equal(connection.wisp_version, 1, 'it asked for v2 first, and fell back')
    const sent = new Random(9).bytes(8 * 1024 * 1024)
    const swap = async () => {
      const stream = connection.create_stream('127.0.0.1', target.port)
      const got: Uint8Array[] = []
      let length = 0
      stream.onmessage = (data) => {
        got.push(data)
        length += data.length
      }
      for (let at = 0; at < sent.length; at += 30_000) stream.send(sent.subarray(at, at + 30_000))
      await until(() => length === sent.length, `${sent.length} bytes, have ${length}`, 30_000)
      assert.ok(Buffer.concat(got).equals(sent))
      stream.close()
    }
    await Promise.all([swap(), swap(), swap()])
    const closed = (host: string, to: number) =>
      new Promise<number>((resolve) => (connection.create_stream(host, to).onclose = resolve))
    assert.equal(await closed('127.0.0.1', await closedPort()), 0x48, 'blocked by the policy')
    assert.equal(await closed('not a host', 80), 0x41, 'bad info')
    const datagrams = connection.create_stream('127.0.0.1', (udp.address() as AddressInfo).port, 'udp')
    const answer = new Promise<Uint8Array>((resolve) => (datagrams.onmessage = resolve))
    datagrams.send(Buffer.from('a datagram'))
    assert.equal(Buffer.from(await answer).toString(), 'a datagram')
    connection.close()
    await until(() => target.sockets.size === 0 && server.tunnel.connections === 0, 'everything to be let go')
  })

  it('the older form, /wisp/HOST:PORT, is one TCP connection', async () => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}/wisp/127.0.0.1:${target.port}`)
    await once(ws, 'open')
    ws.send(Buffer.from('echo'))
    const [data] = (await once(ws, 'message')) as [Buffer]
    assert.equal(data.toString(), 'echo')
    ws.close()
    await once(ws, 'close')
  })

  it('whoever sends more than CONTINUE allows loses the stream; who breaks the protocol, the connection', async () => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}/wisp/`)
    const packets: Buffer[] = []
    ws.on('message', (message: Buffer) => packets.push(message))
    await once(ws, 'open')
    await until(() => packets.length === 1, 'the first CONTINUE')
    assert.deepEqual([...packets[0]!], [3, 0, 0, 0, 0, 128, 0, 0, 0])
    const host = Buffer.from('127.0.0.1')
    ws.send(Buffer.concat([Buffer.from([1, 7, 0, 0, 0, 1, target.port & 255, target.port >> 8]), host]))
    for (let i = 0; i < 193; i++) ws.send(Buffer.from([2, 7, 0, 0, 0, i]))
    await until(() => packets.some((packet) => packet[0] === 4), 'CLOSE')
    assert.deepEqual([...packets.find((packet) => packet[0] === 4)!], [4, 7, 0, 0, 0, 0x49])
    const ended = once(ws, 'close')
    ws.send(Buffer.from([9, 1, 0, 0, 0]))
    assert.equal((await ended)[0], 1002)
  })

  it('asks for credentials like everything else', async () => {
    const { server: closed, bound } = await startServer({}, false)
    const refused = new WebSocket(`ws://127.0.0.1:${bound.port}/wisp/`)
    const [error] = (await once(refused, 'error')) as [Error]
    assert.match(error.message, /401/)
    const allowed = new WebSocket(`ws://127.0.0.1:${bound.port}/wisp/`, {
      headers: { Authorization: `Bearer ${TOKEN}` },
    })
    await once(allowed, 'open')
    allowed.close()
    await once(allowed, 'close')
    await closed.close(0)
  })
})
