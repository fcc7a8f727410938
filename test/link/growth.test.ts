import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Growth } from '#src/link/growth.js'
import type { SessionFigures } from '#src/session/index.js'

const ROUND_TRIP = 50

/** A session that moves `rate(carriers)` bytes per millisecond, watched until a time; what is wanted, as it changes. */
function watched(rate: (carriers: number, now: number) => number, streams: number, end: number, unread = 0): string[] {
  // It has moved much before.
  let moved = 1e9
  const growth = new Growth(1, 8, 0, moved)
  const seen: string[] = []
  let at = 0
  for (let now = 100; now <= end; ) {
    const carriers = Array.from({ length: growth.wanted }, () => ({ leastRoundTrip: ROUND_TRIP }))
    moved += rate(carriers.length, now) * (now - at)
    at = now
    const next = growth.look(now, { moved, carriers, unread } as unknown as SessionFigures, streams)
    if (growth.wanted !== carriers.length) seen.push(`${growth.wanted} at ${now}`)
    if (next === undefined) return [...seen, `over at ${now}`]
    now += next
  }
  return seen
}

describe('how many carriers', () => {
  it('one stream of bulk gets twice as many as long as that helps', () => {
    assert.deepEqual(
      watched((carriers) => carriers * 2_500, 1, 10_000),
      ['2 at 400', '4 at 800', '8 at 1200'],
    )
    assert.deepEqual(
      watched((carriers) => Math.min(2, carriers) * 2_500, 1, 10_000),
      ['2 at 400', '4 at 800'],
    )
  })

  it('new ones have time to show that they help', () => {
    // Each step helps only after a second.
    let [before, carriers, since] = [1, 1, 0]
    const slowly = (count: number, now: number) => {
      if (count > carriers) [before, carriers, since] = [carriers, count, now]
      return (now - since < 1_000 ? before : carriers) * 2_500
    }
    assert.deepEqual(watched(slowly, 1, 10_000), ['2 at 400', '4 at 1700', '8 at 3000'])
  })

  it('after those that did not help in that time, others are tried much later', () => {
    const seen = watched((_, now) => (now < 5_000 ? 2_500 : 25_000), 1, 40_000)
    assert.equal(seen[0], '2 at 400')
    assert.match(seen[1]!, /^4 at 3[2-4]\d\d\d$/)
  })

  it('several streams of bulk get one each, at the first look', () => {
    assert.deepEqual(
      watched((carriers) => carriers * 2_500, 6, 10_000),
      ['6 at 100', '8 at 500'],
    )
    assert.deepEqual(
      watched((carriers) => carriers * 2_500, 100, 10_000),
      ['8 at 100'],
    )
  })

  it('what is little, or waits for its reader, gets no more than one', () => {
    assert.deepEqual(
      watched(() => 100, 1, 10_000),
      [],
    )
    assert.deepEqual(
      watched(() => 2_500, 8, 10_000, 0.6),
      [],
    )
  })

  it('after a quiet time there is one again', () => {
    const seen = watched((carriers, now) => (now < 1_000 ? carriers * 2_500 : 0), 1, 60_000)
    assert.deepEqual(seen.slice(0, 2), ['2 at 400', '4 at 800'])
    assert.match(seen.slice(2).join(), /^1 at (1[5-7]\d\d\d),over at \1$/)
  })
})
