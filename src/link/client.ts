import { messageOf, SluiceError } from '../errors/index.ts'
import {
  concat,
  joinHello,
  newHello,
  proofInput,
  readHello,
  readMessage,
  Session,
  type SessionOptions,
  type Stream,
  type StreamHandler,
  sameBytes,
  withoutProof,
} from '../session/index.ts'
import {
  CloseReason,
  closeReasonName,
  type Frame,
  ID_LENGTH,
  JoinError,
  type Parameters,
  type ServerHello,
  type Target,
  Violation,
} from '../wire/index.ts'
import { backoff } from './backoff.ts'
import type { Carrier } from './carrier.ts'
import type { Host } from './host.ts'
import { Inlet } from './inlet.ts'
import { Pump } from './pump.ts'

/** What a person wants to know of a link. */
export interface ClientLinkEvents {
  /** A carrier is gone. @param left how many are left */
  lost?(why: string, left: number): void
  /** An attempt to come back failed; the next is made after `delay` milliseconds. */
  retrying?(why: string, delay: number): void
  /** The session goes on. @param after milliseconds since the last carrier went @param resent bytes that are sent again */
  resumed?(after: number, resent: number): void
  /** The session is over, for good; undefined if we ended it. */
  ended?(error: SluiceError | undefined): void
}

export interface ClientLinkOptions {
  readonly host: Host
  readonly parameters: Parameters
  /**
   * Opens a transport that is ready for the server's HELLO.
   *
   * @param route what the server wants in the URL of a join, or undefined for the first
   */
  open(route: string | undefined, signal: AbortSignalLike): Promise<Carrier>
  readonly session?: Pick<SessionOptions, 'pool' | 'replayBudget' | 'liveness'>
  readonly events?: ClientLinkEvents
}

/** The part of AbortSignal that is needed here, so that this room knows no host. */
export interface AbortSignalLike {
  readonly aborted: boolean
  onAbort(act: () => void): void
}

class Abort implements AbortSignalLike {
  aborted = false
  #acts: (() => void)[] = []

  onAbort(act: () => void): void {
    if (this.aborted) act()
    else this.#acts.push(act)
  }

  abort(): void {
    if (this.aborted) return
    this.aborted = true
    for (const act of this.#acts) act()
  }
}

/** How long the server may take for its HELLO, or to answer a join, in milliseconds. */
const GREETING_TIMEOUT = 10_000
/** What of a server's answer to an attempt cannot be mended by trying again. */
const FINAL = new Set(['ERR_SLUICE_AUTH', 'ERR_SLUICE_POLICY', 'ERR_SLUICE_GONE'])

/** What a carrier's HELLO brought. */
interface Greeted {
  readonly carrier: Carrier
  readonly inlet: Inlet
  readonly hello: ServerHello
  readonly bytes: Uint8Array
  /** The next whole message. */
  next(): Promise<Uint8Array>
}

/** A client's session over one carrier after another: connects, joins again after a loss, and ends. */
export class ClientLink {
  readonly #options: ClientLinkOptions
  readonly #host: Host
  readonly #abort = new Abort()
  #session: Session | undefined
  #pump: Pump | undefined
  #first: ServerHello | undefined
  #waiting: ((session: Session) => void)[] = []
  #lostAt: number | undefined
  #reconnecting = false
  #wakeUp: () => void = () => {}
  resumes = 0

  constructor(options: ClientLinkOptions) {
    this.#options = options
    this.#host = options.host
  }

