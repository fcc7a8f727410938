import { SluiceError } from '../errors/index.ts'
import { concat, joinHello, proofInput, readHello, readMessage, sameBytes, withoutProof } from '../session/index.ts'
import {
  type CarrierCount,
  type Frame,
  ID_LENGTH,
  JoinError,
  type Parameters,
  type ServerHello,
  Violation,
} from '../wire/index.ts'
import type { Carrier } from './carrier.ts'
import type { Host } from './host.ts'
import { Inlet } from './inlet.ts'

/** How long the server may take for its HELLO, or to answer a join, in milliseconds. */
const GREETING_TIMEOUT = 10_000

/** A carrier on which the server's HELLO has come. */
export interface Greeted {
  readonly carrier: Carrier
  readonly inlet: Inlet
  readonly hello: ServerHello
  /** The message that it came in. */
  readonly bytes: Uint8Array
  /** The next whole message. @throws SluiceError */
  next(): Promise<Uint8Array>
}

/**
 * Waits for the server's HELLO on a carrier.
 *
 * @throws SluiceError `ERR_SLUICE_CLOSED`, `ERR_SLUICE_TIMEOUT`, `ERR_SLUICE_PROTOCOL`; the carrier is gone then
 */
export async function greet(carrier: Carrier, host: Host): Promise<Greeted> {
  let fail: (error: SluiceError) => void = () => {}
  let failure: SluiceError | undefined
  const failed = (error: SluiceError) => {
    failure ??= error
    carrier.destroy()
    fail(failure)
  }
  const inlet = new Inlet({
    closed: (why) => failed(new SluiceError('ERR_SLUICE_CLOSED', `the connection ended during the greeting: ${why}`)),
    tooBig: (length) => failed(protocolError(`a first message of ${length} bytes`)),
  })
  const next = (): Promise<Uint8Array> =>
    new Promise((resolve, reject) => {
      if (failure !== undefined) return reject(failure)
      const cancel = host.after(GREETING_TIMEOUT, () =>
        failed(new SluiceError('ERR_SLUICE_TIMEOUT', `the server says nothing for ${GREETING_TIMEOUT / 1000} s`)),
      )
      fail = (error) => {
        cancel()
        reject(error)
      }
      inlet.next((message) => {
        cancel()
        resolve(message)
      })
    })
  carrier.start(inlet)
  const bytes = await next()
  try {
    const hello = readHello(bytes, 'server') as ServerHello
    return { carrier, inlet, hello, bytes, next }
  } catch (error) {
    carrier.destroy()
    throw error instanceof Violation ? protocolError(error.message) : error
  }
}

/** What a client needs to join: what the first HELLO of the session gave, and what it says of itself. */
export interface JoinOptions {
  readonly host: Host
  readonly parameters: Parameters
  readonly first: ServerHello
  readonly number: number
  readonly dead: readonly CarrierCount[]
}

/**
 * Joins a session on a carrier (spec §9).
 *
 * @returns what the server counted on the dead carriers, and how long the answer took, in milliseconds
 * @throws SluiceError as `greet`, and `ERR_SLUICE_GONE`, `ERR_SLUICE_POLICY`, `ERR_SLUICE_REFUSED`; the carrier is gone then
 */
export async function join(
  greeted: Greeted,
  { host, parameters, first, number, dead }: JoinOptions,
): Promise<{ readonly counts: readonly CarrierCount[]; readonly roundTrip: number }> {
  const { carrier, inlet, bytes } = greeted
  const { sessionId, secret } = first
  const unproven = withoutProof(joinHello(host.randomBytes(ID_LENGTH), parameters, sessionId, number, dead))
  const proof = await host.hmac(secret, proofInput('client', sessionId, number, bytes, unproven))
  const complete = concat(unproven, proof)
  const sentAt = host.now()
  carrier.send(complete, complete.length)
  inlet.allow(parameters.max_message)
  const answer = await greeted.next()
  const roundTrip = host.now() - sentAt
  try {
    const { carriers, proof: theirs } = parseAnswer(answer)
    const input = proofInput('server', sessionId, number, bytes, complete, withoutProof(answer))
    if (sameBytes(await host.hmac(secret, input), theirs)) return { counts: carriers, roundTrip }
    throw new SluiceError('ERR_SLUICE_PROTOCOL', 'the server did not prove that the session is its own')
  } catch (error) {
    carrier.destroy()
    throw error
  }
}

function parseAnswer(bytes: Uint8Array): Extract<Frame, { type: 'JOINED' }> {
  let frame: Frame
  try {
    frame = readMessage(bytes)
  } catch (error) {
    throw error instanceof Violation ? protocolError(error.message) : error
  }
  if (frame.type === 'JOINED') return frame
  if (frame.type !== 'JOIN_FAILED') throw protocolError(`${frame.type} came in answer to a join`)
  if (frame.code === JoinError.ELSEWHERE || frame.code === JoinError.TOO_MANY) {
    throw new SluiceError('ERR_SLUICE_REFUSED', `the server cannot take the session back now: ${frame.text}`)
  }
  if (frame.code === JoinError.NOT_ALLOWED) {
    throw new SluiceError('ERR_SLUICE_POLICY', `the server does not let the session go on: ${frame.text}`)
  }
  throw new SluiceError('ERR_SLUICE_GONE', 'the session is gone: the server was restarted, or waited too long')
}

export function protocolError(message: string): SluiceError {
  return new SluiceError('ERR_SLUICE_PROTOCOL', `the server broke the protocol: ${message}`)
}
