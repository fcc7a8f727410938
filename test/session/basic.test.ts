import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Stream } from '#src/session/index.js'
import { Random } from '../helpers/random.js'
import { acceptingPair, open } from './accepting.js'
import { Endpoint } from './endpoint.js'
import { Pair } from './pair.js'

describe('a session on one carrier', () => {
  it('opens a stream with its first data in one message, answered in one round trip', () => {
    const { pair, accepted } = acceptingPair()
    pair.join()
    const client = open(pair)
    client.stream.write(Buffer.from('hello'))
    pair.onOpened = ((before) => (stream: Stream) => {
      before(stream)
      stream.write(Buffer.from('world'))
    })(pair.onOpened)
    pair.run(() => client.length === 5)
    assert.equal(pair.now, 50)
    assert.equal(Buffer.from(accepted[0]!.bytes).toString(), 'hello')
    assert.equal(client.address, '10.0.0.1:5432')
  })

  it('carries a megabyte each way, keeps half-close, and forgets the stream', () => {
    const { pair, accepted } = acceptingPair({ line: { rate: 5000 } })
    pair.join()
    const up = new Random(1).bytes(1_000_000)
    const down = new Random(2).bytes(1_000_000)
    const client = open(pair)
    client.stream.write(up)
    client.stream.end()
    pair.run(() => accepted[0]?.ends.length === 1)
    assert.deepEqual(accepted[0]!.ends, ['ended'])
    accepted[0]!.stream.write(down)
    accepted[0]!.stream.end()
    pair.run(() => client.ends.length === 2 && accepted[0]!.ends.length === 2)
    assert.deepEqual(client.ends, ['ended', 'closed'])
    assert.ok(Buffer.from(client.bytes).equals(down) && Buffer.from(accepted[0]!.bytes).equals(up))
    assert.equal(pair.client.figures.streams + pair.server.figures.streams, 0)
    assert.equal(pair.client.figures.held + pair.server.figures.held, 0)
  })

  it('refuses with a code, resets with a code, and loses with the session', () => {
    const pair = new Pair()
    pair.join()
    const servers: Endpoint[] = []
    pair.onOpened = (stream) => {
      if (servers.length === 0) stream.refuse(4, 'ECONNREFUSED db:5432')
      else stream.accept('')
      const endpoint = new Endpoint()
      endpoint.stream = stream
      servers.push(endpoint)
      stream.start(endpoint)
    }
    const refused = open(pair)
    pair.run(() => refused.ends.length > 0)
    assert.deepEqual(refused.ends, ['failed 4 ECONNREFUSED db:5432'])
    const reset = open(pair)
    pair.run(() => servers.length === 2)
    servers[1]!.stream.abort(1)
    pair.run(() => reset.ends.length > 0)
    assert.deepEqual(reset.ends, ['reset 1'])
    const lost = open(pair)
    pair.run(() => servers.length === 3)
    pair.client.close(0, 'bye', pair.now)
    pair.run(() => pair.closed.server !== undefined)
    assert.deepEqual([lost.ends, servers[2]!.ends, pair.closed.server], [['failed 0 bye'], ['reset 5'], 'peer 0 bye'])
  })

  it('stops a writer whose reader does not read, and goes on', () => {
    const { pair, accepted } = acceptingPair()
    pair.join()
    const client = open(pair)
    pair.run(() => accepted.length === 1)
    accepted[0]!.reading = false
    let written = 0
    const fill = () => {
      for (let more = true; more && written < 4_000_000; written += 10_000)
        more = client.stream.write(Buffer.alloc(10_000, 7))
    }
    client.onWritable = fill
    fill()
    pair.wait(5_000)
    assert.ok(written < 1_000_000, `${written} written to a reader that does not read`)
    assert.equal(accepted[0]!.length, 64 * 1024)
    accepted[0]!.reading = true
    accepted[0]!.read()
    pair.run(() => accepted[0]!.length === 4_000_000)
    assert.ok(client.writableCalls > 0)
  })
})
