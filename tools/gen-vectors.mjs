// Writes spec/vectors/*.json. The bytes are put together here, field by field, by a writer of its own that shares nothing with
// src/wire: a vector that only repeats what the code does proves nothing. With --check it fails when a file is stale.
import { createHmac } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './root.mjs'

const folder = join(root, 'spec', 'vectors')
mkdirSync(folder, { recursive: true })

const u8 = (value) => value.toString(16).padStart(2, '0')
const u16 = (value) => value.toString(16).padStart(4, '0')
/** RFC 9000 §16, by its table. */
function varint(value) {
  const big = BigInt(value)
  if (big < 64n) return u8(Number(big))
  if (big < 16384n) return (big + 0x4000n).toString(16).padStart(4, '0')
  if (big < 1073741824n) return (big + 0x80000000n).toString(16).padStart(8, '0')
  return (big + 0xc000000000000000n).toString(16).padStart(16, '0')
}
const text = (value) => varint(Buffer.byteLength(value)) + Buffer.from(value).toString('hex')
const fill = (byte, length) => u8(byte).repeat(length)
const bytes = (hex) => Buffer.from(hex, 'hex')

const NONCE_S = fill(0x11, 16)
const NONCE_C = fill(0x22, 16)
const ID = '000102030405060708090a0b0c0d0e0f'
const SECRET = fill(0x5a, 32)

const DEFAULTS = {
  max_message: 4096,
  initial_credit: 65536,
  max_streams: 0,
  ack_bytes: 65536,
  ack_delay: 25,
  resume_for: 0,
  max_carriers: 1,
  max_datagram: 0,
  features: 0,
}
const NUMBERS = Object.fromEntries(Object.keys(DEFAULTS).map((name, index) => [name, index]))
const SAID = {
  max_message: 524288,
  max_streams: 100,
  resume_for: 300000,
  max_carriers: 8,
  max_datagram: 1200,
  features: 3,
}
function parameters(said) {
  const rows = Object.entries(said)
  return (
    varint(rows.length) +
    rows.map(([name, value]) => varint(NUMBERS[name]) + varint(varint(value).length / 2) + varint(value)).join('')
  )
}
const hello = (mode, nonce, said) => `01${u8(1)}${u8(mode)}${nonce}${parameters(said)}`
const serverHello = (said = SAID, route = 'node-7') => hello(0, NONCE_S, said) + ID + SECRET + text(route)
const counts = (list) =>
  varint(list.length) + list.map(({ carrier, received }) => varint(carrier) + varint(received)).join('')
function joinHello(carrier, dead, server = serverHello(), secret = SECRET) {
  const head = hello(2, NONCE_C, SAID) + ID + varint(carrier) + counts(dead)
  return head + proof(0, carrier, server, head, secret)
}
function proof(role, carrier, server, rest, secret = SECRET) {
  const u64 = carrier.toString(16).padStart(16, '0')
  const u32 = (server.length / 2).toString(16).padStart(8, '0')
  const input = Buffer.from('sluice.1 join').toString('hex') + u8(role) + ID + u64 + u32 + server + rest
  return createHmac('sha256', bytes(secret)).update(bytes(input)).digest('hex')
}
function joined(carrier, list, server, clientHello) {
  const head = `12${counts(list)}`
  return head + proof(1, carrier, server, clientHello + head)
}

const frames = []
const frame = (name, hex, value, data) =>
  frames.push({ name, hex, frame: value, ...(data === undefined ? {} : { data }) })
const params = (said) => ({ ...DEFAULTS, ...said })

