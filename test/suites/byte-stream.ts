import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { type ByteStream, type ByteStreamEvents, HEADROOM, HIGH_MARK, Slab } from '#src/node/index.js'
import { sleep, until } from '../helpers/net.js'

/** A stream under test, and the other end of it. */
export interface Ends {
  readonly stream: ByteStream
  readonly peer: Duplex
}

/** Everything a stream told, and its bytes. */
function record(stream: ByteStream): { bytes: Buffer[]; told: string[]; events: ByteStreamEvents } {
  const bytes: Buffer[] = []
  const told: string[] = []
  const events: ByteStreamEvents = {
    read: (slab, start, end) => {
      if (told.includes('ended')) told.push('read after the end')
      bytes.push(Buffer.from(slab.bytes.subarray(start, end)))
    },
    ended: () => void told.push('ended'),
    drained: () => void told.push('drained'),
    finished: () => void told.push('finished'),
    closed: (error) => void told.push(error === undefined ? 'closed' : 'failed'),
  }
  stream.start(events)
  return { bytes, told, events }
}

/** What every `ByteStream` must do. */
export function byteStreamSuite(name: string, open: () => Promise<Ends>): void {
  describe(`ByteStream: ${name}`, () => {
    it('delivers nothing before it is started, then everything, then the end', async () => {
      const { stream, peer } = await open()
      const sent = randomBytes(300_000)
      peer.write(sent.subarray(0, 10))
      await sleep(20)
      const seen = record(stream)
      peer.end(sent.subarray(10))
      await until(() => seen.told.includes('ended'), 'the end')
      assert.ok(Buffer.concat(seen.bytes).equals(sent))
      assert.deepEqual(seen.told, ['ended'])
      stream.destroy()
      await until(() => seen.told.includes('closed'), 'closed')
    })

    it('leaves what is held as it came, whatever comes after it or elsewhere', async () => {
      const pairs = [await open(), await open()]
      const kept: { slab: Slab; view: Buffer; number: number }[] = []
      for (const [number, { stream }] of pairs.entries()) {
        stream.start({
          ...record(stream).events,
          read: (slab, start, end) => {
            slab.hold()
            // A frame header may be written before what was read.
            if (start >= HEADROOM) slab.bytes.fill(0, start - HEADROOM, start)
            kept.push({ slab, view: slab.bytes.subarray(start, end), number })
          },
        })
      }
      const sent = [randomBytes(2_000_000), randomBytes(2_000_000)]
      for (let at = 0, take = 1; at < 2_000_000; at += take, take = Math.min(take * 3, 150_000)) {
        for (const [number, { peer }] of pairs.entries()) peer.write(sent[number]!.subarray(at, at + take))
        await sleep(2)
      }
      const of = (wanted: number) =>
        Buffer.concat(kept.flatMap(({ view, number }) => (number === wanted ? [view] : [])))
      await until(() => [0, 1].every((number) => of(number).length === 2_000_000), 'all bytes')
      for (const number of [0, 1]) assert.ok(of(number).equals(sent[number]!))
      for (const { slab } of kept) slab.release()
      for (const { stream } of pairs) stream.destroy()
    })

    it('writes in order, half-closes after what is queued, and says when that has left', async () => {
      const { stream, peer } = await open()
      const seen = record(stream)
      const sent = randomBytes(3_000_000)
      const got: Buffer[] = []
      peer.on('data', (chunk: Buffer) => got.push(chunk))
      for (let at = 0; at < sent.length; at += 50_000) stream.write(sent.subarray(at, at + 50_000))
      stream.end()
      await once(peer, 'end')
      assert.ok(Buffer.concat(got).equals(sent))
      await until(() => seen.told.includes('finished'), 'finished')
      assert.ok(!seen.told.includes('closed'), 'the other direction is still open')
      peer.end('late')
      await until(() => seen.told.includes('closed'), 'closed')
      assert.equal(Buffer.concat(seen.bytes).toString(), 'late')
      assert.equal(seen.told.filter((word) => word === 'closed').length, 1)
    })

    it('holds a slab until it has left, tells the backlog, and says when it has drained', async () => {
      const { stream, peer } = await open()
      const seen = record(stream)
      peer.pause()
      const slabs: Slab[] = []
      while (stream.backlog < HIGH_MARK) {
        const slab = new Slab(Buffer.alloc(128 * 1024, slabs.length))
        slabs.push(slab)
        stream.write(slab.bytes, slab)
        await sleep(1)
      }
      assert.equal(slabs.at(-1)!.exclusive, false, 'what waits is held')
      peer.resume()
      await until(() => seen.told.includes('drained'), 'drained')
      await until(() => slabs.every((slab) => slab.exclusive), 'every slab to be released')
      stream.destroy()
    })

    it('stops reading when paused and goes on when resumed', async () => {
      const { stream, peer } = await open()
      const seen = record(stream)
      stream.pause()
      assert.equal(stream.paused, true)
      await sleep(20)
      const before = seen.bytes.length
      peer.write(Buffer.alloc(100_000))
      await sleep(50)
      assert.ok(Buffer.concat(seen.bytes.slice(before)).length < 100_000)
      stream.resume()
      await until(() => Buffer.concat(seen.bytes).length === 100_000, 'the rest')
      stream.destroy()
    })
  })
}
