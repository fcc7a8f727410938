import { type CarrierCount, type Frame, type Hello, ID_LENGTH, PROOF_LENGTH, type Target } from './frame.ts'
import { checkParameter, PARAMETER_NAMES, type Parameters, withDefaults } from './hello.ts'
import { FrameReader } from './reader.ts'
import { CloseReason, FrameType, Kind, Parameter } from './registry.ts'
import { malformed, Violation } from './violation.ts'

/** Limits of spec §5, in bytes and entries. */
export const MAX_TEXT = 300
const MAX_HOST = 255
const MAX_PATH = 1024
const MAX_NAME = 64
const MAX_OPAQUE = 32
const MAX_CARRIERS = 64
const MAX_PARAMETERS = 64
/** The longest header of OPEN: type, stream, kind, length and path; the data follows. */
export const MAX_OPEN_HEADER: number = 1 + 8 + 1 + 2 + MAX_PATH

const NAMES = new Map<number, keyof typeof FrameType>(
  Object.entries(FrameType).map(([name, number]) => [number, name as keyof typeof FrameType]),
)

/** The name of a frame type. @throws Violation UNKNOWN_FRAME */
export function frameName(type: number): keyof typeof FrameType | 'IGNORED' {
  const name = NAMES.get(type)
  if (name !== undefined) return name
  if (type >= 0xc0) return 'IGNORED'
  throw new Violation(CloseReason.UNKNOWN_FRAME, `frame type 0x${type.toString(16).padStart(2, '0')} is not known`)
}

/**
 * Reads a whole message that is neither OPEN nor DATA nor DATA_NEXT, whose data streams through.
 *
 * @throws Violation MALFORMED, UNKNOWN_FRAME
 */
export function parseFrame(bytes: Uint8Array): Frame {
  const name = frameName(bytes[0]!)
  const reader = new FrameReader(bytes, name)
  const frame = read(name, reader, bytes[0]!)
  reader.end()
  return frame
}

function read(type: keyof typeof FrameType | 'IGNORED', reader: FrameReader, number: number): Frame {
  switch (type) {
    case 'HELLO':
      return readHello(reader)
    case 'OPENED':
      return { type, stream: reader.varint(), address: reader.text('address', 0, MAX_TEXT) }
    case 'OPEN_FAILED':
      return { type, stream: reader.varint(), code: reader.varint(), text: reader.text('text', 0, MAX_TEXT) }
    case 'FIN':
    case 'CREDIT':
      return { type, stream: reader.varint(), offset: reader.varint() }
    case 'RESET':
      return { type, stream: reader.varint(), code: reader.varint(), offset: reader.varint() }
    case 'MAX_STREAMS':
      return { type, count: reader.varint() }
    case 'ACK':
      return { type, carrier: reader.varint(), count: reader.varint(), delay: reader.varint() }
    case 'PING':
    case 'PONG':
      if (reader.left > MAX_OPAQUE) throw malformed(`${type}: ${reader.left} bytes (at most ${MAX_OPAQUE})`)
      return { type, opaque: reader.take(reader.left) }
    case 'DATAGRAM':
      return { type, stream: reader.varint(), payload: reader.take(reader.left) }
    case 'LISTEN':
      return { type, stream: reader.varint(), target: readTarget(reader, type) }
    case 'GOAWAY':
      return { type, scope: readScope(reader), limit: reader.varint() }
    case 'CLOSE':
    case 'JOIN_FAILED':
      return { type, code: reader.varint(), text: reader.text('text', 0, MAX_TEXT) }
    case 'JOINED':
      return { type, carriers: readCounts(reader), proof: reader.take(PROOF_LENGTH) }
    case 'IGNORED':
      reader.take(reader.left)
      return { type, number }
    default:
      throw new Error(`${type} is not read whole`)
  }
}

/** Reads the header of OPEN, as far as its data. @throws Violation MALFORMED */
export function parseOpen(bytes: Uint8Array): { frame: Extract<Frame, { type: 'OPEN' }>; used: number } {
  const reader = new FrameReader(bytes, 'OPEN')
  const frame = { type: 'OPEN', stream: reader.varint(), target: readTarget(reader, 'OPEN') } as const
  return { frame, used: reader.at }
}

function readTarget(reader: FrameReader, type: 'OPEN' | 'LISTEN'): Target {
  const kind = reader.byte()
  switch (kind) {
    case Kind.TCP:
    case Kind.UDP: {
      const host = reader.text('host', type === 'OPEN' ? 1 : 0, MAX_HOST)
      return { kind: kind === Kind.TCP ? 'TCP' : 'UDP', host, port: reader.port() }
    }
    case Kind.UNIX:
      return { kind: 'UNIX', path: reader.text('path', 1, MAX_PATH) }
    case Kind.NAMED:
      if (type === 'OPEN') return { kind: 'NAMED', name: reader.text('name', 1, MAX_NAME) }
      break
    case Kind.ACCEPTED:
      if (type === 'OPEN')
        return { kind: 'ACCEPTED', listener: reader.varint(), origin: reader.text('origin', 0, MAX_TEXT) }
  }
  throw malformed(`${type}: kind ${kind} is not known here`)
}

function readScope(reader: FrameReader): 'carrier' | 'session' {
  const scope = reader.byte()
  if (scope > 1) throw malformed(`GOAWAY: scope ${scope} is not known`)
  return scope === 0 ? 'carrier' : 'session'
}

function readCounts(reader: FrameReader): CarrierCount[] {
  return reader.list(MAX_CARRIERS, () => ({ carrier: reader.varint(), received: reader.varint() }))
}

function readHello(reader: FrameReader): Hello {
  const version = reader.byte()
  if (version !== 1) throw malformed(`HELLO: version ${version} is not known (1)`)
  const mode = reader.byte()
  const nonce = reader.take(ID_LENGTH)
  const parameters = readParameters(reader)
  const common = { type: 'HELLO', nonce, parameters } as const
  switch (mode) {
    case 0: {
      const ids = { sessionId: reader.take(ID_LENGTH), secret: reader.take(PROOF_LENGTH) }
      const route = reader.text('route', 0, 255)
      if (!/^[A-Za-z0-9._~-]*$/.test(route)) throw malformed('HELLO: the route has a character that is not unreserved')
      return { ...common, mode: 'server', ...ids, route }
    }
    case 1:
      return { ...common, mode: 'new' }
    case 2: {
      const head = { sessionId: reader.take(ID_LENGTH), carrier: reader.varint(), dead: readCounts(reader) }
      return { ...common, mode: 'join', ...head, proof: reader.take(PROOF_LENGTH) }
    }
    default:
      throw malformed(`HELLO: mode ${mode} is not known`)
  }
}

function readParameters(reader: FrameReader): Parameters {
  const said: { -readonly [Name in keyof Parameters]?: number } = {}
  const seen = new Set<number>()
  reader.list(MAX_PARAMETERS, () => {
    const id = reader.varint()
    if (seen.has(id)) throw malformed(`HELLO: parameter ${id} stands twice`)
    seen.add(id)
    const value = reader.take(reader.varint())
    const name = PARAMETER_NAMES.find((known) => Parameter[known] === id)
    if (name === undefined) return
    const inner = new FrameReader(value, `HELLO: ${name}`, 0)
    said[name] = inner.varint()
    inner.end()
    checkParameter(name, said[name])
  })
  return withDefaults(said)
}
