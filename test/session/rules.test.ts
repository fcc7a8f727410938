import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import {
  CreditPool,
  type Memory,
  Ranges,
  RateControl,
  Reassembly,
  ReceiveWindow,
  SeenIds,
  SendBuffer,
} from '#src/session/index.js'
import { Random } from '../helpers/random.js'
import { acceptingPair, keepFull, open } from './accepting.js'
import { Endpoint } from './endpoint.js'

const MIB = 1024 * 1024

/** A frame header of RFC 6455: 2 bytes, 2 more from 126, and 4 for the key. */
const frameBytes = (length: number, masked: boolean): number => (length < 126 ? 2 : 4) + (masked ? 4 : 0) + length

describe('what small things cost', () => {
  it('one byte costs at most 12 bytes of framing up and 8 down, at any offset, for ids below 2^14', (t) => {
    const { pair, accepted } = acceptingPair()
    pair.join()
    const cost = { client: 0, server: 0 }
    let counting = false
    pair.onMessage = (from, bytes) => {
      if (!counting || (bytes[0] !== 5 && bytes[0] !== 6)) return
      cost[from] = Math.max(cost[from], frameBytes(bytes.length, from === 'client') - 1)
    }
    const far = open(pair)
    far.stream.write(Buffer.alloc(3_000_000))
    pair.run(() => accepted[0]?.length === 3_000_000)
    const streams = Array.from({ length: 120 }, () => open(pair))
    pair.run(() => accepted.length === 121)
    counting = true
    for (const endpoint of [far, ...streams, ...accepted]) endpoint.stream.write(Buffer.from('x'))
    pair.wait(1_000)
    t.diagnostic(`framing of one byte: ${cost.client} bytes up, ${cost.server} down`)
    assert.ok(cost.client > 0 && cost.server > 0)
    assert.ok(cost.client <= 12 && cost.server <= 8, JSON.stringify(cost))
  })
})

