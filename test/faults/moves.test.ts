import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { connectTo, echo, listen, sleep, until } from '../helpers/net.js'
import { box, type Connection } from '../helpers/obstacles.js'
import { Random } from '../helpers/random.js'
import { startSessionRig } from '../helpers/session-rig.js'

const MOVES = process.env.SLUICE_LONG === '1' ? 100 : 8

describe('a session that moves', () => {
  it(`from WebSocket to long polling and back, ${MOVES} times under load: byte for byte equal`, async () => {
    const target = await listen(echo)
    const rig = await startSessionRig(target.port)
    let blocked = false
    const upgraded = new Set<Connection>()
    // Knows a WebSocket by its handshake, and answers that are streamed by their request.
    const way = await box(rig.serverPort, {
      up: (bytes, connection) => {
        const text = bytes.toString('latin1')
        if (/^POST \S*&stream/m.test(text) || (blocked && /^sec-websocket-key/im.test(text))) {
          connection.cut()
          return undefined
        }
        if (/^sec-websocket-key/im.test(text)) upgraded.add(connection)
        return bytes
      },
    })
    await until(() => rig.server.tunnel.sessions === 1, 'the session at the server')
    rig.relay.target = way.port
    rig.relay.cut()
    const socket = await connectTo(rig.port)
    const random = new Random(5)
    const block = random.bytes(1 << 20)
    socket.on('error', (error) => rig.told.push(`the connection: ${error.message}`))
    let sent = 0
    let came = 0
    let wrong = 0
    let over = false
    socket.on('data', (bytes) => {
      for (const byte of bytes) if (byte !== block[came++ % block.length]) wrong++
    })
    const load = (async () => {
      while (!over) {
        const at = sent % block.length
        const piece = block.subarray(at, at + 1 + random.below(64 * 1024))
        sent += piece.length
        if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve))
        if (sent - came > 8 << 20) await sleep(1)
      }
    })()
    const moved = (to: string) => rig.told.filter((line) => line === `way: ${to}`).length
    for (let i = 1; i <= MOVES; i++) {
      blocked = true
      for (const connection of upgraded) connection.cut()
      upgraded.clear()
      await until(() => moved('poll') === i, `move ${i} to long polling: ${rig.told.slice(-5).join(', ')}`)
      const before = came
      await until(() => came > before + (256 << 10), 'bytes over long polling')
      blocked = false
      // The better way is tried now, not after its pause.
      const nudge = setInterval(() => rig.tunnel.retryNow(), 50)
      await until(() => moved('websocket') === i, `move ${i} back: ${rig.told.slice(-5).join(', ')}`)
      clearInterval(nudge)
      const then = came
      await until(() => came > then + (256 << 10), 'bytes over WebSocket')
    }
    over = true
    await load
    await until(() => came === sent, 'all that was sent')
    assert.equal(wrong, 0)
    console.log(`${2 * MOVES} moves, ${(came / 2 ** 20).toFixed(0)} MiB each way, none lost, none twice`)
    socket.destroy()
    await rig.close()
    await way.close()
    await target.close()
  })
})
