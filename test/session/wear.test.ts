import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Pace } from '#src/session/index.js'
import { acceptingPair, keepFull, open } from './accepting.js'
import type { Line } from './pair.js'

describe('the pace of a carrier', () => {
  it('is taken all the time, and said to be its best only while as much is in flight as may be', () => {
    const pace = new Pace()
    const carry = (rate: number, full: boolean, from: number) => {
      for (let now = from; now < from + 5_000; now += 20) pace.note(20 * rate, full, now, 50)
    }
    carry(9_000, false, 0)
    assert.ok(pace.latest > 8_900 && pace.full === 0 && pace.best === 0, `${pace.latest} ${pace.best}`)
    carry(7_000, true, 5_000)
    assert.ok(pace.latest < 7_100 && pace.full > 5 && pace.best >= pace.lately, `${pace.latest} ${pace.best}`)
  })

  it('is taken from when there is more to send than may be in flight, not from some time before', () => {
    const pace = new Pace()
    for (let now = 0; now <= 400; now += 20) pace.note(20, false, now, 50)
    for (let now = 420; now <= 920; now += 20) pace.note(20 * 9_000, true, now, 50)
    assert.equal(pace.full, 1)
    assert.ok(pace.latest > 8_900, `${pace.latest}`)
  })

  it('is told in time where there is now more to send than may be in flight and now less', () => {
    const pace = new Pace()
    for (let now = 0; now <= 1_000; now += 20) pace.note(20 * 5_000, now % 40 === 0, now, 50)
    assert.ok(pace.latest > 4_900 && pace.full === 0, `${pace.latest} ${pace.full}`)
  })
})

/** Which carriers are to be replaced within ten seconds of bulk, in one direction, after these have become what they are. */
function renewed(up: boolean, before: readonly Partial<Line>[], after: readonly Partial<Line>[]): number[] {
  const { pair, accepted } = acceptingPair()
  const carriers = before.map((line) => pair.join({ delay: 25, ...line }))
  const found: number[] = []
  pair.onRenew = (carrier) => found.push(carrier)
  const client = open(pair)
  client.stream.write(Buffer.from('x'))
  pair.run(() => accepted.length === 1)
  keepFull(up ? client : accepted[0]!, 1_000_000)
  pair.wait(5_000)
  for (const [index, line] of after.entries()) Object.assign(carriers[index]!.line, line)
  pair.wait(10_000)
  return [...new Set(found)]
}

for (const up of [true, false]) {
  describe(`a carrier on which TCP is worn, ${up ? 'up' : 'down'}`, () => {
    it('is to be replaced where it is the only one and carries a small part of what it did', () => {
      assert.deepEqual(renewed(up, [{ rate: 20_000 }], [{ rate: 5_000 }]), [0])
      assert.deepEqual(renewed(up, [{ rate: 20_000 }], [{ rate: 10_000 }]), [])
      assert.deepEqual(renewed(up, [{ rate: 5_000 }], [{ rate: 20_000 }]), [])
      assert.deepEqual(renewed(up, [{ rate: 800 }], [{ rate: 100 }]), [])
    })

    it('is to be replaced where others carry many times as much', () => {
      const fast = { rate: 20_000 }
      assert.deepEqual(renewed(up, [fast, fast, fast], [fast, { rate: 1_000 }, fast]), [1])
      assert.deepEqual(renewed(up, [fast, fast, fast], [fast, { rate: 5_000 }, fast]), [])
      assert.deepEqual(renewed(up, [fast, fast], [{ rate: 5_000 }, { rate: 5_000 }]), [])
    })
  })
}

describe('a new carrier in the place of a worn one', () => {
  /** What has been replaced after ten seconds of bulk, where whoever comes anew carries so much. */
  function replaced(anew: number): number[] {
    const { pair, accepted } = acceptingPair()
    const found: number[] = []
    for (const rate of [20_000, 1_000, 4_000, 4_000]) pair.join({ delay: 25, rate })
    pair.onRenew = (carrier) => {
      found.push(carrier)
      pair.join({ delay: 25, rate: anew })
      pair.cut(pair.carriers.get(carrier)!)
    }
    keepFull(open(pair), 1_000_000)
    pair.wait(10_000)
    assert.ok(accepted[0]!.length > 0)
    return found
  }

  it('that carries several times as much shows that others are worn which carry as little', () => {
    assert.deepEqual(replaced(20_000), [1, 2, 3])
  })

  it('that carries as little shows nothing', () => {
    const found = replaced(1_000)
    assert.ok(found.includes(1) && !found.includes(2) && !found.includes(3), `${found}`)
  })
})

describe('a path that is worse than the others', () => {
  it('has its carriers replaced ever less often', () => {
    const { pair, accepted } = acceptingPair()
    const times: number[] = []
    let slow = 1
    for (const rate of [20_000, 1_000]) pair.join({ delay: 25, rate })
    pair.onRenew = (carrier) => {
      assert.equal(carrier, slow)
      times.push(pair.now)
      const { number } = pair.join({ delay: 25, rate: 1_000 })
      pair.cut(pair.carriers.get(slow)!)
      slow = number
    }
    keepFull(open(pair), 1_000_000)
    pair.wait(60_000)
    assert.ok(accepted[0]!.length > 0)
    assert.ok(times.length >= 3 && times.length <= 5, `${times}`)
    const pauses = times.slice(1).map((time, index) => time - times[index]!)
    assert.deepEqual(
      pauses,
      [...pauses].sort((a, b) => a - b),
    )
  })
})

describe('GOAWAY of the session', () => {
  it('is said again when the carrier that brought it dies', () => {
    const { pair } = acceptingPair()
    const first = pair.join()
    pair.join()
    let told = 0
    pair.onGoaway = () => told++
    first.blackhole = true
    pair.server.goaway()
    pair.flush()
    pair.cut(first)
    pair.run(() => told === 1)
  })
})
