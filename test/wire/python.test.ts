import assert from 'node:assert/strict'
import { join } from 'node:path'
import { it } from 'node:test'
import { need, ROOT } from '../helpers/need.js'
import { run } from '../helpers/process.js'

it('a decoder and encoder in Python, written from the specification alone, agrees with every vector', async (t) => {
  if (!need(t, 'python3')) return
  const script = join(ROOT, 'interop', 'python', 'sluice1.py')
  const { stdout } = await run('python3', [script, join(ROOT, 'spec', 'vectors')])
  assert.match(
    stdout,
    /^\d+ frames, \d+ refusals, \d+ varints, \d+ bodies over HTTP, \d+ conversations, \d+ proofs: all as the vectors say$/m,
  )
})
