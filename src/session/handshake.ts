import {
  type CarrierCount,
  CloseReason,
  encodeFrame,
  type Frame,
  type Hello,
  type JoinHello,
  MessageDecoder,
  type NewHello,
  type Parameters,
  PROOF_LENGTH,
  type ServerHello,
  Violation,
} from '../wire/index.ts'

/** The longest message before a HELLO has come (spec §4). */
export const MAX_FIRST_MESSAGE = 4096

const LABEL = 'sluice.1 join'

/** Reads the one frame that a whole message is. @throws Violation */
export function readMessage(bytes: Uint8Array, most: number = MAX_FIRST_MESSAGE): Frame {
  let frame: Frame | undefined
  const other = (): never => {
    throw new Violation(CloseReason.HELLO_REQUIRED, 'data came where a HELLO was due')
  }
  const decoder = new MessageDecoder(
    { frame: (read) => (frame = read), open: other, data: other, payload: other },
    most,
  )
  decoder.begin(bytes.length)
  decoder.push(bytes)
  decoder.end()
  return frame!
}

/** Reads the first message of a side. @throws Violation HELLO_REQUIRED, MALFORMED */
export function readHello(bytes: Uint8Array, from: 'server' | 'client'): Hello {
  const frame = readMessage(bytes)
  if (frame.type !== 'HELLO') {
    throw new Violation(CloseReason.HELLO_REQUIRED, `${frame.type} came where a HELLO was due`)
  }
  if ((frame.mode === 'server') !== (from === 'server')) {
    throw new Violation(CloseReason.MALFORMED, `HELLO: mode ${frame.mode} from a ${from}`)
  }
  return frame
}

/**
 * What the HMAC of a proof covers (spec §9), under the session's secret.
 *
 * @param parts the messages: the server's HELLO, the client's HELLO without its proof, and for the server's proof JOINED
 *   without its proof
 */
export function proofInput(
  role: 'client' | 'server',
  sessionId: Uint8Array,
  carrier: number,
  serverHello: Uint8Array,
  ...parts: Uint8Array[]
): Uint8Array {
  const head = new Uint8Array(LABEL.length + 1 + sessionId.length + 8 + 4)
  for (let i = 0; i < LABEL.length; i++) head[i] = LABEL.charCodeAt(i)
  let at = LABEL.length
  head[at++] = role === 'client' ? 0 : 1
  head.set(sessionId, at)
  at += sessionId.length
  const view = new DataView(head.buffer)
  view.setUint32(at, Math.floor(carrier / 0x1_0000_0000))
  view.setUint32(at + 4, carrier >>> 0)
  view.setUint32(at + 8, serverHello.length)
  return concat(head, serverHello, ...parts)
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/** A message without the proof that ends it. */
export function withoutProof(message: Uint8Array): Uint8Array {
  return message.subarray(0, message.length - PROOF_LENGTH)
}

/** Compares without telling by the time where two differ. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let different = 0
  for (let i = 0; i < a.length; i++) different |= a[i]! ^ b[i]!
  return different === 0
}

export interface ServerHelloOptions {
  readonly nonce: Uint8Array
  readonly parameters: Parameters
  readonly sessionId: Uint8Array
  readonly secret: Uint8Array
  readonly route: string
}

export function serverHello(options: ServerHelloOptions): Uint8Array {
  const hello: ServerHello = { type: 'HELLO', mode: 'server', ...options }
  return encodeFrame(hello)
}

export function newHello(nonce: Uint8Array, parameters: Parameters): Uint8Array {
  const hello: NewHello = { type: 'HELLO', mode: 'new', nonce, parameters }
  return encodeFrame(hello)
}

/** A join's HELLO whose proof is not in it yet: replace the last 32 bytes by the HMAC of {@link proofInput}. */
export function joinHello(
  nonce: Uint8Array,
  parameters: Parameters,
  sessionId: Uint8Array,
  carrier: number,
  dead: readonly CarrierCount[],
): Uint8Array {
  const proof = new Uint8Array(PROOF_LENGTH)
  const hello: JoinHello = { type: 'HELLO', mode: 'join', nonce, parameters, sessionId, carrier, dead, proof }
  return encodeFrame(hello)
}
