// A second decoder of sluice.1 to compare with: a table of fields read one after another from a whole message, and nothing of
// src/wire. HELLO, JOINED and ignorable frames are left to the vectors.

type Field = readonly [name: string, kind: 'int' | 'text' | 'target' | 'scope' | 'rest', least?: number, most?: number]

const FRAMES: Readonly<Record<number, readonly [name: string, ...fields: Field[]]>> = {
  2: ['OPEN', ['stream', 'int'], ['target', 'target'], ['data', 'rest', 0]],
  3: ['OPENED', ['stream', 'int'], ['address', 'text', 0, 300]],
  4: ['OPEN_FAILED', ['stream', 'int'], ['code', 'int'], ['text', 'text', 0, 300]],
  5: ['DATA', ['stream', 'int'], ['offset', 'int'], ['data', 'rest', 1]],
  6: ['DATA_NEXT', ['stream', 'int'], ['data', 'rest', 1]],
  7: ['FIN', ['stream', 'int'], ['offset', 'int']],
  8: ['RESET', ['stream', 'int'], ['code', 'int'], ['offset', 'int']],
  9: ['CREDIT', ['stream', 'int'], ['offset', 'int']],
  10: ['MAX_STREAMS', ['count', 'int']],
  11: ['ACK', ['carrier', 'int'], ['count', 'int'], ['delay', 'int']],
  12: ['PING', ['data', 'rest', 0, 32]],
  13: ['PONG', ['data', 'rest', 0, 32]],
  14: ['DATAGRAM', ['stream', 'int'], ['data', 'rest', 0]],
  15: ['LISTEN', ['stream', 'int'], ['target', 'target']],
  16: ['GOAWAY', ['scope', 'scope'], ['limit', 'int']],
  17: ['CLOSE', ['code', 'int'], ['text', 'text', 0, 300]],
  19: ['JOIN_FAILED', ['code', 'int'], ['text', 'text', 0, 300]],
}

class Malformed extends Error {}

/** `[name, field, field, …]`; or the refusal's code; or undefined for what it does not read. */
export function naiveMessage(message: Buffer): unknown[] | 'MALFORMED' | 'UNKNOWN_FRAME' | undefined {
  if (message.length === 0) return 'MALFORMED'
  const number = message[0]!
  if (number === 1 || number === 18 || number >= 0xc0) return undefined
  const row = FRAMES[number]
  if (row === undefined) return 'UNKNOWN_FRAME'
  const [name, ...fields] = row
  const bytes = [...message.subarray(1)]
  try {
    const values = fields.map((field) => read(field, bytes, name))
    return bytes.length > 0 ? 'MALFORMED' : [name, ...values]
  } catch (error) {
    if (error instanceof Malformed) return 'MALFORMED'
    throw error
  }
}

function take(bytes: number[], count: number): number[] {
  if (bytes.length < count) throw new Malformed()
  return bytes.splice(0, count)
}

function integer(bytes: number[]): number {
  const [first] = take(bytes, 1) as [number]
  const length = [1, 2, 4, 8][first >> 6]!
  const value = take(bytes, length - 1).reduce((sum, byte) => sum * 256n + BigInt(byte), BigInt(first & 63))
  const least = [0n, 64n, 16384n, 1073741824n][first >> 6]!
  if (value < least || value > 9007199254740991n) throw new Malformed()
  return Number(value)
}

function text(bytes: number[], least: number, most: number): string {
  const length = integer(bytes)
  if (length < least || length > most) throw new Malformed()
  const part = Buffer.from(take(bytes, length))
  const string = part.toString('utf8')
  if (!Buffer.from(string, 'utf8').equals(part)) throw new Malformed()
  return string
}

function read([, kind, least = 0, most = Number.MAX_SAFE_INTEGER]: Field, bytes: number[], frame: string): unknown {
  if (kind === 'int') return integer(bytes)
  if (kind === 'text') return text(bytes, least, most)
  if (kind === 'target') return target(bytes, frame)
  if (kind === 'rest') {
    if (bytes.length < least || bytes.length > most) throw new Malformed()
    return Buffer.from(bytes.splice(0)).toString('hex')
  }
  const [scope] = take(bytes, 1) as [number]
  if (scope > 1) throw new Malformed()
  return scope === 0 ? 'carrier' : 'session'
}

function target(bytes: number[], frame: string): unknown {
  const [kind] = take(bytes, 1) as [number]
  if (kind < 2) {
    const host = text(bytes, frame === 'OPEN' ? 1 : 0, 255)
    const [high, low] = take(bytes, 2) as [number, number]
    return { kind: kind === 0 ? 'TCP' : 'UDP', host, port: high * 256 + low }
  }
  if (kind === 2) return { kind: 'UNIX', path: text(bytes, 1, 1024) }
  if (frame === 'OPEN' && kind === 3) return { kind: 'NAMED', name: text(bytes, 1, 64) }
  if (frame === 'OPEN' && kind === 4) return { kind: 'ACCEPTED', listener: integer(bytes), origin: text(bytes, 0, 300) }
  throw new Malformed()
}
