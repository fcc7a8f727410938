import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Moves } from '#src/link/moves.js'
import { Supply } from '#src/link/supply.js'

/** A host whose time is moved by hand. */
class Clock {
  time = 0
  readonly #timers: { at: number; act: () => void }[] = []
  now = () => this.time
  random = () => 0
  after = (milliseconds: number, act: () => void) => {
    this.#timers.push({ at: this.time + milliseconds, act })
    return () => {}
  }
  run(until: number): void {
    for (; this.time < until; this.time += 10) {
      const due = this.#timers.filter(({ at }) => at <= this.time)
      for (const timer of due) this.#timers.splice(this.#timers.indexOf(timer), 1)
      for (const { act } of due) act()
    }
  }
}

describe('a carrier that is worn', () => {
  const renewedOf = (worn: readonly boolean[]): number[] => {
    const host = new Clock()
    const renewed: number[] = []
    let moved = 0
    const session = {
      over: false,
      carriers: worn.map((_, number) => number),
      watch: () => {},
      countMoved: () => 1,
      get figures() {
        moved += 100_000
        return { carriers: worn.map((is, number) => ({ number, worn: is, leastRoundTrip: 50 })), moved, unread: 0 }
      },
    }
    const supply = new Supply({
      host,
      carriers: worn.length,
      session: () => session,
      most: () => 8,
      stopped: () => false,
      renew: (number: number) => renewed.push(number),
    } as unknown as ConstructorParameters<typeof Supply>[0])
    supply.watch()
    host.run(2_000)
    return renewed
  }

  it('is replaced once if it is the only one; several share a line', () => {
    assert.deepEqual(renewedOf([true]), [0])
    assert.deepEqual(renewedOf([false]), [])
    assert.deepEqual(renewedOf([true, false]), [])
  })

  it('goes before the new one comes where there may be no more', () => {
    const replaced: number[] = []
    const moves = new Moves({
      full: () => true,
      replace: (number: number) => replaced.push(number),
    } as unknown as ConstructorParameters<typeof Moves>[0])
    moves.renew(5)
    assert.deepEqual(replaced, [5])
  })
})
