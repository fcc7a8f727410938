// Fuzzes everything that reads what strangers send: whatever the bytes, the ending is "accepted" or a documented refusal.
//   fuzz.js --seconds N [--seed S]
import {
  parseClientToken,
  parseDuration,
  parseForwards,
  parseHostPort,
  parseRule,
  parseServerUrl,
  parseTemplate,
  parseTokenFile,
} from '#src/config/index.js'
import { CODES, SluiceError } from '#src/errors/index.js'
import { ProxyHandshake, parseSocksDatagram } from '#src/proxy/index.js'
import { parseHttpAsked } from '#src/server/http/request.js'
import { Policy } from '#src/server/index.js'
import { Session } from '#src/session/index.js'
import {
  Connection,
  checkRequest,
  FrameDecoder,
  type HeaderFields,
  MessageAssembler,
  ResponseHeadParser,
} from '#src/websocket/index.js'
import {
  closeReasonName,
  encodeFrame,
  type Frame,
  MessageDecoder,
  PART_END,
  PartReader,
  partHead,
  Violation,
  withDefaults,
} from '#src/wire/index.js'
import { Random, randomCuts } from '../helpers/random.js'
import { naiveDecode } from '../websocket/naive.js'
import { naiveMessage } from '../wire/naive.js'

const argument = (name: string, preset: number) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? preset : Number(process.argv[at + 1])
}
const END = Uint8Array.of(PART_END)
const seconds = argument('--seconds', 10)
const firstSeed = argument('--seed', Date.now() % 1_000_000_000)

/** Text made of what the grammars are made of, and some that is not. */
function text(random: Random): string {
  const atoms = [
    'a',
    'db',
    'corp',
    '.',
    ':',
    '::',
    '[',
    ']',
    '/',
    '*',
    '*.',
    '@',
    '0',
    '1',
    '80',
    '65535',
    '65536',
    '-',
    ',',
    '10.0.0.0',
    '127.0.0.1',
    'fe80::1',
    'ws://',
    'wss://',
    '%',
    '?',
    '#',
    ' ',
    '\n',
    '\r\n',
    '\u0000',
    'é',
    'sha256-',
    's',
    'ms',
    '{host}',
    '{',
    '}',
    'HTTP/1.1 101 x',
    'Upgrade',
  ]
  let made = ''
  for (let i = random.below(9); i >= 0; i--) made += atoms[random.below(atoms.length)]
  return made
}

function frames(random: Random): Buffer {
  const parts: Buffer[] = []
  for (let i = random.below(5); i >= 0; i--) {
    const head = random.bytes(2 + random.below(12))
    if (random.below(3) > 0) head[0] = [0x82, 0x81, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8a][random.below(8)]!
    if (random.below(3) > 0) head[1] = (random.below(2) << 7) | random.below(128)
    parts.push(head, random.bytes(random.below(300)))
  }
  return Buffer.concat(parts)
}

const nothing = {
  messageStart() {},
  payload() {},
  messageEnd() {},
  ping() {},
  pong() {},
  closeReceived() {},
  failed() {},
}

/** A message of sluice.1: a frame that makes some sense, often with bytes changed, or no sense at all. */
function message(random: Random): Buffer {
  const stream = random.below(8)
  const offset = random.below(4) === 0 ? random.below(200_000) : random.below(8)
  const samples: Frame[] = [
    { type: 'OPEN', stream, target: { kind: random.below(3) === 0 ? 'UDP' : 'TCP', host: 'h', port: 1 } },
    { type: 'LISTEN', stream, target: { kind: 'TCP', host: '', port: 0 } },
    { type: 'OPENED', stream, address: 'a:1' },
    { type: 'OPEN_FAILED', stream, code: random.below(20), text: 't' },
    { type: 'FIN', stream, offset },
    { type: 'RESET', stream, code: random.below(8), offset },
    { type: 'CREDIT', stream, offset: random.below(1_000_000) },
    { type: 'MAX_STREAMS', count: random.below(1_000) },
    { type: 'ACK', carrier: random.below(2), count: random.below(6), delay: random.below(100_000) },
    { type: 'PING', opaque: new Uint8Array(random.below(32)) },
    { type: 'DATAGRAM', stream, payload: new Uint8Array(random.below(50)) },
    { type: 'GOAWAY', scope: random.below(2) === 0 ? 'carrier' : 'session', limit: random.below(9) },
    { type: 'CLOSE', code: random.below(20), text: 'x' },
  ]
  const kind = random.below(samples.length + 3)
  const body = random.bytes(random.below(40))
  if (kind === samples.length) return random.bytes(random.below(60))
  if (kind > samples.length) return Buffer.concat([Uint8Array.of(5 + random.below(2), stream, random.below(64)), body])
  const bytes = Buffer.from(encodeFrame(samples[kind]!))
  if (random.below(4) === 0) bytes[random.below(bytes.length)] = random.below(256)
  return samples[kind]!.type === 'OPEN' ? Buffer.concat([bytes, body]) : bytes
}