describe('fair, and never stuck', () => {
  it('one of 100 streams stops reading; the other 99 finish', (t) => {
    const { pair, accepted } = acceptingPair({ line: { rate: 10_000 } })
    pair.join()
    const clients = Array.from({ length: 100 }, () => open(pair))
    for (const client of clients) client.stream.write(Buffer.alloc(1_000_000, 1))
    pair.run(() => accepted.length === 100)
    accepted[0]!.reading = false
    pair.run(() => accepted.slice(1).every(({ length }) => length === 1_000_000))
    t.diagnostic(
      `99 streams beside one that does not read: ${Math.round(pair.now)} ms, where the line alone takes 9,900`,
    )
    assert.ok(accepted[0]!.length < 1_000_000)
    assert.ok(pair.now < 1.1 * 9_900, `${pair.now} ms`)
    pair.run(() => (accepted[0]!.read(), accepted[0]!.length === 1_000_000))
  })

  it('data waits for a good carrier rather than on one that gives no sign', () => {
    const { pair, accepted } = acceptingPair({ line: { rate: 5_000 } })
    pair.join({ delay: 25 })
    const silent = pair.join({ delay: 5 })
    const client = open(pair)
    for (let i = 0; i < 5; i++) {
      client.stream.write(Buffer.from('x'))
      pair.wait(100)
    }
    silent.line.stalledUntil = Number.POSITIVE_INFINITY
    client.stream.write(Buffer.from('x'))
    pair.run(() => pair.client.figures.carriers.some(({ stalled }) => stalled))
    const sent = [0, 0]
    pair.onMessage = (from, bytes, carrier) => {
      if (from === 'client' && (bytes[0] === 5 || bytes[0] === 6)) sent[carrier]!++
    }
    keepFull(client, MIB)
    pair.run(() => accepted[0]!.length > 8 * MIB)
    assert.ok(sent[0]! > 10 && sent[1] === 0, `messages on each: ${sent}`)
  })

  it('where the line is near, data stays on one carrier that has room rather than going to whichever is idle', () => {
    const { pair, accepted } = acceptingPair({ line: { delay: 0.5, rate: 50_000 } })
    for (let i = 0; i < 4; i++) pair.join()
    const client = open(pair)
    pair.run(() => accepted.length === 1)
    const carriers: number[] = []
    pair.onMessage = (from, bytes, carrier) => {
      if (from === 'client' && (bytes[0] === 5 || bytes[0] === 6)) carriers.push(carrier)
    }
    for (let i = 0; i < 500; i++) {
      client.stream.write(Buffer.alloc(4096))
      pair.flush()
      pair.wait(0.2)
    }
    pair.run(() => accepted[0]!.length === 500 * 4096)
    const changes = carriers.filter((carrier, index) => index > 0 && carrier !== carriers[index - 1]).length
    assert.ok(carriers.length >= 400, `${carriers.length} messages`)
    assert.ok(changes < 50, `${changes} changes among ${carriers.length} messages`)
  })

  it('8 bulk streams share within 20 %', (t) => {
    const { pair, accepted } = acceptingPair({ line: { rate: 2_000 } })
    pair.join()
    const clients = Array.from({ length: 8 }, () => open(pair))
    for (const client of clients) {
      keepFull(client, 1_000 * (1 + clients.indexOf(client)))
    }
    pair.run(() => accepted.length === 8)
    pair.wait(3_000)
    const before = accepted.map(({ length }) => length)
    pair.wait(10_000)
    const shares = accepted.map(({ length }, index) => length - before[index]!)
    const mean = shares.reduce((sum, share) => sum + share, 0) / 8
    const percent = (bytes: number) => Math.round((100 * bytes) / mean)
    t.diagnostic(
      `8 streams of bulk: ${percent(Math.min(...shares))} to ${percent(Math.max(...shares))} % of an equal share`,
    )
    for (const share of shares) assert.ok(Math.abs(share - mean) < 0.2 * mean, `${shares}`)
    assert.ok(mean * 8 > 0.9 * 2_000 * 10_000, `the line is used: ${mean * 8}`)
  })

  it('keystrokes beside bulk wait little on a slow line', (t) => {
    const { pair, accepted } = acceptingPair({ line: { rate: 6_250, delay: 25 } })
    pair.join()
    const bulk = open(pair)
    keepFull(bulk, 100_000)
    const keys = open(pair)
    keys.stream.write(Buffer.from('k'))
    pair.run(() => accepted.length === 2)
    accepted[1]!.data = function (bytes) {
      this.length += bytes.length
      this.stream.consume(bytes.length)
      this.stream.write(bytes.slice())
    }
    pair.wait(3_000)
    const times: number[] = []
    for (let i = 0; i < 300; i++) {
      const sentAt = pair.now
      const had = keys.length
      keys.stream.write(Buffer.from('k'))
      pair.run(() => keys.length > had)
      times.push(pair.now - sentAt)
      pair.wait(20)
    }
    times.sort((a, b) => a - b)
    t.diagnostic(`keystrokes beside bulk, in virtual time: p99 ${times[297]} ms, where an idle line takes 50`)
    assert.ok(times[297]! <= 75, `p99 ${times[297]} ms, where an idle line takes 50`)
  })

  it('1,000 opens that nobody answers delay no other', (t) => {
    const { pair } = acceptingPair({ parameters: { max_streams: 2_000 } })
    pair.onOpened = (stream) => {
      const endpoint = new Endpoint()
      endpoint.stream = stream
      stream.start(endpoint)
      if (stream.id === 2_000) stream.accept('')
    }
    pair.join()
    for (let i = 0; i < 1_000; i++) open(pair)
    const last = open(pair)
    pair.run(() => last.address !== undefined)
    t.diagnostic(`an open behind 1,000 that nobody answers: ${pair.now} ms at a round trip of 50 ms`)
    assert.equal(pair.now, 50)
  })

  it('streams beyond the limit wait, and go when others end', () => {
    const { pair, accepted } = acceptingPair({ parameters: { max_streams: 4 } })
    pair.join()
    const clients = Array.from({ length: 10 }, () => open(pair))
    pair.wait(1_000)
    assert.equal(accepted.length, 4)
    for (const client of clients) client.stream.end()
    const finish = () => {
      for (const endpoint of accepted) endpoint.stream.end()
      return clients.every(({ ends }) => ends.at(-1) === 'closed')
    }
    pair.run(finish)
    assert.equal(accepted.length, 10)
  })

  const rounds = process.env.SLUICE_LONG === '1' ? 5_000 : 500
  it(`${(rounds * 100).toLocaleString('en')} opens and closes leave nothing behind, and the heap where it was`, (t) => {
    const { pair, accepted } = acceptingPair({ line: { delay: 0.1 } })
    pair.join()
    const heapAt: number[] = []
    for (let i = 0; i < rounds; i++) {
      if (i % (rounds / 5) === rounds / 10) heapAt.push(settledHeap())
      const clients = Array.from({ length: 100 }, () => open(pair))
      for (const client of clients) client.stream.write(Buffer.from('q'))
      for (const client of clients) client.stream.end()
      pair.run(() => accepted.length === 100)
      for (const endpoint of accepted) endpoint.stream.end()
      pair.run(() => clients.every(({ ends }) => ends.at(-1) === 'closed'))
      accepted.length = 0
    }
    pair.wait(100)
    for (const { figures } of [pair.client, pair.server]) assert.deepEqual([figures.streams, figures.held], [0, 0])
    const growth = heapAt.at(-1)! - heapAt[0]!
    const opens = (rounds * 100 * 4) / 5
    t.diagnostic(`the heap after ${opens} opens and closes: ${Math.round(growth / 1024)} KiB more`)
    // 8 bytes for each would be a leak of one reference.
    assert.ok(growth < Math.max(2 * 1024 * 1024, opens * 8), `the heap grew by ${growth} bytes in ${opens} opens`)
  })

  it('replay memory never passes its budget by more than one write, and a full one is no sign of death', () => {
    const { pair, accepted } = acceptingPair({ replayBudget: 200_000 })
    const first = pair.join()
    const client = open(pair)
    pair.run(() => accepted.length === 1)
    const bytes = new Random(3).bytes(2_000_000)
    let written = 0
    const fill = () => {
      for (let more = true; more && written < bytes.length; written += 10_000) {
        more = client.stream.write(bytes.subarray(written, written + 10_000))
      }
    }
    client.onWritable = fill
    first.blackhole = true
    fill()
    pair.wait(1_000)
    assert.ok(pair.client.figures.mostHeld <= 210_000)
    pair.wait(20_000)
    assert.match(pair.gaveUp.join(), /client 0: silent for/)
    assert.equal(pair.closed.client, undefined)
    pair.join()
    pair.run(() => accepted[0]!.length === bytes.length)
    assert.ok(Buffer.from(accepted[0]!.bytes).equals(bytes))
    assert.ok(pair.client.figures.mostHeld <= 210_000, `${pair.client.figures.mostHeld}`)
  })

  it('a session without a carrier expires, resets its streams, and frees their memory', () => {
    const { pair, accepted } = acceptingPair({ parameters: { resume_for: 5_000 } })
    const carrier = pair.join()
    const client = open(pair)
    pair.run(() => client.address !== undefined)
    client.stream.write(Buffer.alloc(50_000))
    pair.cut(carrier)
    pair.wait(4_900)
    assert.deepEqual({ ...pair.closed }, {})
    pair.wait(200)
    assert.match(pair.closed.client!, /^own 13 no carrier came back within 5 s/)
    assert.match(pair.closed.server!, /^own 13/)
    assert.deepEqual([client.ends, accepted[0]!.ends], [['reset 5'], ['reset 5']])
    assert.equal(pair.client.figures.held + pair.server.figures.held, 0)
  })
})

