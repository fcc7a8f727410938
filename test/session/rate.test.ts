import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RateControl } from '#src/session/index.js'
import { acceptingPair, keepFull, open } from './accepting.js'

/** Bytes per millisecond, and what a message of 10 ms is. */
const RATE = 1_000
const MESSAGE = 10 * RATE
const LEAST = 50

/**
 * What may be in flight after messages that are always acknowledged at this rate, each after a round trip of its own.
 *
 * @param every ACKs come at times that are multiples of this alone, in milliseconds
 */
function windowAfter(roundTrip: (message: number) => number, every = 10): number {
  const control = new RateControl()
  control.greeted(LEAST, 0)
  const acks: { at: number; mark: Parameters<RateControl['sample']>[0] }[] = []
  let inFlight = 0
  for (let now = 0; now < 5_000; now += 10) {
    while (now % every === 0 && acks[0] !== undefined && acks[0].at <= now) {
      const { mark } = acks.shift()!
      inFlight -= MESSAGE
      control.deliver(MESSAGE, now)
      control.sample(mark, now, 0)
    }
    const mark = { sentAt: 0, delivered: 0, deliveredAt: 0, firstSentAt: 0, applicationLimited: false }
    control.mark(mark, now, inFlight)
    inFlight += MESSAGE
    acks.push({ at: Math.max(acks.at(-1)?.at ?? 0, now + roundTrip(now / 10)), mark })
  }
  assert.ok(Math.abs(control.rate - RATE) < 0.3 * RATE, `the rate is known: ${control.rate}`)
  return control.window
}

describe('a queue that never empties', () => {
  it('is trimmed where all round trips are long alike, whether ACKs come one by one or together', () => {
    for (const every of [10, 60]) {
      const window = windowAfter(() => 150, every)
      assert.ok(window < 1.5 * RATE * LEAST, `${window} bytes, ACKs every ${every} ms`)
    }
  })

  it('is not seen where they are short, or differ as losses make them', () => {
    for (const roundTrip of [() => LEAST, (message: number) => (message % 20 < 10 ? 100 : 200)]) {
      const window = windowAfter(roundTrip)
      assert.ok(window >= 2 * RATE * LEAST, `${window} bytes`)
    }
  })

  it('does not stand behind one stream of bulk on a slow line, and the line is full', () => {
    const rate = 6_250
    const { pair, accepted } = acceptingPair({ line: { rate, delay: LEAST / 2 } })
    pair.join()
    const bulk = open(pair)
    keepFull(bulk, 100_000)
    pair.wait(3_000)
    const before = accepted[0]!.length
    let most = 0
    for (let i = 0; i < 200; i++) {
      pair.wait(20)
      most = Math.max(most, pair.client.figures.carriers[0]!.inFlight)
    }
    const moved = accepted[0]!.length - before
    assert.ok(moved > 0.95 * rate * 4_000, `${moved} bytes in 4 s`)
    assert.ok(most < 1.9 * rate * LEAST, `${most} bytes in flight, where the line holds ${rate * LEAST}`)
  })
})

describe('the greeting of a carrier', () => {
  it('is its first round trip; beside others it may have waited in their queue, unless it took very long', () => {
    const { pair } = acceptingPair()
    const leastOf = (number: number) =>
      pair.client.figures.carriers.find((carrier) => carrier.number === number)!.leastRoundTrip
    for (const [greeting, least] of [
      [60, 60],
      [180, 60],
      [20, 20],
      [600, 600],
    ] as const) {
      const number = pair.client.takeCarrierNumber()
      pair.client.attach(number, 65_536, pair.now, greeting)
      assert.equal(leastOf(number), least)
    }
  })
})