/** What a decoder makes of a message in these parts: `[name, field, …]` as the naive one has it, or the refusal's code. */
function decoded(parts: readonly Uint8Array[]): unknown[] | string {
  let said: unknown[] = []
  const data: Uint8Array[] = []
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const fields = (frame: Frame) =>
    Object.values(frame).map((value) => (value instanceof Uint8Array ? hex(value) : value))
  let streams = false
  const decoder = new MessageDecoder(
    {
      frame: (frame) => {
        said = fields(frame)
      },
      open: (frame) => {
        said = fields(frame)
        streams = true
      },
      data: (stream, offset) => {
        said = offset === undefined ? ['DATA_NEXT', stream] : ['DATA', stream, offset]
        streams = true
      },
      payload: (bytes) => void data.push(bytes.slice()),
    },
    4096,
  )
  try {
    decoder.begin(undefined)
    for (const part of parts) decoder.push(part)
    decoder.end()
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    return closeReasonName(error.reason)
  }
  return streams ? [...said, hex(Buffer.concat(data))] : said
}

const TARGETS: Record<string, (random: Random) => void> = {
  decoder: (random) => {
    const bytes = frames(random)
    const role = random.below(2) === 0 ? 'client' : 'server'
    let told = 0
    const decoder = new FrameDecoder(
      { messageStart() {}, payload() {}, messageEnd: () => told++, control: () => told++ },
      { role },
    )
    let refused = 0
    try {
      for (const piece of randomCuts(bytes, random)) decoder.decode(piece)
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      refused = error.closeCode ?? -1
    }
    const { events } = naiveDecode(bytes, role === 'server')
    const last = events.at(-1)
    const naive = last !== undefined && 'refused' in last ? last.refused : 0
    if (refused !== naive || told !== events.length - (naive === 0 ? 0 : 1))
      throw new Error(`disagrees with the naive decoder on ${bytes.toString('hex')}`)
  },
  connection: (random) => {
    const assembler = new MessageAssembler(() => {})
    const connection = new Connection(
      {
        ...nothing,
        messageStart: (code) => assembler.messageStart(code),
        payload: (bytes) => assembler.payload(bytes),
        messageEnd: () => assembler.messageEnd(),
      },
      { role: 'server', maxMessage: 1000 },
    )
    for (const piece of randomCuts(frames(random), random)) connection.receive(piece)
    connection.receiveEnd()
  },
  message: (random) => {
    const bytes = message(random)
    const [whole, cut] = [decoded([bytes]), decoded(randomCuts(bytes, random))].map((said) => JSON.stringify(said))
    const naive = naiveMessage(bytes)
    if (whole !== cut || (naive !== undefined && JSON.stringify(naive) !== whole)) {
      throw new Error(`whole ${whole}, cut ${cut}, naive ${JSON.stringify(naive)}: ${bytes.toString('hex')}`)
    }
  },
  session: (random) => {
    const parameters = withDefaults({ max_message: 65_536, max_streams: 6, resume_for: 1_000, features: 7 })
    const role = random.below(2) === 0 ? 'client' : 'server'
    let held = 0
    const handler = { data: (bytes: Uint8Array) => void (held += bytes.length), ended() {}, reset() {} }
    const session = new Session(
      { role, own: parameters, peer: parameters, now: 0 },
      {
        opened: (stream) => {
          stream.start(handler)
          if (random.below(2) === 0) stream.accept('')
          else stream.refuse(1, '')
        },
        wake() {},
        gaveUp() {},
        closed() {},
      },
    )
    session.attach(0, 65_536, 0)
    const own =
      role === 'client' ? [0, 1, 2].map(() => session.open({ kind: 'TCP', host: 'h', port: 1 }, handler, 0)) : []
    for (let now = 0; now < 40; now++) {
      const bytes = message(random)
      session.begin(0, random.below(2) === 0 ? bytes.length : undefined, now)
      for (const piece of randomCuts(bytes, random)) session.push(0, piece, undefined, now)
      session.end(0, now)
      const stream = own[random.below(4)]
      if (stream !== undefined && random.below(3) === 0) stream.write(new Uint8Array(random.below(300)))
      if (stream !== undefined && random.below(20) === 0) stream.end()
      if (stream !== undefined && random.below(20) === 0) stream.abort(0)
      for (let sent = 0; session.transmit(now) !== undefined; sent++) {
        if (sent > 1_000) throw new Error('a session that never stops sending')
      }
      session.advance(now)
    }
    session.close(0, '', 50)
    if (session.figures.held !== 0 || session.figures.streams !== 0) throw new Error('something is left after the end')
  },
  response: (random) => {
    const parser = new ResponseHeadParser()
    const bytes =
      random.below(2) === 0
        ? random.bytes(200)
        : Buffer.from(`HTTP/1.1 ${text(random)}\r\n${text(random)}: ${text(random)}\r\n\r\n`, 'latin1')
    for (const piece of randomCuts(bytes, random)) if (parser.push(piece)) return
  },
  request: (random) => {
    const names = [
      'Upgrade',
      'Connection',
      'Host',
      'Sec-WebSocket-Key',
      'Sec-WebSocket-Version',
      'Sec-WebSocket-Protocol',
      'Content-Length',
      text(random),
    ]
    const fields: HeaderFields = Array.from(
      { length: random.below(12) },
      () =>
        [
          names[random.below(names.length)]!,
          ['websocket', 'Upgrade', '13', 'dGhlIHNhbXBsZSBub25jZQ==', text(random)][random.below(5)]!,
        ] as const,
    )
    checkRequest({ method: 'GET', httpVersion: '1.1', fields })
  },
  config: (random) => {
    const readers = [
      parseServerUrl,
      (s: string) => parseForwards((['-L', '-R', '-D'] as const)[random.below(3)]!, s),
      parseRule,
      parseTemplate,
      (s: string) => parseHostPort(s, 'x'),
      (s: string) => parseDuration(s, 'x'),
      (s: string) => parseTokenFile(s, 'x'),
      (s: string) => parseClientToken(s, 'x'),
    ]
    readers[random.below(readers.length)]!(text(random))
  },
  proxy: (random) => {
    const handshake = new ProxyHandshake(random.below(2) === 0 ? undefined : { user: 'u', password: 'p' })
    const seeds = ['\x05\x01\x00\x05\x01\x00\x03\x02db\x00\x50', '\x04\x01\x00\x50\x00\x00\x00\x01u\x00db\x00']
    const line = ['CONNECT db:80 HTTP/1.1', 'GET http://db/x HTTP/1.1', text(random)][random.below(3)]!
    seeds.push(`${line}\r\n${text(random)}\r\n\r\n`)
    const bytes = Buffer.from(seeds[random.below(seeds.length)]!, 'latin1')
    for (let i = random.below(4); i > 0 && bytes.length > 0; i--) bytes[random.below(bytes.length)] = random.below(256)
    for (const piece of randomCuts(bytes, random)) {
      const { request, error, reply } = handshake.push(piece)
      if (request !== undefined && (request.port > 65_535 || request.host === undefined))
        throw new Error('an odd request')
      if (reply !== undefined && reply.length === 0) throw new Error('an empty reply')
      if (request !== undefined || error !== undefined) break
    }
    handshake.failed('refused')
    parseSocksDatagram(random.bytes(random.below(40)))
  },
  'a part over HTTP': (random) => {
    const messages = Array.from({ length: random.below(4) }, () => random.bytes(1 + random.below(300)))
    const whole = Buffer.concat([
      ...messages.flatMap((one) => [partHead(one, 1, one.length - 1), one.subarray(1)]),
      END,
    ])
    const broken = random.below(2) === 0
    for (let i = broken ? 1 + random.below(3) : 0; i > 0; i--) whole[random.below(whole.length)] = random.below(256)
    const got: Buffer[] = []
    let left = 0
    const sink = {
      begin: (length: number) => {
        if (left !== 0 || length === 0 || length > 1000) throw new Error('a message that cannot begin')
        left = length
        got.push(Buffer.alloc(0))
      },
      part: (bytes: Uint8Array) => {
        left -= bytes.length
        if (left < 0) throw new Error('more than was declared')
        got.push(Buffer.concat([got.pop()!, bytes]))
      },
      end: () => {
        if (left !== 0) throw new Error('less than was declared')
      },
    }
    const reader = new PartReader(sink, 1000)
    try {
      for (const piece of randomCuts(whole, random)) reader.push(piece)
    } catch (error) {
      if (!(error instanceof Violation) || !broken) throw error
      return
    }
    if (!broken && (!reader.ended || !got.every((one, index) => one.equals(messages[index]!))))
      throw new Error('not what was written')
  },
  'a request over HTTP': (random) => {
    const asked = parseHttpAsked(`/http${['', '/', `/${'A'.repeat(22)}`][random.below(3)]}?${text(random)}`, '')
    if (asked?.what === 'exchange' && asked.up === undefined && asked.down === undefined) throw new Error('for nothing')
  },
  policy: (random) => {
    const policy = new Policy([parseRule('*:443'), parseRule('10.0.0.0/8:*'), parseRule('*.corp:22')])
    const target = { host: text(random), port: random.below(65536) }
    policy.checkTarget(target)
    if (policy.checkAddress(target, `127.${random.below(256)}.0.${random.below(256)}`).allowed)
      throw new Error('loopback was allowed')
  },
}

let runs = 0
let refusals = 0
const started = Date.now()
while (Date.now() - started < seconds * 1000) {
  const seed = firstSeed + runs++
  for (const [name, target] of Object.entries(TARGETS)) {
    try {
      target(new Random(seed * 2654435761))
    } catch (error) {
      if (error instanceof SluiceError && error.code in CODES) refusals++
      else {
        console.error(`fuzz: ${name} with --seed ${seed}: ${String(error)}`)
        throw error
      }
    }
  }
}
console.log(
  `fuzz: ${runs * Object.keys(TARGETS).length} inputs in ${seconds} s from seed ${firstSeed}, ${refusals} refused, no finding`,
)