describe('datagrams', () => {
  it('go both ways, unordered and unrepeated, and the oldest are dropped when too many wait', () => {
    const { pair, accepted } = acceptingPair({ line: { rate: 100 } })
    pair.join()
    const client = new Endpoint()
    client.stream = pair.client.open({ kind: 'UDP', host: 'dns', port: 53 }, client, 0)
    pair.run(() => accepted.length === 1)
    for (let i = 0; i < 1_000; i++) client.stream.sendDatagram(Buffer.alloc(1_000, i & 255))
    assert.equal(client.stream.sendDatagram(Buffer.alloc(70_000)), false)
    accepted[0]!.stream.sendDatagram(Buffer.from('answer'))
    pair.wait(60_000)
    assert.ok(pair.client.figures.datagramsDropped > 0)
    assert.equal(accepted[0]!.datagrams.length + pair.client.figures.datagramsDropped, 1_000)
    assert.deepEqual(
      client.datagrams.map((payload) => Buffer.from(payload).toString()),
      ['answer'],
    )
    client.stream.end()
    pair.run(() => accepted[0]!.ends.includes('closed') && client.ends.includes('closed'))
  })

  it('come from each sender at a listener on a stream of its own', () => {
    const { pair, accepted } = acceptingPair()
    pair.join()
    const listener = new Endpoint()
    listener.stream = pair.client.listen({ kind: 'UDP', host: '', port: 53 }, listener, 0)
    pair.run(() => listener.address !== undefined)
    const senders = ['a', 'b'].map((origin) => {
      const sender = new Endpoint()
      const target = { kind: 'ACCEPTED', listener: listener.stream.id, origin } as const
      sender.stream = pair.server.open(target, sender, pair.now)
      sender.stream.sendDatagram(Buffer.from(`from ${origin}`))
      return sender
    })
    pair.run(() => accepted.length === 3 && accepted.slice(1).every(({ datagrams }) => datagrams.length === 1))
    for (const flow of accepted.slice(1)) flow.stream.sendDatagram(Buffer.from(`to ${Buffer.from(flow.datagrams[0]!)}`))
    pair.run(() => senders.every(({ datagrams }) => datagrams.length === 1))
    assert.deepEqual(
      senders.map(({ datagrams }) => Buffer.from(datagrams[0]!).toString()),
      ['to from a', 'to from b'],
    )
    for (const { stream } of senders) stream.end()
    pair.run(() => [...senders, ...accepted.slice(1)].every(({ ends }) => ends.includes('closed')))
    assert.deepEqual(listener.ends, [])
  })
})