frame('HELLO of a server', serverHello(), {
  type: 'HELLO',
  nonce: NONCE_S,
  parameters: params(SAID),
  mode: 'server',
  sessionId: ID,
  secret: SECRET,
  route: 'node-7',
})
frame('HELLO of a server, nothing said, no route', serverHello({}, ''), {
  type: 'HELLO',
  nonce: NONCE_S,
  parameters: params({}),
  mode: 'server',
  sessionId: ID,
  secret: SECRET,
  route: '',
})
frame('HELLO of a client, new session', hello(1, NONCE_C, SAID), {
  type: 'HELLO',
  nonce: NONCE_C,
  parameters: params(SAID),
  mode: 'new',
})
frame('HELLO of a client, join without dead carriers', joinHello(1, []), {
  type: 'HELLO',
  nonce: NONCE_C,
  parameters: params(SAID),
  mode: 'join',
  sessionId: ID,
  carrier: 1,
  dead: [],
  proof: joinHello(1, []).slice(-64),
})
frame(
  'HELLO of a client, join with two dead carriers',
  joinHello(70000, [
    { carrier: 0, received: 5 },
    { carrier: 69999, received: 1000000 },
  ]),
  {
    type: 'HELLO',
    nonce: NONCE_C,
    parameters: params(SAID),
    mode: 'join',
    sessionId: ID,
    carrier: 70000,
    dead: [
      { carrier: 0, received: 5 },
      { carrier: 69999, received: 1000000 },
    ],
    proof: joinHello(70000, [
      { carrier: 0, received: 5 },
      { carrier: 69999, received: 1000000 },
    ]).slice(-64),
  },
)
const tcp = (host, port) => u8(0) + text(host) + u16(port)
frame(
  'OPEN, TCP, no data',
  `02${varint(0)}${tcp('db.corp', 5432)}`,
  { type: 'OPEN', stream: 0, target: { kind: 'TCP', host: 'db.corp', port: 5432 } },
  '',
)
frame(
  'OPEN, TCP, with first data',
  `02${varint(4)}${tcp('db.corp', 5432)}00000008`,
  { type: 'OPEN', stream: 4, target: { kind: 'TCP', host: 'db.corp', port: 5432 } },
  '00000008',
)
frame(
  'OPEN, TCP, IPv6, longest host',
  `02${varint(16384)}${tcp('a'.repeat(255), 65535)}ff`,
  { type: 'OPEN', stream: 16384, target: { kind: 'TCP', host: 'a'.repeat(255), port: 65535 } },
  'ff',
)
frame(
  'OPEN, UDP',
  `02${varint(2)}01${text('::1')}${u16(53)}`,
  { type: 'OPEN', stream: 2, target: { kind: 'UDP', host: '::1', port: 53 } },
  '',
)
frame(
  'OPEN, unix',
  `02${varint(6)}02${text('/run/x.sock')}0a`,
  { type: 'OPEN', stream: 6, target: { kind: 'UNIX', path: '/run/x.sock' } },
  '0a',
)
frame(
  'OPEN, unix, longest path and data',
  `02${varint(8)}02${text('p'.repeat(1024))}0102`,
  { type: 'OPEN', stream: 8, target: { kind: 'UNIX', path: 'p'.repeat(1024) } },
  '0102',
)
frame(
  'OPEN, named',
  `02${varint(10)}03${text('web')}`,
  { type: 'OPEN', stream: 10, target: { kind: 'NAMED', name: 'web' } },
  '',
)
frame(
  'OPEN, accepted, with first data',
  `02${varint(1)}04${varint(12)}${text('192.0.2.7:51234')}48`,
  { type: 'OPEN', stream: 1, target: { kind: 'ACCEPTED', listener: 12, origin: '192.0.2.7:51234' } },
  '48',
)
frame('OPENED', `03${varint(0)}${text('10.0.0.5:5432')}`, { type: 'OPENED', stream: 0, address: '10.0.0.5:5432' })
frame('OPENED without an address', `03${varint(0)}00`, { type: 'OPENED', stream: 0, address: '' })
frame('OPEN_FAILED', `04${varint(0)}${varint(4)}${text('ECONNREFUSED db:1')}`, {
  type: 'OPEN_FAILED',
  stream: 0,
  code: 4,
  text: 'ECONNREFUSED db:1',
})
frame('OPEN_FAILED with a code nobody knows', `04${varint(0)}${varint(5000)}00`, {
  type: 'OPEN_FAILED',
  stream: 0,
  code: 5000,
  text: '',
})
for (const [stream, offset] of [
  [0, 0],
  [63, 63],
  [64, 64],
  [16383, 16383],
  [16384, 16384],
  [1073741823, 1073741823],
  [1073741824, 1073741824],
  [9007199254740990, 9007199254740990],
]) {
  frame(
    `DATA, stream ${stream} at ${offset}`,
    `05${varint(stream)}${varint(offset)}00`,
    { type: 'DATA', stream, offset },
    '00',
  )
  frame(`DATA_NEXT, stream ${stream}`, `06${varint(stream)}61`, { type: 'DATA_NEXT', stream }, '61')
}
frame(
  'DATA, 300 bytes',
  `05${varint(1)}${varint(7)}${fill(0xab, 300)}`,
  { type: 'DATA', stream: 1, offset: 7 },
  fill(0xab, 300),
)
frame('FIN', `07${varint(2)}${varint(1000000)}`, { type: 'FIN', stream: 2, offset: 1000000 })
frame('RESET', `08${varint(3)}${varint(1)}${varint(0)}`, { type: 'RESET', stream: 3, code: 1, offset: 0 })
frame('CREDIT', `09${varint(2)}${varint(131072)}`, { type: 'CREDIT', stream: 2, offset: 131072 })
frame('CREDIT, greatest', `09${varint(2)}${varint(9007199254740991n)}`, {
  type: 'CREDIT',
  stream: 2,
  offset: 9007199254740991,
})
frame('MAX_STREAMS', `0a${varint(200)}`, { type: 'MAX_STREAMS', count: 200 })
frame('ACK', `0b${varint(0)}${varint(17)}${varint(25000)}`, { type: 'ACK', carrier: 0, count: 17, delay: 25000 })
frame('PING, empty', '0c', { type: 'PING', opaque: '' })
frame('PING, 32 bytes', `0c${fill(7, 32)}`, { type: 'PING', opaque: fill(7, 32) })
frame('PONG', '0d0102', { type: 'PONG', opaque: '0102' })
frame('DATAGRAM', `0e${varint(2)}c0ffee`, { type: 'DATAGRAM', stream: 2, payload: 'c0ffee' })
frame('DATAGRAM, empty', `0e${varint(2)}`, { type: 'DATAGRAM', stream: 2, payload: '' })
frame('LISTEN, TCP, any host, any port', `0f${varint(12)}00${text('')}${u16(0)}`, {
  type: 'LISTEN',
  stream: 12,
  target: { kind: 'TCP', host: '', port: 0 },
})
frame('LISTEN, unix', `0f${varint(14)}02${text('/tmp/s')}`, {
  type: 'LISTEN',
  stream: 14,
  target: { kind: 'UNIX', path: '/tmp/s' },
})
frame('GOAWAY of a carrier', `1000${varint(0)}`, { type: 'GOAWAY', scope: 'carrier', limit: 0 })
frame('GOAWAY of the session', `1001${varint(40)}`, { type: 'GOAWAY', scope: 'session', limit: 40 })
frame('CLOSE', `11${varint(2)}${text('FIN: 2 bytes are left over')}`, {
  type: 'CLOSE',
  code: 2,
  text: 'FIN: 2 bytes are left over',
})
frame('CLOSE without a text', '110000', { type: 'CLOSE', code: 0, text: '' })
const ACCEPTED = joined(1, [{ carrier: 0, received: 9 }], serverHello(), joinHello(1, [{ carrier: 0, received: 4 }]))
frame('JOINED', ACCEPTED, { type: 'JOINED', carriers: [{ carrier: 0, received: 9 }], proof: ACCEPTED.slice(-64) })
frame('JOIN_FAILED', `13${varint(0)}${text('there is no such session')}`, {
  type: 'JOIN_FAILED',
  code: 0,
  text: 'there is no such session',
})
frame('ignorable, empty', 'c0', { type: 'IGNORED', number: 192 })
frames.push({
  name: 'ignorable, with a body',
  hex: 'ff010203',
  frame: { type: 'IGNORED', number: 255 },
  decodeOnly: true,
})

