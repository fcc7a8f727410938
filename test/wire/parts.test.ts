import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ANSWER_MARK, ID_LENGTH, malformed, PART_END, PartReader, partHead, Violation } from '#src/wire/index.js'
import { ROOT } from '../helpers/need.js'
import { Random } from '../helpers/random.js'

interface Vector {
  readonly name: string
  readonly kind: 'up' | 'down' | 'begin'
  readonly hex: string
  readonly messages?: string[]
  readonly id?: string
  readonly error?: string
  readonly maxMessage?: number
}

const VECTORS = JSON.parse(readFileSync(join(ROOT, 'spec', 'vectors', 'http.json'), 'utf8')) as Vector[]

/** Reads a body in these pieces. */
function read(
  { kind, maxMessage = 524_288 }: Vector,
  pieces: readonly Uint8Array[],
): { id: string; messages: string[] } {
  const messages: string[] = []
  let message = ''
  let declared = 0
  const reader = new PartReader(
    {
      begin: (length) => {
        declared = length
        message = ''
      },
      part: (bytes) => (message += Buffer.from(bytes).toString('hex')),
      end: () => {
        assert.equal(message.length, 2 * declared)
        messages.push(message)
      },
    },
    maxMessage,
  )
  const before = kind === 'up' ? 0 : kind === 'down' ? 1 : 1 + ID_LENGTH
  let head = Buffer.alloc(0)
  for (const piece of pieces) {
    const taken = piece.subarray(0, before - head.length)
    head = Buffer.concat([head, taken])
    if (head.length > 0 && head[0] !== ANSWER_MARK) throw malformed('no mark')
    reader.push(piece.subarray(taken.length))
  }
  if (!reader.ended) throw new Error('CUT')
  return { id: head.subarray(1).toString('hex'), messages }
}

function cuts(body: Buffer): Uint8Array[][] {
  const random = new Random(body.length)
  const some: Uint8Array[] = []
  for (let at = 0; at < body.length; ) {
    const end = at + 1 + random.below(40)
    some.push(body.subarray(at, end))
    at = end
  }
  return [[body], [...body].map((byte) => Uint8Array.of(byte)), some]
}

describe('bodies of carriers over HTTP: vectors', () => {
  for (const vector of VECTORS) {
    it(`${vector.kind}: ${vector.name}`, () => {
      const body = Buffer.from(vector.hex, 'hex')
      for (const pieces of cuts(body)) {
        if (vector.error === undefined) {
          assert.deepEqual(read(vector, pieces), { id: vector.id ?? '', messages: vector.messages })
          continue
        }
        assert.throws(
          () => read(vector, pieces),
          (error: unknown) =>
            vector.error === 'CUT'
              ? (error as Error).message === 'CUT'
              : error instanceof Violation && (vector.error === 'TOO_BIG') === error.message.includes('at most'),
        )
      }
      if (vector.messages === undefined) return
      const parts = vector.messages.flatMap((hex) => {
        const bytes = Buffer.from(hex, 'hex')
        const cut = Math.min(3, bytes.length)
        return [partHead(bytes, cut, bytes.length - cut), bytes.subarray(cut)]
      })
      const mark = vector.kind === 'up' ? '' : `01${vector.id ?? ''}`
      assert.equal(mark + Buffer.concat([...parts, Uint8Array.of(PART_END)]).toString('hex'), vector.hex)
    })
  }
})
