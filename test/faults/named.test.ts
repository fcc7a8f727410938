import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FrameType } from '#src/wire/index.js'
import { Random } from '../helpers/random.js'
import { acceptingPair, open } from '../session/accepting.js'
import type { Endpoint } from '../session/endpoint.js'
import type { Pair, PairOptions, SimCarrier } from '../session/pair.js'

const SEEDS = process.env.SLUICE_LONG === '1' ? 300 : 20
const LENGTH = 400_000

/** A stream that carries random bytes both ways while faults happen. */
interface Exchange {
  readonly pair: Pair
  readonly near: Endpoint
  readonly far: () => Endpoint
  readonly done: () => boolean
  check(): void
}

function write(endpoint: Endpoint, bytes: Uint8Array): void {
  let at = 0
  const go = () => {
    for (let more = true; more && at < bytes.length; at += 20_000) {
      more = endpoint.stream.write(bytes.subarray(at, at + 20_000))
    }
    if (at >= bytes.length) endpoint.stream.end()
  }
  endpoint.onWritable = go
  go()
}

function exchange(random: Random, options: PairOptions = {}, carriers = 1, length = LENGTH): Exchange {
  const { pair, accepted } = acceptingPair({ random, line: { rate: 2_000 }, ...options })
  for (let i = 0; i < carriers; i++) pair.join()
  const up = random.bytes(length)
  const down = random.bytes(length)
  const near = open(pair)
  write(near, up)
  const accept = pair.onOpened
  pair.onOpened = (stream) => {
    accept(stream)
    write(accepted[0]!, down)
  }
  const ended = (endpoint: Endpoint | undefined) => endpoint?.ends.at(-1) === 'closed'
  return {
    pair,
    near,
    far: () => accepted[0]!,
    done: () => ended(near) && ended(accepted[0]),
    check: () => {
      assert.deepEqual(pair.closed, {})
      assert.equal(accepted.length, 1, 'the target was dialled once')
      assert.ok(Buffer.from(accepted[0]!.bytes).equals(up), 'what went up is what came')
      assert.ok(Buffer.from(near.bytes).equals(down), 'what went down is what came')
      for (const { figures } of [pair.client, pair.server]) {
        assert.deepEqual([figures.streams, figures.held], [0, 0], 'nothing is left')
      }
    },
  }
}

const resent = ({ pair }: Exchange) => pair.client.figures.resent + pair.server.figures.resent

/** Runs a fault under many seeds; `fault` returns whether it happened, and at least one seed must have seen it. */
function faulty(name: string, fault: (random: Random) => boolean, figures?: () => string): void {
  it(name, (t) => {
    let happened = 0
    for (let seed = 1; seed <= SEEDS; seed++) if (fault(new Random(seed * 40_503))) happened++
    assert.ok(happened > 0, 'the fault did happen')
    t.diagnostic(`${happened} of ${SEEDS} seeds${figures === undefined ? '' : `, ${figures()}`}`)
  })
}

/** Delivers only the first bytes of the next message on a carrier, then cuts it: both ends notice soon. */
function cutInside(pair: Pair, carrier: SimCarrier, keep: (length: number) => number): boolean {
  const { queue, to } = carrier.down.queue.length > 0 ? carrier.down : carrier.up
  const next = queue[0]
  if (next === undefined) return false
  const session = pair[to]
  session.begin(carrier.number, next.bytes.length, pair.now)
  session.push(carrier.number, next.bytes.slice(0, keep(next.bytes.length)), undefined, pair.now)
  carrier.up.queue = []
  carrier.down.queue = []
  pair.cut(carrier, 5)
  return true
}

const first = (pair: Pair) => pair.carriers.get(0)!

