import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  closeReasonName,
  encodeFrame,
  type Frame,
  MessageDecoder,
  readVarint,
  Violation,
  varintLength,
  varintLengthFrom,
  writeDataHeader,
  writeVarint,
} from '#src/wire/index.js'
import { byteByByte, Random, randomCuts } from '../helpers/random.js'
import {
  type FrameJson,
  type FrameVector,
  frameFromJson,
  frameToJson,
  fromHex,
  load,
  type RefusalVector,
  toHex,
  type VarintVector,
} from './vectors.js'

/** Decodes one message that comes in these parts, into what vectors say of it. */
function decode(parts: readonly Uint8Array[], declared: number | undefined, maxMessage = 524_288) {
  let frame: FrameJson | undefined
  const data: Uint8Array[] = []
  const decoder = new MessageDecoder(
    {
      frame: (read) => (frame = frameToJson(read as Frame)),
      open: (read) => (frame = frameToJson(read)),
      data: (stream, offset) =>
        (frame = offset === undefined ? { type: 'DATA_NEXT', stream } : { type: 'DATA', stream, offset }),
      payload: (bytes) => void data.push(bytes.slice()),
    },
    maxMessage,
  )
  decoder.begin(declared)
  for (const part of parts) decoder.push(part)
  decoder.end()
  return { frame, data: toHex(Buffer.concat(data)) }
}

/** Whole, byte by byte, and at random cuts; with the length known and unknown. */
function ways(bytes: Uint8Array): { name: string; parts: Uint8Array[]; declared: number | undefined }[] {
  const random = new Random(bytes.length + 1)
  const cuts = Array.from({ length: 5 }, () => randomCuts(bytes, random))
  return [[bytes], byteByByte(bytes), ...cuts].flatMap((parts, index) =>
    [bytes.length, undefined].map((declared) => ({ name: `way ${index}, declared ${declared}`, parts, declared })),
  )
}

describe('vectors: frames', () => {
  for (const vector of load<FrameVector[]>('frames.json')) {
    it(vector.name, () => {
      const bytes = fromHex(vector.hex)
      const expected = { frame: vector.frame, data: vector.data ?? '' }
      for (const { name, parts, declared } of ways(bytes)) assert.deepEqual(decode(parts, declared), expected, name)
      if (vector.decodeOnly !== true) assert.equal(toHex(encode(vector)), vector.hex)
    })
  }
})

/** The canonical bytes of a vector. */
function encode({ frame, data = '' }: FrameVector): Uint8Array {
  if (frame.type !== 'DATA' && frame.type !== 'DATA_NEXT') {
    return Buffer.concat([encodeFrame(frameFromJson(frame)), fromHex(data)])
  }
  const head = new Uint8Array(17)
  const length = writeDataHeader(head, frame.stream as number, frame.offset as number | undefined)
  return Buffer.concat([head.subarray(0, length), fromHex(data)])
}

describe('vectors: refusals', () => {
  for (const vector of load<RefusalVector[]>('refusals.json')) {
    it(vector.name, () => {
      for (const { name, parts, declared } of ways(fromHex(vector.hex))) {
        assert.throws(
          () => decode(parts, declared, vector.maxMessage),
          (error: unknown) => error instanceof Violation && closeReasonName(error.reason) === vector.error,
          name,
        )
      }
    })
  }
})

describe('vectors: varints', () => {
  for (const vector of load<VarintVector[]>('varints.json')) {
    it(vector.name, () => {
      const bytes = fromHex(vector.hex)
      if (vector.error !== undefined) {
        assert.throws(() => readVarint(bytes, 0), Violation)
        return
      }
      assert.equal(varintLengthFrom(bytes[0]!), bytes.length)
      assert.equal(readVarint(bytes, 0), vector.value)
      const written = new Uint8Array(8)
      assert.equal(writeVarint(written, 0, vector.value!), bytes.length)
      assert.equal(varintLength(vector.value!), bytes.length)
      assert.equal(toHex(written.subarray(0, bytes.length)), vector.hex)
    })
  }
})
