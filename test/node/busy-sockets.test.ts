import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { LARGE_SLAB, type Slab, SocketStream } from '#src/node/index.js'
import { accepted, secured } from '../helpers/accepted.js'
import { sleep } from '../helpers/net.js'

for (const [how, open] of [
  ['over TCP', accepted],
  ['over TLS', secured],
] as const) {
  test(`a socket ${how} that was busy and is quiet now gives its slab back`, async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const { socket, peer } = await open()
    const stream = SocketStream.from(socket, undefined, 'onread')
    const got: Buffer[] = []
    const slabs: Slab[] = []
    stream.start({
      read: (slab, start, end) => {
        got.push(Buffer.from(slab.bytes.subarray(start, end)))
        if (slab.bytes.length === LARGE_SLAB) slabs.push(slab)
      },
      ended: () => {},
      drained: () => {},
      finished: () => {},
      closed: () => {},
    })
    const sent = randomBytes(2_000_000)
    for (const half of [sent.subarray(0, 1_000_000), sent.subarray(1_000_000)]) {
      const before = Buffer.concat(got).length
      peer.write(half)
      while (Buffer.concat(got).length < before + half.length) await sleep(5)
      t.mock.timers.tick(5000)
      t.mock.timers.tick(5000)
      assert.equal(slabs.at(-1)!.exclusive, false, 'nobody holds it')
    }
    assert.ok(Buffer.concat(got).equals(sent))
    stream.destroy()
  })
}
