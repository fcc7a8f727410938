import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Session } from '#src/session/index.js'
import {
  closeReasonName,
  encodeFrame,
  type Frame,
  type Target,
  withDefaults,
  writeDataHeader,
} from '#src/wire/index.js'
import { Endpoint } from './endpoint.js'
import { messageBytes, PARAMETERS } from './pair.js'

type Role = 'client' | 'server'

/** One end of a session that is fed by hand. */
class Victim {
  readonly session: Session
  readonly said: string[] = []
  now = 0

  constructor(role: Role, parameters: Partial<typeof PARAMETERS> = {}) {
    const said = withDefaults({ ...PARAMETERS, ...parameters })
    this.session = new Session(
      { role, own: said, peer: said, now: 0 },
      {
        opened: (stream) => {
          const endpoint = new Endpoint()
          endpoint.stream = stream
          stream.start(endpoint)
          stream.accept('')
        },
        wake: () => {},
        gaveUp: () => {},
        closed: (code, text) => this.said.push(`${closeReasonName(code)}: ${text}`),
      },
    )
    this.session.attach(0, 65_536, 0)
  }

  receive(bytes: Uint8Array, carrier = 0): void {
    this.session.begin(carrier, bytes.length, this.now)
    this.session.push(carrier, bytes, undefined, this.now)
    this.session.end(carrier, this.now)
  }

  frame(frame: Frame, data: Uint8Array = new Uint8Array(0)): this {
    this.receive(Buffer.concat([encodeFrame(frame), data]))
    return this
  }

  data(stream: number, offset: number | undefined, length: number): this {
    const head = new Uint8Array(17)
    const size = writeDataHeader(head, stream, offset)
    this.receive(Buffer.concat([head.subarray(0, size), Buffer.alloc(length, 1)]))
    return this
  }

  listen(target: Target): this {
    this.session.listen(target, new Endpoint(), this.now)
    return this
  }

  /** A connection, or sender, that came at a listener. */
  accepted(stream: number, listener: number, data?: Uint8Array): this {
    return this.frame({ type: 'OPEN', stream, target: { kind: 'ACCEPTED', listener, origin: '' } }, data)
  }

  /** Everything that it has to say now. */
  transmit(): Uint8Array[] {
    const messages: Uint8Array[] = []
    for (let out = this.session.transmit(this.now); out !== undefined; out = this.session.transmit(this.now)) {
      messages.push(messageBytes(out))
    }
    return messages
  }
}

const TCP = { kind: 'TCP', host: 'h', port: 1 } as const
const open = (stream: number): Frame => ({ type: 'OPEN', stream, target: TCP })

