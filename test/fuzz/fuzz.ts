// Fuzzes everything that reads what strangers send: whatever the bytes, the ending is "accepted" or a documented refusal.
//   fuzz.js --seconds N [--seed S]
import {
  parseClientToken,
  parseDuration,
  parseHostPort,
  parseLocalForward,
  parseRule,
  parseServerUrl,
  parseTemplate,
  parseTokenFile,
} from '#src/config/index.js'
import { CODES, SluiceError } from '#src/errors/index.js'
import { Policy } from '#src/server/index.js'
import {
  Connection,
  checkRequest,
  FrameDecoder,
  type HeaderFields,
  MessageAssembler,
  ResponseHeadParser,
} from '#src/websocket/index.js'
import { Random, randomCuts } from '../helpers/random.js'
import { naiveDecode } from '../websocket/naive.js'

const argument = (name: string, preset: number) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? preset : Number(process.argv[at + 1])
}
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
      parseLocalForward,
      parseRule,
      parseTemplate,
      (s: string) => parseHostPort(s, 'x'),
      (s: string) => parseDuration(s, 'x'),
      (s: string) => parseTokenFile(s, 'x'),
      (s: string) => parseClientToken(s, 'x'),
    ]
    readers[random.below(readers.length)]!(text(random))
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
