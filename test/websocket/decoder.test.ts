import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SluiceError } from '#src/errors/index.js'
import { FrameDecoder, type Role } from '#src/websocket/index.js'
import { byteByByte, Random, randomCuts } from '../helpers/random.js'
import { type NaiveEvent, naiveDecode } from './naive.js'

/** What our decoder says of these pieces, in the naive one's words. */
export function decodeAll(pieces: readonly Uint8Array[], role: Role, maxMessage?: number): NaiveEvent[] {
  const events: NaiveEvent[] = []
  let opcode = 0
  let parts: Buffer[] = []
  const decoder = new FrameDecoder(
    {
      messageStart: (code) => {
        opcode = code
        parts = []
      },
      payload: (bytes) => parts.push(Buffer.from(bytes)),
      messageEnd: () => events.push({ message: opcode, hex: Buffer.concat(parts).toString('hex') }),
      control: (code, payload) => events.push({ control: code, hex: Buffer.from(payload).toString('hex') }),
    },
    maxMessage === undefined ? { role } : { role, maxMessage },
  )
  try {
    for (const piece of pieces) decoder.decode(Uint8Array.from(piece))
  } catch (error) {
    assert.ok(error instanceof SluiceError)
    events.push({ refused: error.closeCode ?? 0 })
  }
  return events
}

interface Case {
  readonly name: string
  readonly role: Role
  readonly hex: string
  readonly events: NaiveEvent[]
}

const CLIENT = 'client'
const SERVER = 'server'

const CASES: readonly Case[] = [
  // RFC 6455 §5.7, the examples.
  {
    name: 'an unmasked text message',
    role: CLIENT,
    hex: '810548656c6c6f',
    events: [{ message: 1, hex: '48656c6c6f' }],
  },
  {
    name: 'a masked text message',
    role: SERVER,
    hex: '818537fa213d7f9f4d5158',
    events: [{ message: 1, hex: '48656c6c6f' }],
  },
  {
    name: 'a fragmented text message',
    role: CLIENT,
    hex: '010348656c80026c6f',
    events: [{ message: 1, hex: '48656c6c6f' }],
  },
  { name: 'a ping', role: CLIENT, hex: '890548656c6c6f', events: [{ control: 9, hex: '48656c6c6f' }] },
  { name: 'a masked pong', role: SERVER, hex: '8a8537fa213d7f9f4d5158', events: [{ control: 10, hex: '48656c6c6f' }] },
  {
    name: '256 bytes in the 16-bit form',
    role: CLIENT,
    hex: `827e0100${'ab'.repeat(256)}`,
    events: [{ message: 2, hex: 'ab'.repeat(256) }],
  },
  {
    name: '65536 bytes in the 64-bit form',
    role: CLIENT,
    hex: `827f0000000000010000${'cd'.repeat(65536)}`,
    events: [{ message: 2, hex: 'cd'.repeat(65536) }],
  },
  { name: 'an empty message', role: CLIENT, hex: '8200', events: [{ message: 2, hex: '' }] },
  { name: 'an empty masked message', role: SERVER, hex: '828012345678', events: [{ message: 2, hex: '' }] },
  { name: 'an empty close', role: CLIENT, hex: '8800', events: [{ control: 8, hex: '' }] },
  {
    name: 'a ping between fragments',
    role: CLIENT,
    hex: '0201aa890100 0001bb 8001cc',
    events: [
      { control: 9, hex: '00' },
      { message: 2, hex: 'aabbcc' },
    ],
  },
  { name: 'empty fragments', role: CLIENT, hex: '0200 0000 0000 8000', events: [{ message: 2, hex: '' }] },
  {
    name: '125 bytes, the most of the short form',
    role: CLIENT,
    hex: `827d${'01'.repeat(125)}`,
    events: [{ message: 2, hex: '01'.repeat(125) }],
  },
  {
    name: '126 bytes, the least of the 16-bit form',
    role: CLIENT,
    hex: `827e007e${'01'.repeat(126)}`,
    events: [{ message: 2, hex: '01'.repeat(126) }],
  },
  {
    name: '65535 bytes, the most of the 16-bit form',
    role: CLIENT,
    hex: `827effff${'01'.repeat(65535)}`,
    events: [{ message: 2, hex: '01'.repeat(65535) }],
  },
  { name: 'RSV1', role: CLIENT, hex: 'c200', events: [{ refused: 1002 }] },
  { name: 'RSV2', role: CLIENT, hex: 'a200', events: [{ refused: 1002 }] },
  { name: 'RSV3', role: CLIENT, hex: '9200', events: [{ refused: 1002 }] },
  { name: 'opcode 3', role: CLIENT, hex: '8300', events: [{ refused: 1002 }] },
  { name: 'opcode 7', role: CLIENT, hex: '8700', events: [{ refused: 1002 }] },
  { name: 'opcode 11', role: CLIENT, hex: '8b00', events: [{ refused: 1002 }] },
  { name: 'opcode 15', role: CLIENT, hex: '8f00', events: [{ refused: 1002 }] },
  { name: 'a fragmented ping', role: CLIENT, hex: '0900', events: [{ refused: 1002 }] },
  { name: 'a fragmented close', role: CLIENT, hex: '0800', events: [{ refused: 1002 }] },
  { name: 'a ping of 126 bytes', role: CLIENT, hex: `897e007e${'00'.repeat(126)}`, events: [{ refused: 1002 }] },
  { name: 'a masked frame from a server', role: CLIENT, hex: '828100000000aa', events: [{ refused: 1002 }] },
  { name: 'an unmasked frame from a client', role: SERVER, hex: '8201aa', events: [{ refused: 1002 }] },
  { name: 'a continuation of nothing', role: CLIENT, hex: '8001aa', events: [{ refused: 1002 }] },
  {
    name: 'a continuation after a whole message',
    role: CLIENT,
    hex: '8201aa 8001bb',
    events: [{ message: 2, hex: 'aa' }, { refused: 1002 }],
  },
  { name: 'a new message inside a fragmented one', role: CLIENT, hex: '0201aa 8201bb', events: [{ refused: 1002 }] },
  { name: '125 bytes in the 16-bit form', role: CLIENT, hex: '827e007d', events: [{ refused: 1002 }] },
  { name: '65535 bytes in the 64-bit form', role: CLIENT, hex: '827f000000000000ffff', events: [{ refused: 1002 }] },
  {
    name: 'a 64-bit length with its top bit set',
    role: CLIENT,
    hex: '827f8000000000000000',
    events: [{ refused: 1002 }],
  },
  { name: 'a length above 2^53 - 1', role: CLIENT, hex: '827f0020000000000000', events: [{ refused: 1009 }] },
  { name: 'a length of 2^53 - 1, of which nothing came', role: CLIENT, hex: '827f001fffffffffffff', events: [] },
  { name: 'half a header', role: CLIENT, hex: '827e', events: [] },
]