describe('faults in virtual time', () => {
  for (const [where, keep] of [
    ['in the middle of a frame', (length: number) => Math.ceil(length / 2)],
    ['in the middle of a header', () => 1],
  ] as const) {
    faulty(`a carrier reset ${where}`, (random) => {
      const run = exchange(random)
      let cut = false
      run.pair.plan(60 + random.below(100), () => (cut = cutInside(run.pair, first(run.pair), keep)))
      run.pair.plan(300, () => run.pair.join())
      run.pair.run(run.done)
      run.check()
      return cut
    })
  }

  const silence = { longest: 0 }
  faulty(
    'a half-open carrier: packets vanish, and nobody says so',
    (random) => {
      const run = exchange(random)
      const vanishesAt = 50 + random.below(100)
      run.pair.plan(vanishesAt, () => (first(run.pair).blackhole = true))
      let noticed = false
      const rejoin = () => {
        if (!run.pair.client.waiting) return run.pair.plan(50, rejoin)
        noticed = true
        silence.longest = Math.max(silence.longest, run.pair.now - vanishesAt)
        run.pair.join()
      }
      rejoin()
      run.pair.run(run.done)
      run.check()
      assert.ok(silence.longest < 10_000, `noticed after ${silence.longest} ms`)
      return noticed && run.pair.gaveUp.some((line) => /silent for/.test(line))
    },
    () => `the silence noticed after ${silence.longest} ms at most`,
  )

  faulty('30 s of outage', (random) => {
    const run = exchange(random)
    run.pair.plan(50 + random.below(100), () => run.pair.cut(first(run.pair), 10))
    run.pair.plan(30_000, () => run.pair.join())
    run.pair.run(run.done)
    run.check()
    return run.pair.now > 30_000
  })

  faulty('a client asleep past the limit: both ends reset, and free everything', (random) => {
    const run = exchange(random, { parameters: { resume_for: 5_000 } })
    run.pair.plan(50 + random.below(100), () => run.pair.cut(first(run.pair), 10))
    run.pair.wait(20_000)
    assert.match(run.pair.closed.server ?? '', /no carrier came back within 5 s/)
    assert.match(run.near.ends.join(), /^(reset|failed 0)/)
    assert.equal(run.pair.server.figures.held + run.pair.client.figures.held, 0)
    return true
  })

  faulty('a proxy that closes every 5 s', (random) => {
    const run = exchange(random, { line: { rate: 20 } })
    let cuts = 0
    const close = () => {
      const alive = [...run.pair.carriers.values()].find(({ clientLost }) => !clientLost)
      if (alive !== undefined) run.pair.cut(alive, 10)
      cuts++
      run.pair.plan(100, () => run.pair.join())
      if (!run.done()) run.pair.plan(5_000, close)
    }
    run.pair.plan(5_000, close)
    run.pair.run(run.done)
    run.check()
    return cuts >= 3
  })

  faulty('duplicate delivery: both copies of what a stalled carrier held arrive', (random) => {
    const run = exchange(random, {}, 2)
    run.pair.plan(60 + random.below(60), () => (first(run.pair).line.stalledUntil = run.pair.now + 1_000))
    run.pair.run(run.done)
    run.pair.wait(2_000)
    run.check()
    return resent(run) > 0
  })

  faulty('a stale carrier that comes back after its session has gone on elsewhere', (random) => {
    const run = exchange(random)
    const kept: { to: 'client' | 'server'; bytes: Uint8Array }[] = []
    run.pair.plan(60 + random.below(100), () => {
      for (const { queue, to } of [first(run.pair).up, first(run.pair).down]) {
        kept.push(...queue.splice(0).map(({ bytes }) => ({ to, bytes })))
      }
      run.pair.cut(first(run.pair), 5)
      run.pair.plan(50, () => run.pair.join())
      run.pair.plan(150, () => {
        for (const { to, bytes } of kept) run.pair.deliver(to, 0, bytes)
      })
    })
    run.pair.run(run.done)
    run.check()
    return kept.length > 0
  })

  faulty('the clock jumps by an hour: what came meanwhile is read before anything is judged', (random) => {
    const run = exchange(random)
    run.pair.wait(60 + random.below(60))
    run.pair.now += 3_600_000
    run.pair.run(run.done)
    run.check()
    assert.deepEqual(run.pair.gaveUp, [])
    return true
  })

  faulty('replay memory is full: the writer waits, and nobody is taken for dead', (random) => {
    const run = exchange(random, { replayBudget: 64 * 1024 }, 1)
    let full = false
    run.pair.plan(60, () => {
      first(run.pair).line.stalledUntil = run.pair.now + 800
      run.pair.plan(700, () => (full = run.pair.client.figures.held >= 64 * 1024))
    })
    run.pair.run(run.done)
    run.check()
    assert.deepEqual(run.pair.gaveUp, [])
    assert.ok(run.pair.client.figures.mostHeld <= 64 * 1024 + 20_000, `${run.pair.client.figures.mostHeld} bytes held`)
    return full
  })

  faulty('1 of 4 carriers at 10 times the delay holds up no more than itself', (random) => {
    const length = 2_000_000
    const even = exchange(random, {}, 4, length)
    even.pair.run(even.done)
    const run = exchange(random, {}, 3, length)
    run.pair.join({ delay: 250 })
    run.pair.run(run.done)
    run.check()
    const three = exchange(random, {}, 3, length)
    three.pair.run(three.done)
    assert.ok(run.pair.now < three.pair.now + 1_500, `${run.pair.now} ms with it, ${three.pair.now} without`)
    return true
  })

  faulty(
    '1 of 4 carriers becomes 20 times slower under bulk: what is late on it is sent again on the others',
    (random) => {
      const length = 40_000_000
      const fast = { line: { rate: 10_000 } }
      const three = exchange(random, fast, 3, length)
      three.pair.run(three.done)
      const run = exchange(random, fast, 4, length)
      run.pair.plan(300, () => (first(run.pair).line.rate = 500))
      run.pair.run(run.done)
      run.check()
      assert.ok(run.pair.now < three.pair.now + 800, `${run.pair.now} ms with it, ${three.pair.now} without`)
      return resent(run) > 0
    },
  )

  faulty('all of 4 carriers dead at once', (random) => {
    const run = exchange(random, {}, 4, 1_500_000)
    run.pair.plan(60 + random.below(100), () => {
      for (const carrier of run.pair.carriers.values()) run.pair.cut(carrier, 10)
    })
    run.pair.plan(1_000, () => run.pair.join())
    run.pair.run(run.done)
    run.check()
    return run.pair.now > 1_000
  })

  for (const [name, type] of [
    ['OPEN', FrameType.OPEN],
    ['FIN', FrameType.FIN],
  ] as const) {
    faulty(`a drop that takes ${name} with it`, (random) => {
      const run = exchange(random, {}, 1, name === 'OPEN' ? LENGTH : 5_000)
      let taken = false
      run.pair.onMessage = (from, bytes) => {
        if (taken || from !== 'client' || bytes[0] !== type) return
        taken = true
        const { now } = run.pair
        run.pair.plan(0, () => {
          run.pair.cut(first(run.pair), 5)
          assert.ok(run.pair.now - now < 25, 'it is still on its way')
        })
        run.pair.plan(200, () => run.pair.join())
      }
      run.pair.run(run.done)
      run.check()
      return taken
    })
  }

  faulty('a drop that takes RESET with it', (random) => {
    const run = exchange(random)
    run.pair.wait(100)
    run.near.stream.abort()
    run.pair.flush()
    run.pair.cut(first(run.pair), 5)
    run.pair.wait(200)
    run.pair.join()
    run.pair.run(() => run.pair.server.figures.streams + run.pair.client.figures.streams === 0)
    assert.match(run.far().ends.join(), /^reset/)
    assert.equal(run.pair.client.figures.held + run.pair.server.figures.held, 0)
    return true
  })

  faulty('joins that arrive in another order than they were numbered', (random) => {
    const run = exchange(random)
    const [one, two] = [run.pair.client.takeCarrierNumber(), run.pair.client.takeCarrierNumber()]
    for (const number of [two, one]) {
      assert.ok(!run.pair.server.wasUsed(number), `number ${number} is free`)
      run.pair.join({}, number)
      assert.ok(run.pair.server.wasUsed(number), `number ${number} is used`)
    }
    run.pair.run(run.done)
    run.check()
    return true
  })

  it('quick: after a reset the first new byte flows within two round trips and 50 ms', (t) => {
    const { pair } = acceptingPair({ random: new Random(3) })
    pair.join()
    const near = open(pair)
    near.stream.write(new Uint8Array(10))
    pair.wait(200)
    pair.cut(first(pair), 0)
    near.stream.write(new Uint8Array(1_000))
    const cutAt = pair.now
    pair.wait(1)
    // What a new WebSocket costs is the network's; the session's own part is the join.
    pair.join()
    pair.run(() => pair.server.figures.moved >= 1_010)
    assert.ok(pair.now - cutAt <= 2 * 50 + 50, `${pair.now - cutAt} ms`)
    t.diagnostic(`${pair.now - cutAt} ms at a round trip of 50 ms`)
  })
})