/** What a peer does that is not allowed, to which end, and what it is told. */
const CASES: readonly [
  what: string,
  to: Role,
  act: (victim: Victim) => void,
  expected: RegExp,
  said?: Partial<typeof PARAMETERS>,
][] = [
  [
    'DATA for a stream that never was',
    'server',
    (v) => v.data(0, 0, 1),
    /^STREAM_STATE: DATA: stream 0 was never opened/,
  ],
  [
    'DATA_NEXT for a stream that never was',
    'server',
    (v) => v.data(2, undefined, 1),
    /^STREAM_STATE: DATA_NEXT: stream 2 was never/,
  ],
  [
    'FIN for a stream that never was',
    'server',
    (v) => v.frame({ type: 'FIN', stream: 0, offset: 0 }),
    /^STREAM_STATE: FIN: stream 0/,
  ],
  [
    'RESET for a stream that never was',
    'server',
    (v) => v.frame({ type: 'RESET', stream: 4, code: 0, offset: 0 }),
    /^STREAM_STATE/,
  ],
  [
    'CREDIT for a stream that never was',
    'client',
    (v) => v.frame({ type: 'CREDIT', stream: 0, offset: 1 }),
    /^STREAM_STATE: CREDIT: stream 0/,
  ],
  [
    'OPENED for a stream that never was',
    'client',
    (v) => v.frame({ type: 'OPENED', stream: 8, address: '' }),
    /^STREAM_STATE/,
  ],
  [
    'DATAGRAM for a stream that never was',
    'server',
    (v) => v.frame({ type: 'DATAGRAM', stream: 8, payload: Buffer.from('x') }),
    /^STREAM_STATE/,
  ],
  [
    'OPEN of a stream of the other parity',
    'server',
    (v) => v.frame(open(1)),
    /^STREAM_STATE: OPEN: stream 1 is not the sender's/,
  ],
  [
    'OPEN of kind ACCEPTED from a client',
    'server',
    (v) => v.frame({ type: 'OPEN', stream: 0, target: { kind: 'ACCEPTED', listener: 0, origin: '' } }),
    /^UNKNOWN_FRAME: OPEN: kind ACCEPTED may not come from a client/,
  ],
  [
    'OPEN of kind TCP from a server',
    'client',
    (v) => v.frame(open(1)),
    /^UNKNOWN_FRAME: OPEN: kind TCP may not come from a server/,
  ],
  [
    'LISTEN from a server',
    'client',
    (v) => v.frame({ type: 'LISTEN', stream: 1, target: TCP }),
    /^UNKNOWN_FRAME: LISTEN/,
  ],
  [
    'JOINED in a session',
    'client',
    (v) => v.frame({ type: 'JOINED', carriers: [], proof: new Uint8Array(32) }),
    /^UNKNOWN_FRAME: JOINED: not due here/,
  ],
  [
    'JOIN_FAILED in a session',
    'client',
    (v) => v.frame({ type: 'JOIN_FAILED', code: 0, text: '' }),
    /^UNKNOWN_FRAME: JOIN_FAILED/,
  ],
  [
    'a second HELLO',
    'server',
    (v) => v.frame({ type: 'HELLO', mode: 'new', nonce: new Uint8Array(16), parameters: PARAMETERS }),
    /^HELLO_REQUIRED: HELLO: a second one/,
  ],
  [
    'a stream beyond the limit',
    'server',
    (v) => v.frame(open(2 * 256)),
    /^STREAM_LIMIT: OPEN: stream 512 is number 257 \(allowed: 256\)/,
  ],
  [
    'OPENED by the opener',
    'server',
    (v) => v.frame(open(0)).frame({ type: 'OPENED', stream: 0, address: '' }),
    /^STREAM_STATE: OPENED: stream 0 is the sender's own/,
  ],
  [
    'OPEN_FAILED by the opener',
    'server',
    (v) => v.frame(open(0)).frame({ type: 'OPEN_FAILED', stream: 0, code: 0, text: '' }),
    /^STREAM_STATE/,
  ],
  [
    'DATA_NEXT before any DATA on this carrier',
    'client',
    (v) => {
      v.session.open(TCP, new Endpoint(), 0)
      v.transmit()
      v.data(0, undefined, 1)
    },
    /^STREAM_STATE: DATA_NEXT: nothing of stream 0 came before on carrier 0/,
  ],
  [
    'data beyond the credit',
    'server',
    (v) => v.frame(open(0)).data(0, 65_536, 1),
    /^CREDIT_EXCEEDED: DATA: bytes of stream 0 up to 65537 \(allowed: 65536\)/,
  ],
  [
    'OPEN with more data than the initial credit',
    'server',
    (v) => v.frame(open(0), Buffer.alloc(65_537)),
    /^CREDIT_EXCEEDED: OPEN: bytes of stream 0 up to 65537/,
  ],
  [
    'data past the final offset',
    'server',
    (v) => v.frame(open(0)).frame({ type: 'FIN', stream: 0, offset: 3 }).data(0, 0, 4),
    /^FINAL_OFFSET: DATA: bytes of stream 0 up to 4, past its end at 3/,
  ],
  [
    'a second final offset',
    'server',
    (v) => v.frame(open(0)).frame({ type: 'FIN', stream: 0, offset: 3 }).frame({ type: 'FIN', stream: 0, offset: 4 }),
    /^FINAL_OFFSET: FIN: stream 0 would end at 4, but its end is 3/,
  ],
  [
    'a final offset below what has come',
    'server',
    (v) => v.frame(open(0)).data(0, 0, 10).frame({ type: 'FIN', stream: 0, offset: 9 }),
    /^FINAL_OFFSET: FIN: stream 0 would end at 9, but bytes up to 10 have come/,
  ],
  [
    'RESET with another end than FIN',
    'server',
    (v) =>
      v
        .frame(open(0))
        .frame({ type: 'FIN', stream: 0, offset: 3 })
        .frame({ type: 'RESET', stream: 0, code: 0, offset: 5 }),
    /^FINAL_OFFSET: RESET/,
  ],
  [
    'DATA on a UDP stream',
    'server',
    (v) => v.frame({ type: 'OPEN', stream: 0, target: { kind: 'UDP', host: 'h', port: 1 } }).data(0, 0, 1),
    /^STREAM_STATE: DATA: stream 0 carries no bytes/,
  ],
  [
    'OPEN of kind UDP with data',
    'server',
    (v) => v.frame({ type: 'OPEN', stream: 0, target: { kind: 'UDP', host: 'h', port: 1 } }, Buffer.from('x')),
    /^STREAM_STATE: OPEN: stream 0 carries no bytes/,
  ],
  [
    'DATA on a listener',
    'server',
    (v) => v.frame({ type: 'LISTEN', stream: 0, target: TCP }).data(0, 0, 1),
    /^STREAM_STATE: DATA: stream 0 carries no bytes/,
  ],
  [
    'DATAGRAM on a TCP stream',
    'server',
    (v) => v.frame(open(0)).frame({ type: 'DATAGRAM', stream: 0, payload: Buffer.from('x') }),
    /^STREAM_STATE: DATAGRAM: stream 0 carries none/,
  ],
  [
    'DATA from a sender of datagrams that came at a listener',
    'client',
    (v) => v.listen({ kind: 'UDP', host: 'h', port: 1 }).accepted(1, 0, Buffer.from('x')),
    /^STREAM_STATE: OPEN: stream 1 carries no bytes/,
  ],
  [
    'DATAGRAM on a connection that came at a listener',
    'client',
    (v) =>
      v
        .listen(TCP)
        .accepted(1, 0)
        .frame({ type: 'DATAGRAM', stream: 1, payload: Buffer.from('x') }),
    /^STREAM_STATE: DATAGRAM: stream 1 carries none/,
  ],
  [
    'LISTEN of kind UNIX that was not agreed on',
    'server',
    (v) => v.frame({ type: 'LISTEN', stream: 0, target: { kind: 'UNIX', path: '/s' } }),
    /^UNKNOWN_FRAME: LISTEN: kind UNIX was not agreed on/,
    { features: 2 },
  ],
  [
    'ACK of more than was sent',
    'server',
    (v) => v.frame({ type: 'ACK', carrier: 0, count: 1, delay: 0 }),
    /^ACK_RANGE: ACK: 1 messages of carrier 0 \(sent: 0\)/,
  ],
  [
    'ACK for no carrier',
    'server',
    (v) => v.frame({ type: 'ACK', carrier: 9, count: 0, delay: 0 }),
    /^ACK_RANGE: ACK: there was no carrier 9/,
  ],
  [
    'an unknown frame',
    'server',
    (v) => v.receive(Uint8Array.of(0x3f, 0)),
    /^UNKNOWN_FRAME: frame type 0x3f is not known/,
  ],
  ['an empty message', 'server', (v) => v.receive(new Uint8Array(0)), /^MALFORMED: an empty message/],
  ['an empty DATA', 'server', (v) => v.frame(open(0)).data(0, 0, 0), /^MALFORMED: DATA without data/],
  [
    'a message above max_message',
    'server',
    (v) => v.session.begin(0, 512 * 1024 + 1, 0),
    /^TOO_BIG: a message of 524289 bytes or more \(allowed: 524288\)/,
  ],
  [
    'a flood of CREDIT that gives none',
    'server',
    (v) => {
      v.frame(open(0))
      for (let i = 0; i < 5000; i++) v.frame({ type: 'CREDIT', stream: 0, offset: 1 })
    },
    /^FLOOD: CREDIT: more than 4096 frames/,
  ],
  [
    'a flood of PING',
    'client',
    (v) => {
      for (let i = 0; i < 5000; i++) v.frame({ type: 'PING', opaque: new Uint8Array(0) })
    },
    /^FLOOD: PING/,
  ],
  [
    'a flood of ACK',
    'client',
    (v) => {
      for (let i = 0; i < 5000; i++) v.frame({ type: 'ACK', carrier: 0, count: 0, delay: 0 })
    },
    /^FLOOD: ACK/,
  ],
  [
    'a flood of ignorable frames',
    'client',
    (v) => {
      for (let i = 0; i < 5000; i++) v.receive(Uint8Array.of(0xc0))
    },
    /^FLOOD: an ignorable frame/,
  ],
  [
    'a flood of OPEN and RESET',
    'server',
    (v) => {
      // Nothing is acknowledged, so nothing is forgotten, and the limit stays.
      for (let i = 0; i < 300; i++) v.frame(open(i * 2)).frame({ type: 'RESET', stream: i * 2, code: 0, offset: 0 })
    },
    /^STREAM_LIMIT/,
  ],
  [
    'a flood of RESET for a stream that is forgotten',
    'server',
    (v) => {
      v.frame(open(0)).frame({ type: 'RESET', stream: 0, code: 0, offset: 0 })
      for (let i = 0; i < 5000 && !v.session.over; i++) {
        const sent = v.transmit().length
        if (sent > 0) v.frame({ type: 'ACK', carrier: 0, count: sent, delay: 0 })
        v.frame({ type: 'RESET', stream: 0, code: 0, offset: 0 })
      }
    },
    /^FLOOD: RESET/,
  ],
]