const refusals = []
const refuse = (name, hex, error = 'MALFORMED', more = {}) => refusals.push({ name, hex, error, ...more })
refuse('an empty message', '')
for (const type of ['00', '14', '3f', '40', '7f', '80', 'bf'])
  refuse(`frame type 0x${type}`, `${type}00`, 'UNKNOWN_FRAME')
// Each fixed frame, one byte short and one byte long; a frame that ends in free text or data cannot be too long.
const FREE = new Set(['OPEN', 'DATA', 'DATA_NEXT', 'PING', 'PONG', 'DATAGRAM', 'IGNORED'])
const seen = new Set()
for (const { frame: value, hex } of frames) {
  if (FREE.has(value.type) || seen.has(value.type + (value.mode ?? ''))) continue
  seen.add(value.type + (value.mode ?? ''))
  const what = value.mode === undefined ? value.type : `${value.type} (${value.mode})`
  refuse(`${what}, one byte short`, hex.slice(0, -2))
  refuse(`${what}, one byte left over`, `${hex}00`)
  refuse(`${what}, only its type`, hex.slice(0, 2))
}
refuse('OPEN, only its type', '02')
refuse('OPEN, cut in the host', `02${varint(0)}00${varint(7)}646200`)
refuse('OPEN, cut in the port', `02${varint(0)}00${text('db')}15`)
refuse('OPEN, an empty host', `02${varint(0)}${tcp('', 80)}`)
refuse('OPEN, a host of 256 bytes', `02${varint(0)}${tcp('a'.repeat(256), 80)}`)
refuse('OPEN, a host that is not UTF-8', `02${varint(0)}00${varint(2)}c3280050`)
refuse('OPEN, an empty path', `02${varint(0)}0200`)
refuse('OPEN, a path of 1025 bytes', `02${varint(0)}02${text('p'.repeat(1025))}`)
refuse('OPEN, a name of 65 bytes', `02${varint(0)}03${text('n'.repeat(65))}`)
refuse('OPEN, an empty name', `02${varint(0)}0300`)
refuse('OPEN, an origin of 301 bytes', `02${varint(1)}04${varint(0)}${text('o'.repeat(301))}`)
refuse('OPEN, a kind that is not known', `02${varint(0)}05${text('db')}0050`)
refuse('LISTEN, kind NAMED', `0f${varint(0)}03${text('web')}`)
refuse('LISTEN, kind ACCEPTED', `0f${varint(0)}04${varint(0)}${text('x')}`)
refuse('LISTEN, with data', `0f${varint(0)}00${text('h')}0050ff`)
refuse('DATA without data', `05${varint(0)}${varint(0)}`)
refuse('DATA, cut in the stream', '0540')
refuse('DATA, cut in the offset', '050040')
refuse('DATA, only its type', '05')
refuse('DATA_NEXT without data', `06${varint(0)}`)
refuse('DATA_NEXT, only its type', '06')
refuse('DATAGRAM without a stream', '0e')
refuse('PING of 33 bytes', `0c${fill(0, 33)}`)
refuse('PONG of 33 bytes', `0d${fill(0, 33)}`)
refuse('GOAWAY, scope 2', `1002${varint(0)}`)
refuse('OPENED, an address of 301 bytes', `03${varint(0)}${text('a'.repeat(301))}`)
refuse('OPEN_FAILED, a text of 301 bytes', `04${varint(0)}${varint(0)}${text('t'.repeat(301))}`)
refuse('CLOSE, a text that is not UTF-8', '110001ff')
refuse('CLOSE, a text of 301 bytes', `11${varint(0)}${text('t'.repeat(301))}`)
refuse(
  'JOINED, a list of 65',
  `12${counts(Array.from({ length: 65 }, (_, carrier) => ({ carrier, received: 0 })))}${fill(0, 32)}`,
)
for (const [form, longer] of [
  ['1 byte as 2', '4000'],
  ['1 byte as 4', '80000000'],
  ['1 byte as 8', 'c000000000000000'],
  ['2 bytes as 4', '80000040'],
  ['2 bytes as 8', 'c000000000000040'],
  ['4 bytes as 8', 'c000000000004000'],
]) {
  refuse(`FIN, an offset of ${form}`, `0700${longer}`)
  refuse(`DATA, a stream of ${form}`, `05${longer}0000`)
}
refuse('CREDIT, an offset of 2^53', '0900c020000000000000')
refuse('DATA, an offset of 2^62 - 1', '0500ffffffffffffffff00')
refuse('HELLO, version 2', `0102${'01'}${NONCE_C}00`)
refuse('HELLO, mode 3', `0101${'03'}${NONCE_C}00`)
refuse('HELLO, a parameter twice', `010101${NONCE_C}02${'020132'}${'020132'}`)
refuse('HELLO, a parameter whose value is too long', `010101${NONCE_C}01${'02023200'}`)
refuse('HELLO, a parameter without a value', `010101${NONCE_C}01${'0200'}`)
refuse('HELLO, max_message of 4095', `010101${NONCE_C}01${'00'}02${varint(4095)}`)
refuse('HELLO, ack_bytes of 0', `010101${NONCE_C}01${'03'}0100`)
refuse('HELLO, ack_delay of 1001', `010101${NONCE_C}01${'04'}02${varint(1001)}`)
refuse('HELLO, max_carriers of 0', `010101${NONCE_C}01${'06'}0100`)
refuse(
  'HELLO, 65 parameters',
  `010101${NONCE_C}${varint(65)}${Array.from({ length: 65 }, (_, id) => `${varint(id + 100)}0100`).join('')}`,
)
refuse('HELLO, a route with a slash', hello(0, NONCE_S, {}) + ID + SECRET + text('a/b'))
refuse('HELLO, a route of 256 bytes', hello(0, NONCE_S, {}) + ID + SECRET + text('r'.repeat(256)))
refuse(
  'HELLO, join with a list of 65',
  hello(2, NONCE_C, {}) +
    ID +
    varint(65) +
    counts(Array.from({ length: 65 }, (_, carrier) => ({ carrier, received: 0 }))) +
    fill(0, 32),
)
refuse('a message above the limit', `05${varint(0)}${varint(0)}${fill(1, 4094)}`, 'TOO_BIG', { maxMessage: 4096 })

