import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { connectTo, listen, sleep, until } from '../helpers/net.js'
import { type SessionRig, startSessionRig } from '../helpers/session-rig.js'

const BLOCK = Buffer.alloc(1 << 20, 'sluice')
/** What a connection brings at first, and a slow one then, in bytes per millisecond. */
const USUAL = 10_000
const SLOW = 800

/** Bulk through a tunnel, up or down, until `stop`; each end's checksum of what it sent or received. */
async function bulk(up: boolean) {
  const [sent, received] = [createHash('sha256'), createHash('sha256')]
  let sending = true
  let done = false
  const send = async (socket: NodeJS.WritableStream & { end(): void }) => {
    while (sending) {
      sent.update(BLOCK)
      if (!socket.write(BLOCK)) await new Promise((resolve) => socket.once('drain', resolve))
    }
    socket.end()
  }
  const take = (socket: NodeJS.ReadableStream) => {
    socket.on('data', (chunk: Buffer) => received.update(chunk))
    socket.on('end', () => (done = true))
  }
  const target = await listen((socket) => {
    if (up) take(socket)
    else void send(socket)
  })
  return {
    target,
    start: async (port: number) => {
      const socket = await connectTo(port)
      if (up) void send(socket)
      else take(socket)
      return socket
    },
    /** Ends it in good order; both checksums. */
    stop: async () => {
      sending = false
      await until(() => done, 'all to arrive', 30_000)
      return [sent.digest('hex'), received.digest('hex')]
    },
  }
}

const numbers = (rig: SessionRig) => rig.tunnel.link!.session!.carriers

for (const up of [true, false]) {
  describe(`a WebSocket that has become slow under bulk ${up ? 'up' : 'down'}`, () => {
    it('is replaced where it is the only one', async () => {
      const { target, start, stop } = await bulk(up)
      const rig = await startSessionRig(target.port, { carriers: 1, transport: 'websocket' })
      rig.relay.slow(0, USUAL)
      const socket = await start(rig.port)
      await sleep(2_000)
      rig.relay.slow(0, SLOW)
      await until(() => numbers(rig).join() === '1', 'another in its place', 20_000)
      const [sent, received] = await stop()
      assert.equal(received, sent)
      socket.destroy()
      await rig.close()
      await target.close()
    })

    it('is replaced where the session has as many as the server allows', async () => {
      const { target, start, stop } = await bulk(up)
      const rig = await startSessionRig(target.port, { carriers: 8, transport: 'websocket' })
      await until(() => numbers(rig).length === 8, 'eight WebSockets')
      for (let i = 0; i < 8; i++) rig.relay.slow(i, USUAL)
      const socket = await start(rig.port)
      await sleep(2_000)
      rig.relay.slow(3, SLOW)
      await until(() => numbers(rig).length === 8 && numbers(rig).includes(8), 'another in its place', 20_000)
      const [sent, received] = await stop()
      assert.equal(received, sent)
      socket.destroy()
      await rig.close()
      await target.close()
    })
  })
}