describe('a peer that breaks a rule is told which, and the session ends', () => {
  for (const [what, to, act, expected, said] of CASES) {
    it(`${what}, to a ${to}`, () => {
      const victim = new Victim(to, said)
      const bystander = new Victim(to)
      act(victim)
      assert.equal(victim.said.length, 1, `said ${JSON.stringify(victim.said)}`)
      assert.match(victim.said[0]!, expected)
      const close = victim.transmit().at(-1)!
      assert.equal(close[0], 0x11, 'CLOSE is the last message')
      assert.ok(victim.session.over && !bystander.session.over)
      assert.deepEqual(victim.transmit(), [], 'and nothing follows it')
      victim.frame(open(0))
      assert.equal(victim.said.length, 1, 'what comes after it is ignored')
    })
  }
})

describe('what is allowed although it is odd', () => {
  it('a second OPEN of a live stream is its data again; one of a forgotten stream dials nothing', () => {
    const opened: number[] = []
    const victim = new Victim('server')
    const before = victim.session.figures.streams
    victim.frame(open(0), Buffer.from('ab')).frame(open(0), Buffer.from('abc'))
    assert.equal(victim.session.figures.streams, before + 1)
    victim.frame({ type: 'RESET', stream: 0, code: 0, offset: 3 })
    victim.frame({ type: 'ACK', carrier: 0, count: victim.transmit().length, delay: 0 })
    assert.equal(victim.session.figures.streams, 0)
    victim.frame(open(0), Buffer.from('abc'))
    assert.equal(victim.session.figures.streams, 0)
    assert.deepEqual([victim.said, opened], [[], []])
    assert.equal(victim.session.figures.framesIgnored, 1)
  })

  it('a declared length is checked before a byte is taken', () => {
    const victim = new Victim('server')
    victim.frame(open(0))
    const head = new Uint8Array(17)
    const size = writeDataHeader(head, 0, 0)
    victim.session.begin(0, 100_000, 0)
    victim.session.push(0, head.subarray(0, size), undefined, 0)
    assert.match(victim.said[0]!, /^CREDIT_EXCEEDED/)
  })

  it('what comes for a listener that is gone is ignored, whatever it carries', () => {
    for (const frame of [
      { type: 'DATAGRAM', stream: 1, payload: Buffer.from('x') },
      { type: 'FIN', stream: 1, offset: 1 },
    ] as const) {
      const victim = new Victim('client').accepted(1, 8, Buffer.from('x')).frame(frame)
      assert.deepEqual(victim.said, [])
    }
  })

  it('kinds that were not agreed on are refused', () => {
    const victim = new Victim('server', { features: 0 })
    victim.frame({ type: 'OPEN', stream: 0, target: { kind: 'UDP', host: 'h', port: 1 } })
    assert.match(victim.said[0]!, /^UNKNOWN_FRAME: OPEN: kind UDP was not agreed on/)
    const other = new Victim('server', { features: 0 })
    other.frame({ type: 'LISTEN', stream: 0, target: TCP })
    assert.match(other.said[0]!, /^UNKNOWN_FRAME: LISTEN: not agreed on/)
  })
})