describe('FrameDecoder', () => {
  for (const { name, role, hex, events } of CASES) {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    it(`${name}: whole, byte by byte and at random cuts`, () => {
      assert.deepEqual(decodeAll([bytes], role), events)
      if (bytes.length < 1000) assert.deepEqual(decodeAll(byteByByte(bytes), role), events)
      for (let seed = 1; seed <= 20; seed++)
        assert.deepEqual(decodeAll(randomCuts(bytes, new Random(seed)), role), events)
    })
    it(`${name}: as the naive decoder says`, () => {
      assert.deepEqual(naiveDecode(bytes, role === 'server').events, events)
    })
  }

  it('refuses a message over the limit at the header, fragments added up', () => {
    assert.deepEqual(decodeAll([Buffer.from('827e03e9', 'hex')], 'client', 1000), [{ refused: 1009 }])
    const fragments = Buffer.concat([
      Buffer.from('027e0190', 'hex'),
      Buffer.alloc(400),
      Buffer.from('007e0190', 'hex'),
      Buffer.alloc(400),
      Buffer.from('807e0190', 'hex'),
    ])
    assert.deepEqual(decodeAll([fragments], 'client', 1000), [{ refused: 1009 }])
    const fits = Buffer.concat([Buffer.from('827e03e8', 'hex'), Buffer.alloc(1000)])
    assert.deepEqual(decodeAll([fits], 'client', 1000), [{ message: 2, hex: '00'.repeat(1000) }])
  })

  it('hands payload out as it arrives, without waiting for the frame', () => {
    const seen: number[] = []
    const decoder = new FrameDecoder(
      {
        messageStart: () => seen.push(-1),
        payload: (bytes) => seen.push(bytes.length),
        messageEnd: () => seen.push(-2),
        control: () => {},
      },
      { role: 'client' },
    )
    decoder.decode(Buffer.from('827f0000000100000000', 'hex'))
    decoder.decode(new Uint8Array(1000))
    decoder.decode(new Uint8Array(5))
    assert.deepEqual(seen, [-1, 1000, 5])
    assert.equal(decoder.idle, false)
  })

  it('agrees with the naive decoder on 3,000 random streams, at random cuts', () => {
    const random = new Random(20261124)
    let refusals = 0
    let messages = 0
    for (let run = 0; run < 3000; run++) {
      const role: Role = run % 2 === 0 ? 'client' : 'server'
      const bytes = randomStream(random, role === 'server')
      const expected = naiveDecode(bytes, role === 'server').events
      assert.deepEqual(decodeAll(randomCuts(bytes, random), role), expected, `run ${run}: ${bytes.toString('hex')}`)
      refusals += expected.filter((event) => 'refused' in event).length
      messages += expected.filter((event) => 'message' in event).length
    }
    assert.ok(
      refusals > 500 && messages > 500,
      `${refusals} refusals, ${messages} messages: the streams are not varied enough`,
    )
  })
})

/** Mostly valid frames, some of them damaged. */
function randomStream(random: Random, masked: boolean): Buffer {
  const parts: Buffer[] = []
  let open = false
  for (let frames = random.below(6) + 1; frames > 0; frames--) {
    const control = random.below(4) === 0
    const fin = control || random.below(3) > 0
    const opcode = control ? 8 + random.below(3) : open ? 0 : 1 + random.below(2)
    if (!control) open = !fin
    const length = control ? random.below(126) : random.below(10) === 0 ? 65536 + random.below(100) : random.below(300)
    const header = [(fin ? 0x80 : 0) | opcode]
    const bit = masked ? 0x80 : 0
    if (length < 126) header.push(bit | length)
    else if (length < 65536) header.push(bit | 126, length >> 8, length & 255)
    else header.push(bit | 127, 0, 0, 0, 0, 0, (length >> 16) & 255, (length >> 8) & 255, length & 255)
    if (masked) header.push(...random.bytes(4))
    if (random.below(8) === 0) header[0]! ^= 1 << random.below(8)
    if (random.below(16) === 0) header[1]! ^= 1 << random.below(8)
    parts.push(Buffer.from(header), random.bytes(Math.min(length, 4000)), Buffer.alloc(Math.max(0, length - 4000)))
  }
  return Buffer.concat(parts)
}