frames.push({
  name: 'HELLO with a parameter that nobody knows',
  hex: `010101${NONCE_C}02${'020132'}${varint(4000)}03c0ffee`,
  frame: { type: 'HELLO', nonce: NONCE_C, parameters: params({ max_streams: 50 }), mode: 'new' },
  decodeOnly: true,
})

const varints = []
for (const value of [
  0, 1, 37, 63, 64, 15293, 16383, 16384, 494878333, 1073741823, 1073741824, 4294967295, 4294967296, 9007199254740991,
]) {
  varints.push({ name: `${value}`, hex: varint(value), value })
}
for (const [name, hex] of [
  ['64 as 1 in 2 bytes', '403f'],
  ['0 in 2 bytes', '4000'],
  ['16383 in 4 bytes', '80003fff'],
  ['0 in 4 bytes', '80000000'],
  ['2^30 - 1 in 8 bytes', 'c00000003fffffff'],
  ['0 in 8 bytes', 'c000000000000000'],
  ['2^53', 'c020000000000000'],
  ['2^62 - 1', 'ffffffffffffffff'],
]) {
  varints.push({ name, hex, error: 'MALFORMED' })
}

// Conversations: every message that either side sends, in order; ACKs are left out, since when they are sent is the sender's choice.
const conversations = []
const talk = (name, note, messages) => conversations.push({ name, note, messages })
const C = (hex, carrier = 0) => ({ from: 'client', carrier, hex })
const S = (hex, carrier = 0) => ({ from: 'server', carrier, hex })
const clientNew = hello(1, NONCE_C, SAID)
const open0 = `02${varint(0)}${tcp('db', 5432)}70696e67`
talk(
  'a request and its answer',
  'The client opens a stream with its first data right after its HELLO; both directions end with FIN.',
  [
    S(serverHello()),
    C(clientNew),
    C(open0),
    S(`03${varint(0)}${text('10.0.0.5:5432')}`),
    S(`05${varint(0)}${varint(0)}706f6e67`),
    S(`07${varint(0)}${varint(4)}`),
    C(`07${varint(0)}${varint(4)}`),
  ],
)
talk('a refused target', 'OPEN_FAILED ends both directions; what the client had sent is dropped.', [
  S(serverHello()),
  C(clientNew),
  C(open0),
  S(`04${varint(0)}${varint(4)}${text('ECONNREFUSED db:5432')}`),
])
talk(
  'a listener for datagrams',
  'The server opens a stream for a sender that it has not seen; one datagram comes and is answered, then the sender is forgotten.',
  [
    S(serverHello()),
    C(clientNew),
    C(`0f${varint(0)}01${text('127.0.0.1')}${u16(5353)}`),
    S(`03${varint(0)}${text('127.0.0.1:5353')}`),
    S(`02${varint(1)}04${varint(0)}${text('192.0.2.7:51234')}`),
    C(`03${varint(1)}${text('10.0.0.9:53')}`),
    S(`0e${varint(1)}70696e67`),
    C(`0e${varint(1)}706f6e67`),
    S(`07${varint(1)}${varint(0)}`),
    C(`07${varint(1)}${varint(0)}`),
  ],
)
const dead = [{ carrier: 0, received: 1 }]
const join1 = joinHello(1, dead)
talk(
  'a drop, a join, and what was lost is sent again',
  'Carrier 0 dies after the OPEN arrived; the DATA after it did not. The server has processed 1 message, the client 1 (OPENED). The client sends its 5 bytes again on carrier 1.',
  [
    S(serverHello()),
    C(clientNew),
    C(open0),
    S(`03${varint(0)}${text('10.0.0.5:5432')}`),
    { ...C(`06${varint(0)}68656c6c6f`), lost: true },
    { event: 'carrier 0 is lost' },
    S(serverHello(), 1),
    C(join1, 1),
    S(joined(1, [{ carrier: 0, received: 1 }], serverHello(), join1), 1),
    C(`05${varint(0)}${varint(4)}68656c6c6f`, 1),
  ],
)
const wrong = joinHello(1, dead, serverHello(), fill(0x5b, 32))
talk('a refused proof', 'The secret is wrong: the answer is that to an unknown session.', [
  S(serverHello()),
  C(clientNew),
  { event: 'carrier 0 is lost' },
  S(serverHello(), 1),
  C(wrong, 1),
  S(`13${varint(0)}${text('there is no such session')}`, 1),
])
talk('an unknown session', 'Another process, or one that was restarted: it knows no such id.', [
  S(serverHello()),
  C(join1),
  S(`13${varint(0)}${text('there is no such session')}`),
])
talk('a violation', 'A second HELLO ends the session with CLOSE; the other side is told why.', [
  S(serverHello()),
  C(clientNew),
  C(clientNew),
  S(`11${varint(4)}${text('HELLO: a second one on a carrier')}`),
])