  /**
   * The first contact: one attempt.
   *
   * @throws SluiceError what `open` throws, `ERR_SLUICE_PROTOCOL`, `ERR_SLUICE_TIMEOUT`, `ERR_SLUICE_CLOSED`
   */
  async connect(): Promise<void> {
    const greeted = await this.#greet(undefined)
    const { parameters } = this.#options
    const { host } = this.#options
    const session = new Session(
      { role: 'client', own: parameters, peer: greeted.hello.parameters, now: host.now(), ...this.#options.session },
      {
        opened: (stream) => this.#opened(stream),
        wake: () => pump.wake(),
        gaveUp: (carrier, why) => pump.gaveUp(carrier, why),
        closed: (code, text, byPeer) => this.#closed(code, text, byPeer),
      },
    )
    const pump = new Pump(session, host, (_, why) => this.#lost(why))
    this.#session = session
    this.#pump = pump
    this.#first = greeted.hello
    const hello = newHello(host.randomBytes(ID_LENGTH), parameters)
    greeted.carrier.cork()
    greeted.carrier.send(hello, hello.length)
    const number = session.takeCarrierNumber()
    pump.add(number, greeted.carrier)
    session.attach(number, greeted.hello.parameters.max_message, host.now())
    const waiting = this.#waiting
    this.#waiting = []
    for (const act of waiting) act(session)
    greeted.inlet.run(pump, number)
    pump.flush()
    greeted.carrier.uncork()
  }

  /** What streams that the server opens go to; set by whoever asks for listeners. */
  onOpened: ((stream: Stream) => void) | undefined

  #opened(stream: Stream): void {
    if (this.onOpened !== undefined) this.onOpened(stream)
    else stream.refuse(1, 'there is no such listener')
  }

  /** Whether streams can be opened. */
  get ready(): boolean {
    return this.#session !== undefined && !this.#session.over
  }

  /** The session, once there is one. */
  get session(): Session | undefined {
    return this.#session
  }

  /** Runs something with the session: now, or as soon as there is one, and then before anything is sent. */
  withSession(act: (session: Session) => void): void {
    if (this.#session === undefined) this.#waiting.push(act)
    else {
      this.#pump!.touch()
      act(this.#session)
    }
  }

  /** Opens a stream; there must be a session. What is written in the same turn travels with it. */
  open(target: Target, handler: StreamHandler): Stream {
    if (this.#session === undefined) throw new SluiceError('ERR_SLUICE_MISUSE', 'there is no session yet')
    return this.#session.open(target, handler, this.#host.now())
  }

  /** Tells the session the time: before streams are used outside of a callback. */
  touch(): void {
    this.#pump?.touch()
  }

  /** If a retry is being waited for, it is made now. */
  retryNow(): void {
    this.#wakeUp()
  }

  /** Ends in good order: waits until all is said and acknowledged, at most so long, then ends the session for good. */
  async close(milliseconds = 2_000): Promise<void> {
    const session = this.#session
    if (session !== undefined && !session.over) {
      const end = this.#host.now() + milliseconds
      while (!session.idle && !session.waiting && !session.over && this.#host.now() < end) await this.#sleep(10)
    }
    this.abort('the client ends')
  }

  /** Ends the session for good, at once. */
  abort(text: string): void {
    this.#abort.abort()
    this.#wakeUp()
    this.#session?.close(CloseReason.NO_ERROR, text, this.#host.now())
    this.#pump?.flush()
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => void this.#host.after(milliseconds, resolve))
  }

  // --- greeting ---

  /** Opens a carrier and waits for the server's HELLO. */
  async #greet(route: string | undefined): Promise<Greeted> {
    const carrier = await this.#options.open(route, this.#abort)
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
        const cancel = this.#host.after(GREETING_TIMEOUT, () =>
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

  // --- coming back ---

  #lost(why: string): void {
    const session = this.#session!
    this.#options.events?.lost?.(why, session.carriers.length)
    if (!session.waiting) return
    this.#lostAt ??= this.#host.now()
    if (!this.#reconnecting) void this.#reconnect()
  }

  async #reconnect(): Promise<void> {
    this.#reconnecting = true
    for (let attempt = 0; !this.#session!.over && !this.#abort.aborted; attempt++) {
      try {
        await this.#join()
        break
      } catch (error) {
        if (this.#session!.over || this.#abort.aborted) break
        if (error instanceof SluiceError && FINAL.has(error.code)) {
          this.#failure = error
          this.#session!.close(CloseReason.NO_ERROR, error.message, this.#host.now())
          this.#pump!.flush()
          break
        }
        const delay = backoff(attempt + 1, this.#host.random())
        this.#options.events?.retrying?.(messageOf(error), delay)
        await this.#pause(delay)
      }
    }
    this.#reconnecting = false
    // A carrier that died while it joined had no other to come back for it.
    if (this.#session!.waiting && !this.#abort.aborted) void this.#reconnect()
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#host.after(milliseconds, resolve)
      this.#wakeUp = () => {
        cancel()
        resolve()
      }
    })
  }

  /** Adds a carrier to the session (spec §9). */
  async #join(): Promise<void> {
    const session = this.#session!
    const pump = this.#pump!
    const { sessionId, secret, route } = this.#first!
    const { carrier, inlet, hello, bytes, next } = await this.#greet(route)
    if (session.over) return carrier.destroy()
    const number = session.takeCarrierNumber()
    const mine = joinHello(
      this.#host.randomBytes(ID_LENGTH),
      this.#options.parameters,
      sessionId,
      number,
      session.deadCounts(),
    )
    const unproven = withoutProof(mine)
    const proof = await this.#host.hmac(secret, proofInput('client', sessionId, number, bytes, unproven))
    const complete = concat(unproven, proof)
    carrier.send(complete, complete.length)
    inlet.allow(this.#options.parameters.max_message)
    const answer = await next()
    const frame = parseAnswer(answer)
    const expected = await this.#host.hmac(
      secret,
      proofInput('server', sessionId, number, bytes, complete, withoutProof(answer)),
    )
    if (!sameBytes(expected, frame.proof)) {
      carrier.destroy()
      throw new SluiceError('ERR_SLUICE_PROTOCOL', 'the server did not prove that the session is its own')
    }
    if (session.over) return carrier.destroy()
    const before = session.figures.resent
    pump.add(number, carrier)
    for (const dead of session.settleDead(frame.carriers, this.#host.now())) pump.retire(dead)
    session.attach(number, hello.parameters.max_message, this.#host.now())
    inlet.run(pump, number)
    this.#resumed(session.figures.resent - before)
    pump.flush()
  }

  #resumed(resent: number): void {
    const lostAt = this.#lostAt
    this.#lostAt = undefined
    if (lostAt === undefined) return
    this.resumes++
    this.#options.events?.resumed?.(this.#host.now() - lostAt, resent)
  }

  #failure: SluiceError | undefined

  #closed(code: number, text: string, byPeer: boolean): void {
    this.#abort.abort()
    this.#wakeUp()
    const ours = !byPeer && code === CloseReason.NO_ERROR && this.#failure === undefined
    const error = this.#failure ?? (ours ? undefined : sessionError(code, text, byPeer))
    this.#options.events?.ended?.(error)
  }
}

function protocolError(message: string): SluiceError {
  return new SluiceError('ERR_SLUICE_PROTOCOL', `the server broke the protocol: ${message}`)
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

function sessionError(code: number, text: string, byPeer: boolean): SluiceError {
  if (code === CloseReason.EXPIRED) return new SluiceError('ERR_SLUICE_GONE', `the session is over: ${text}`)
  if (code === CloseReason.POLICY) return new SluiceError('ERR_SLUICE_POLICY', `the server ended the session: ${text}`)
  const who = byPeer ? 'the server ended the session' : 'the server broke the protocol'
  const kind = byPeer ? 'ERR_SLUICE_CLOSED' : 'ERR_SLUICE_PROTOCOL'
  return new SluiceError(kind, `${who} with ${closeReasonName(code)}: ${text}`)
}
