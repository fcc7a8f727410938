import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Random } from '../helpers/random.js'
import { acceptingPair, open } from '../session/accepting.js'
import type { Endpoint } from '../session/endpoint.js'
import { Lent } from '../session/lent.js'
import type { Pair } from '../session/pair.js'

const RUNS = process.env.SLUICE_LONG === '1' ? 10_000 : process.env.SLUICE_SHORT === '1' ? 50 : 500
const FIRST_SEED = 1

interface Side {
  readonly endpoint: Endpoint
  readonly bytes: Uint8Array
  written: number
}

/** Writes random pieces until all is written, then ends. */
function pump(side: Side, random: Random): void {
  const { endpoint, bytes } = side
  const go = () => {
    for (let more = true; more && side.written < bytes.length; ) {
      const take = Math.min(bytes.length - side.written, 1 + random.below(random.below(3) === 0 ? 60_000 : 300))
      const piece = bytes.subarray(side.written, side.written + take)
      if (random.below(2) === 0) more = endpoint.stream.write(piece)
      else {
        const lent = new Lent(piece)
        more = endpoint.stream.write(lent.bytes, lent)
        lent.release()
      }
      side.written += take
    }
    if (side.written === bytes.length) endpoint.stream.end()
  }
  endpoint.onWritable = go
  go()
}

interface StormCounts {
  cuts: number
  stalls: number
  resent: number
}

/** Carriers that are cut, stalled and slowed at random under streams of random bytes; everything must arrive, once. */
function storm(seed: number): StormCounts {
  const random = new Random(seed * 2654435761)
  const { pair, accepted } = acceptingPair({
    random,
    replayBudget: (64 * 1024) << random.below(6),
    parameters: { ack_bytes: 1024 << random.below(7), initial_credit: 1024 << random.below(7) },
  })
  const counts = { cuts: 0, stalls: 0, resent: 0 }
  const most = 1 + random.below(8)
  const join = () =>
    pair.join({ delay: 1 + random.below(200), rate: random.below(4) === 0 ? 50 : 1 + random.below(20_000) })
  join()
  const clients: Side[] = []
  const streams = 1 + random.below(4)
  for (let i = 0; i < streams; i++) {
    const side = { endpoint: open(pair), bytes: random.bytes(random.below(200_000)), written: 0 }
    clients.push(side)
    pump(side, random)
  }
  const servers: Side[] = []
  const serve = () => {
    while (servers.length < accepted.length) {
      const side = { endpoint: accepted[servers.length]!, bytes: random.bytes(random.below(200_000)), written: 0 }
      servers.push(side)
      pump(side, random)
    }
  }
  const disturb = () => {
    if (finished()) return
    serve()
    const alive = [...pair.carriers.values()].filter(({ clientLost, blackhole }) => !clientLost && !blackhole)
    const action = random.below(6)
    const victim = alive[random.below(Math.max(1, alive.length))]
    if (action === 0 && victim !== undefined) {
      counts.cuts++
      pair.cut(victim, random.below(100))
    } else if (action === 1 && victim !== undefined) {
      counts.stalls++
      victim.line.stalledUntil = pair.now + random.below(3000)
    } else if (alive.length < most) join()
    if (pair.client.waiting) pair.plan(random.below(500), () => pair.client.waiting && join())
    pair.plan(10 + random.below(400), disturb)
  }
  const finished = () =>
    servers.length === streams && [...clients, ...servers].every(({ endpoint }) => endpoint.ends.at(-1) === 'closed')
  pair.plan(random.below(100), disturb)
  pair.run(() => {
    serve()
    return finished() || pair.closed.client !== undefined
  }, 3_600_000)
  // What was sent twice, or is still on its way on a slow carrier, keeps its memory until its ACK.
  if (pair.closed.client === undefined) pair.wait(60_000)
  check(pair, clients, servers, seed)
  counts.resent = pair.client.figures.resent + pair.server.figures.resent
  return counts
}

function check(pair: Pair, clients: Side[], servers: Side[], seed: number): void {
  assert.deepEqual(pair.closed, {}, `seed ${seed}: ${JSON.stringify(pair.closed)}`)
  for (const [index, client] of clients.entries()) {
    const server = servers.find(({ endpoint }) => endpoint.stream.id === client.endpoint.stream.id)!
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      const got = Buffer.from(to.endpoint.bytes)
      assert.ok(got.equals(from.bytes), `seed ${seed}, stream ${index}: ${got.length} of ${from.bytes.length} bytes`)
      assert.deepEqual(to.endpoint.ends, ['ended', 'closed'], `seed ${seed}`)
    }
  }
  const { client, server } = pair
  assert.equal(client.figures.held + server.figures.held, 0, `seed ${seed}: replay memory is left`)
}

describe('storms in virtual time', () => {
  it(`loses nothing and doubles nothing in ${RUNS} seeded runs over 1 to 8 carriers`, () => {
    const total = { cuts: 0, stalls: 0, resent: 0 }
    for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed++) {
      const counts = storm(seed)
      total.cuts += counts.cuts
      total.stalls += counts.stalls
      total.resent += counts.resent
    }
    assert.equal(Lent.left, 0, 'all memory is let go')
    console.log(`storms: ${RUNS} runs, ${total.cuts} cuts, ${total.stalls} stalls, ${total.resent} bytes sent again`)
    assert.ok(total.cuts > RUNS / 4 && total.stalls > RUNS / 4 && total.resent > 0, 'the faults did happen')
  })
})