// --- carriers over HTTP (spec/http-1.md §1) ---

const http = []
const END = '00'
const MARK = '01'
const message = (hex) => varint(hex.length / 2) + hex
function part(kind, name, messages, hex, more = {}) {
  http.push({ name, kind, hex, messages, ...more })
}
function notPart(kind, name, hex, error, more = {}) {
  http.push({ name, kind, hex, error, ...more })
}
const ping = `0c${fill(7, 4)}`
const long = `06${varint(0)}${fill(0x61, 70)}`
const longest = `06${varint(4)}${fill(0x62, 16400)}`
part('up', 'an empty part', [], END)
part('up', 'one message', [ping], message(ping) + END)
part('up', 'a length of two bytes', [long], message(long) + END)
part('up', 'a length of four bytes, and another message', [longest, ping], message(longest) + message(ping) + END)
part('up', 'many messages', Array(20).fill(ping), message(ping).repeat(20) + END)
part('down', 'an empty answer', [], MARK + END)
part('down', 'an answer with two messages', [ping, long], MARK + message(ping) + message(long) + END)
part('begin', 'the answer that begins a carrier', [serverHello()], MARK + ID + message(serverHello()) + END, { id: ID })
notPart('up', 'nothing', '', 'CUT')
notPart('up', 'no end', message(ping), 'CUT')
notPart('up', 'a message that is cut', message(ping).slice(0, -2), 'CUT')
notPart('up', 'a length that is cut', '40', 'CUT')
notPart('up', 'a byte after the end', `${message(ping)}${END}${END}`, 'MALFORMED')
notPart('up', 'a length that is not in its shortest form', `4005${ping}${END}`, 'MALFORMED')
notPart('up', 'an end that is not in its shortest form', '4000', 'MALFORMED')
notPart('up', 'a length above 2^53 - 1', `${fill(0xff, 8)}`, 'MALFORMED')
notPart('up', 'a message above the limit', message(longest) + END, 'TOO_BIG', { maxMessage: 16000 })
notPart('up', 'a length above the limit, and nothing of the message', varint(524289), 'TOO_BIG')
notPart('down', 'an answer without its mark', message(ping) + END, 'MALFORMED')
notPart('down', 'a page of somebody else', Buffer.from('<!doctype html>').toString('hex'), 'MALFORMED')
notPart('down', 'an answer that is cut after its mark', MARK, 'CUT')
notPart('begin', 'an id that is cut', MARK + ID.slice(2), 'CUT')
notPart('begin', 'an answer without a part', MARK + ID, 'CUT')

const outputs = {
  'frames.json': frames,
  'refusals.json': refusals,
  'varints.json': varints,
  'http.json': http,
  'conversations.json': conversations,
}
let stale = 0
for (const [file, value] of Object.entries(outputs)) {
  const rows = value.map((row) => `  ${JSON.stringify(row)}`).join(',\n')
  const content = `[\n${rows}\n]\n`
  const path = join(folder, file)
  if (!process.argv.includes('--check')) writeFileSync(path, content)
  else if (readFileSync(path, 'utf8') !== content) {
    stale++
    console.error(`gen-vectors: ${file} is stale: run node tools/gen-vectors.mjs`)
  }
}
console.log(
  `gen-vectors: ${Object.entries(outputs)
    .map(([file, rows]) => `${rows.length} ${file.slice(0, -5)}`)
    .join(', ')}, ${stale} stale`,
)
process.exit(stale ? 1 : 0)