describe('the parts', () => {
  it('SeenIds keeps a floor and what is above it', () => {
    const seen = new SeenIds(1)
    for (const id of [1, 7, 3]) seen.add(id)
    assert.deepEqual(
      [1, 3, 5, 7, 9].map((id) => seen.has(id)),
      [true, true, false, true, false],
    )
    assert.equal(seen.size, 1)
    seen.add(5)
    assert.equal(seen.size, 0)
  })

  it('Ranges and Reassembly agree with a naive bitmap, whatever comes in whatever order', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed)
      const source = random.bytes(400)
      const ranges = new Ranges()
      const reassembly = new Reassembly()
      const bitmap = new Uint8Array(400)
      let delivered = 0
      const out: number[] = []
      while (delivered < 400) {
        const from = random.below(400)
        const to = Math.min(400, from + 1 + random.below(60))
        ranges.add(from, to)
        bitmap.fill(1, from, to)
        if (to > delivered)
          reassembly.insert(Math.max(from, delivered), source.subarray(Math.max(from, delivered), to), undefined)
        for (let kept = reassembly.take(delivered); kept !== undefined; kept = reassembly.take(delivered)) {
          out.push(...kept.bytes)
          delivered += kept.bytes.length
        }
        const first = bitmap.indexOf(0)
        assert.equal(ranges.start, first < 0 ? 400 : first, `seed ${seed}`)
        assert.equal(delivered, ranges.start)
        const missing = ranges.missing(0, 400).flatMap(([a, b]) => Array.from({ length: b - a }, (_, i) => a + i))
        assert.deepEqual(
          missing,
          [...bitmap.keys()].filter((index) => bitmap[index] === 0),
          `seed ${seed}`,
        )
      }
      assert.ok(Buffer.from(out).equals(source) && reassembly.empty, `seed ${seed}`)
    }
  })

  it('SendBuffer lets go of its memory exactly once, however it is cut, lost and acknowledged', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed)
      let held = 0
      let holds = 0
      const memory: Memory = { hold: () => void holds++, release: () => void holds-- }
      const buffer = new SendBuffer({ held: (bytes) => (held += bytes) })
      const source = random.bytes(5_000)
      let at = 0
      const flight: { offset: number; bytes: Uint8Array; memory: Memory | undefined }[] = []
      const got = new Uint8Array(5_000)
      while (!(at === 5_000 && buffer.settled)) {
        const action = random.below(4)
        if (action === 0 && at < 5_000) {
          const take = Math.min(5_000 - at, 1 + random.below(900))
          buffer.write(source.subarray(at, at + take), random.below(2) === 0 ? memory : undefined, false)
          at += take
        } else if (action === 1 || flight.length === 0) {
          const piece = buffer.take(1 + random.below(700), 5_000)
          if (piece !== undefined) flight.push(piece)
        } else {
          const [piece] = flight.splice(random.below(flight.length), 1)
          if (random.below(3) === 0) {
            buffer.again(piece!)
            piece!.memory?.release()
          } else {
            got.set(piece!.bytes, piece!.offset)
            buffer.acked(piece!)
          }
        }
      }
      for (const piece of flight) buffer.acked(piece)
      buffer.drop()
      assert.ok(Buffer.from(got).equals(source))
      assert.deepEqual([held, holds], [0, 0], `seed ${seed}`)
    }
  })

  it('windows grow with a fast reader, not with a slow one, within the pool, and give back', () => {
    const parent = new CreditPool(1_000_000)
    const pool = new CreditPool(500_000, parent)
    const fast = new ReceiveWindow(65_536, pool, 0)
    let now = 0
    for (let i = 0; i < 40; i++) fast.consume(fast.granted - fast.consumed, (now += 10), 50)
    assert.equal(fast.size, 65_536 + 500_000)
    assert.equal(parent.used, 500_000)
    const slow = new ReceiveWindow(65_536, parent, 0)
    for (let i = 0; i < 40; i++) slow.consume(40_000, (now += 1_000), 50)
    assert.equal(slow.size, 65_536)
    fast.close()
    assert.deepEqual([pool.used, parent.used], [0, 0])
  })

  it('a window becomes at once what an earlier one needed, but no large share of the pool', () => {
    const pool = new CreditPool(64 * MIB)
    const first = new ReceiveWindow(65_536, pool, 0)
    const sizes = [first.size]
    for (let now = 10; first.size < 8 * MIB; now += 10) {
      first.consume(first.granted - first.consumed, now, 50)
      sizes.push(first.size)
    }
    assert.deepEqual(sizes, [65_536, MIB / 4, MIB, 2 * MIB, 4 * MIB, 8 * MIB])
    first.close()
    const later = Array.from({ length: 20 }, () => new ReceiveWindow(65_536, pool, 0))
    const atOnce = later.map((window) => (window.consume(32_768, 10, 50), window.size))
    assert.equal(atOnce[0], 4 * MIB)
    assert.ok(atOnce[19]! > MIB && atOnce[19]! < 2 * MIB, `${atOnce}`)
    const slow = new ReceiveWindow(65_536, pool, 0)
    slow.consume(32_768, 200, 50)
    assert.equal(slow.size, 65_536)
  })

  it('the second of two streams fills the line in fewer round trips', () => {
    const { pair, accepted } = acceptingPair({ line: { delay: 25 } })
    pair.join()
    const took = [0, 1].map((index) => {
      const client = open(pair)
      const began = pair.now
      keepFull(client, 100_000)
      pair.run(() => (accepted[index]?.length ?? 0) >= 4 * MIB)
      const time = pair.now - began
      client.stream.abort()
      pair.wait(1_000)
      return time
    })
    assert.ok(took[1]! <= 150 && took[1]! < took[0]!, `${took} ms, at 50 ms there and back`)
  })

  it('the rate control finds the rate and the round trip of a line', () => {
    const { pair, accepted } = acceptingPair({ line: { rate: 1_000, delay: 20 } })
    pair.join()
    const client = open(pair)
    keepFull(client, 50_000)
    pair.wait(5_000)
    const { rate, leastRoundTrip = 0, window } = pair.client.figures.carriers[0]!
    assert.ok(Math.abs(rate - 1_000_000) < 80_000, `rate ${rate}`)
    assert.ok(leastRoundTrip >= 40 && leastRoundTrip < 70, `round trip ${leastRoundTrip}`)
    assert.ok(window < 3 * 1_000 * leastRoundTrip, `window ${window}`)
    const share = accepted[0]!.length / (5_000 * 1_000)
    assert.ok(share > 0.93, `${share} of the line`)
    assert.ok(new RateControl().window === 256 * 1024)
  })
})

/** Bytes of the heap after a full collection. */
function settledHeap(): number {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
  return process.memoryUsage().heapUsed
}
