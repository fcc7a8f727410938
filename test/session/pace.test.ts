import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Pace } from '#src/session/index.js'

/** Ten seconds of ACKs at one rate, in bytes per millisecond, then ten at another; whether the carrier is worn by then. */
function wornAfter(first: number, then: number, full = true): boolean {
  const pace = new Pace()
  for (let now = 0; now < 20_000; now += 20) pace.note(20 * (now < 10_000 ? first : then), full, now, 50)
  return pace.worn
}

describe('the pace of a carrier', () => {
  it('is worn once it is a small part of what it was, though more waited all the time', () => {
    assert.equal(wornAfter(20_000, 5_000), true)
    assert.equal(wornAfter(20_000, 10_000), false)
    assert.equal(wornAfter(5_000, 20_000), false)
  })

  it('says nothing where little waits, or where little was ever carried', () => {
    assert.equal(wornAfter(20_000, 5_000, false), false)
    assert.equal(wornAfter(800, 100), false)
  })
})
