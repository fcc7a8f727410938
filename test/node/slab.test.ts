import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlabPool } from '#src/node/index.js'

const SIZE = 256 * 1024
const MIB = 1024 * 1024

test('a released slab is read into again, and only by one holder at a time', () => {
  const pool = new SlabPool()
  const slab = pool.acquire(SIZE)
  slab.hold()
  slab.release()
  assert.notEqual(pool.acquire(SIZE), slab, 'it is held still')
  slab.release()
  assert.equal(pool.keptBytes, SIZE)
  assert.equal(pool.acquire(SIZE), slab)
  assert.equal(pool.keptBytes, 0)
  assert.notEqual(pool.acquire(SIZE), slab)
})

test('as many slabs are kept as were needed lately, and in the end none', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const pool = new SlabPool()
  const need = (count: number) => {
    const slabs = Array.from({ length: count }, () => pool.acquire(SIZE))
    for (const slab of slabs) slab.release()
  }
  need(40)
  t.mock.timers.tick(5000)
  assert.equal(pool.keptBytes, 40 * SIZE, 'all were needed at once')
  need(10)
  t.mock.timers.tick(5000)
  assert.equal(pool.keptBytes, 10 * SIZE, 'thirty were not')
  t.mock.timers.tick(5000)
  assert.equal(pool.keptBytes, 0)
  need(3)
  assert.equal(pool.keptBytes, 3 * SIZE, 'it begins again after it was empty')
})

test('free slabs never keep more than 64 MiB, whatever was needed', () => {
  const pool = new SlabPool()
  const slabs = Array.from({ length: 400 }, () => pool.acquire(SIZE))
  for (const slab of slabs) slab.release()
  assert.equal(pool.keptBytes, 64 * MIB)
})
