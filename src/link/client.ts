import { SluiceError } from '../errors/index.ts'
import {
  DEFAULT_LIVENESS,
  newHello,
  Session,
  type SessionOptions,
  type Stream,
  type StreamHandler,
} from '../session/index.ts'
import {
  CloseReason,
  closeReasonName,
  ID_LENGTH,
  type Parameters,
  type ServerHello,
  type Target,
} from '../wire/index.ts'
import { Abort, type AbortSignalLike } from './abort.ts'
import type { Carrier } from './carrier.ts'
import { join } from './greeting.ts'
import type { Host } from './host.ts'
import { Moves } from './moves.ts'
import type { PathCuts } from './path-cuts.ts'
import { Pump } from './pump.ts'
import { Supply } from './supply.ts'
import { type Way, Ways, type Won } from './ways.ts'

/** What a person wants to know of a link. */
export interface ClientLinkEvents {
  /** A carrier is gone. @param left how many are left */
  lost?(why: string, left: number): void
  /** An attempt to come back failed; the next is made after `delay` milliseconds. */
  retrying?(why: string, delay: number): void
  /** The session goes on after it had no carrier. */
  resumed?(how: Resumed): void
  /** How many carriers there are now: one came beside others, or one was closed because nothing needs it. */
  carriers?(count: number): void
  /** Something was learned of the path, in the `PathCuts`. */
  learned?(): void
  /** Another kind of carrier than before is used. @param why what was in the way of the best, if that is not it */
  way?(way: Way, why: string | undefined): void
  /** The server takes no new streams: it shuts down. Those that live may finish. */
  leaving?(): void
  /** The session is over, for good; undefined if we ended it. */
  ended?(error: SluiceError | undefined): void
}

/** How a session came back. */
export interface Resumed {
  /** Milliseconds since the last carrier went. */
  readonly after: number
  /** Bytes that we send again. */
  readonly resent: number
  /** Streams that were kept. */
  readonly streams: number
}

export interface ClientLinkOptions {
  readonly host: Host
  readonly parameters: Parameters
  /**
   * Opens a transport that is ready for the server's HELLO.
   *
   * @param route what the server wants in the URL of a join, or undefined for the first
   */
  open(way: Way, route: string | undefined, signal: AbortSignalLike): Promise<Carrier>
  /** The kinds of carriers that may be tried, from best to worst. Default: WebSocket alone. */
  readonly ways?: readonly Way[]
  /** The kind that worked the last time. */
  readonly knownWay?: Way | undefined
  readonly session?: Pick<SessionOptions, 'pool' | 'replayBudget' | 'liveness'>
  /** How many carriers to keep; `auto` (default) opens more while bulk is held up by the line, up to 8. */
  readonly carriers?: number | 'auto'
  /** What is known of the path on which the latest carrier was opened. */
  cuts?(): PathCuts
  readonly events?: ClientLinkEvents
}

/** How long the last message may take to leave, in milliseconds. */
const FAREWELL = 1_000

/** A client's session over one or several carriers: connects, joins, comes back after a loss, and ends. */
export class ClientLink {
  readonly #options: ClientLinkOptions
  readonly #host: Host
  readonly #attempts = new Set<Abort>()
  readonly #pauses = new Set<() => void>()
  #aborted = false
  #session: Session | undefined
  #pump: Pump | undefined
  #first: ServerHello | undefined
  #waiting: ((session: Session) => void)[] = []
  #lostAt: number | undefined
  #failure: SluiceError | undefined
  readonly #ways: Ways
  readonly #moves: Moves
  readonly #supply: Supply
  /** When each carrier was opened. */
  readonly #openedAt = new Map<number, number>()
  resumes = 0

  constructor(options: ClientLinkOptions) {
    const { host, ways = ['websocket'], knownWay } = options
    this.#options = options
    this.#host = host
    this.#ways = new Ways({
      host,
      allowed: ways,
      known: knownWay,
      open: (way, route, signal) => options.open(way, route, signal),
      changed: (way, why) => options.events?.way?.(way, why),
    })
    this.#moves = new Moves({
      host,
      ways: this.#ways,
      session: () => this.#session!,
      stopped: () => this.#aborted,
      pause: (milliseconds) => this.#pause(milliseconds),
      join: (open) => this.#join(open),
      retire: (numbers) => this.#retire(numbers),
      renew: (number) => this.#supply.renew(number),
      cuts: () => options.cuts?.(),
      learned: () => options.events?.learned?.(),
    })
    this.#supply = new Supply({
      host,
      carriers: options.carriers ?? 'auto',
      session: () => this.#session!,
      // A carrier over HTTP/1.1 uses several connections as it is.
      several: () => this.#ways.current === 'websocket' || this.#ways.current === 'http2',
      allowed: () => this.#first!.parameters.max_carriers,
      stopped: () => this.#aborted,
      pause: (milliseconds) => this.#pause(milliseconds),
      bring: () =>
        this.#join((route, abort) =>
          this.#session!.waiting ? this.#ways.open(route, abort) : this.#ways.again(route, abort),
        ),
      brought: () => this.#moves.improveLater(),
      retire: (numbers) => this.#retire(numbers),
      giveUp: (error) => this.#giveUp(error),
      retrying: (why, delay) => options.events?.retrying?.(why, delay),
      changed: (count) => options.events?.carriers?.(count),
    })
  }

  /**
   * The first contact: one attempt.
   *
   * @throws SluiceError what `open` throws, `ERR_SLUICE_PROTOCOL`, `ERR_SLUICE_TIMEOUT`, `ERR_SLUICE_CLOSED`
   */
  async connect(): Promise<void> {
    const { host, parameters } = this.#options
    const greeted = await this.#attempt((abort) => this.#ways.open(undefined, abort))
    this.#ways.use(greeted)
    const session = new Session(
      {
        role: 'client',
        own: parameters,
        peer: greeted.hello.parameters,
        now: host.now(),
        ...this.#options.session,
      },
      {
        opened: (stream) => this.#opened(stream),
        wake: () => pump.wake(),
        gaveUp: (carrier, why) => pump.gaveUp(carrier, why),
        goaway: () => this.#options.events?.leaving?.(),
        renew: (carrier) => this.#supply.renew(carrier),
        busy: () => this.#supply.watch(),
        closed: (code, text, byPeer) => this.#closed(code, text, byPeer),
      },
    )
    const pump = new Pump(session, host, (number, why) => this.#lost(number, why))
    this.#session = session
    this.#pump = pump
    this.#first = greeted.hello
    this.#applyCuts()
    const hello = newHello(host.randomBytes(ID_LENGTH), parameters)
    greeted.carrier.cork()
    greeted.carrier.send(hello, hello.length)
    const number = session.takeCarrierNumber()
    pump.add(number, greeted.carrier)
    session.attach(number, greeted.hello.parameters.max_message, host.now())
    this.#began(number)
    const waiting = this.#waiting
    this.#waiting = []
    for (const act of waiting) act(session)
    greeted.inlet.run(pump, number)
    pump.flush()
    greeted.carrier.uncork()
    this.#supply.start()
    this.#moves.improveLater()
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
    for (const end of [...this.#pauses]) end()
  }

  /** Ends in good order: waits until all is said and acknowledged, at most so long, then ends the session for good. */
  async close(milliseconds = 2_000): Promise<void> {
    const session = this.#session
    if (session !== undefined && !session.over) {
      const end = this.#host.now() + milliseconds
      while (!session.idle && !session.waiting && !session.over && this.#host.now() < end) await this.#sleep(10)
    }
    this.abort('the client ends')
    const last = this.#host.now() + FAREWELL
    while (this.#pump?.leaving && this.#host.now() < last) await this.#sleep(5)
  }

  /** Ends the session for good, at once. */
  abort(text: string): void {
    this.#stop()
    this.#session?.close(CloseReason.NO_ERROR, text, this.#host.now())
    this.#pump?.flush()
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => void this.#host.after(milliseconds, resolve))
  }

  #stop(): void {
    this.#aborted = true
    for (const abort of [...this.#attempts]) abort.abort()
    this.retryNow()
  }

  async #attempt<T>(act: (abort: Abort) => Promise<T>): Promise<T> {
    const abort = new Abort()
    this.#attempts.add(abort)
    if (this.#aborted) abort.abort()
    try {
      return await act(abort)
    } finally {
      this.#attempts.delete(abort)
    }
  }

  // --- carriers come and go ---

  #lost(number: number, why: string): void {
    const session = this.#session!
    const now = this.#host.now()
    const age = now - (this.#openedAt.get(number) ?? now)
    this.#openedAt.delete(number)
    if (this.#options.cuts?.().cut(session.quietOf(number, now), age)) this.#options.events?.learned?.()
    this.#applyCuts()
    this.#options.events?.lost?.(why, session.carriers.length)
    if (session.waiting) this.#lostAt ??= now
    this.#supply.fill()
  }

  #began(number: number): void {
    const { carriers } = this.#session!
    for (const other of this.#openedAt.keys()) if (!carriers.includes(other)) this.#openedAt.delete(other)
    this.#openedAt.set(number, this.#host.now())
    this.#moves.renewLater(number)
  }

  /** Pings come early enough for what the path is known to do. */
  #applyCuts(): void {
    const cuts = this.#options.cuts?.()
    const usual = this.#options.session?.liveness ?? DEFAULT_LIVENESS
    if (cuts !== undefined) this.#session!.liveness = { ...usual, idle: cuts.interval(usual.idle) }
  }

  #retire(numbers: readonly number[]): void {
    for (const number of numbers) this.#pump!.retire(number)
    this.#pump!.flush()
  }

  #giveUp(error: SluiceError): void {
    this.#failure = error
    this.#session!.close(CloseReason.NO_ERROR, error.message, this.#host.now())
    this.#pump!.flush()
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        this.#pauses.delete(end)
        cancel()
        resolve()
      }
      const cancel = this.#host.after(milliseconds, end)
      this.#pauses.add(end)
    })
  }

  /** Adds a carrier to the session (spec §9); returns its number. */
  async #join(open: (route: string, abort: Abort) => Promise<Won>): Promise<number | undefined> {
    const session = this.#session!
    const pump = this.#pump!
    const first = this.#first!
    const { host, parameters } = this.#options
    const joined = await this.#attempt(async (abort) => {
      const greeted = await open(first.route, abort)
      const number = session.takeCarrierNumber()
      const dead = session.deadCounts()
      return { ...greeted, number, ...(await join(greeted, { host, parameters, first, number, dead })) }
    })
    const { carrier, number, counts, roundTrip, hello, inlet } = joined
    if (session.over) {
      carrier.destroy()
      return undefined
    }
    this.#ways.use(joined)
    const before = session.figures.resent
    pump.add(number, carrier)
    for (const dead of session.settleDead(counts, host.now())) pump.retire(dead)
    session.attach(number, hello.parameters.max_message, host.now(), roundTrip)
    this.#began(number)
    inlet.run(pump, number)
    this.#joined(session.figures.resent - before)
    pump.flush()
    return number
  }

  #joined(resent: number): void {
    const { events } = this.#options
    const session = this.#session!
    const lostAt = this.#lostAt
    this.#lostAt = undefined
    if (lostAt === undefined) return events?.carriers?.(session.carriers.length)
    this.resumes++
    events?.resumed?.({ after: this.#host.now() - lostAt, resent, streams: session.figures.streams })
  }

  #closed(code: number, text: string, byPeer: boolean): void {
    this.#stop()
    const ours = !byPeer && code === CloseReason.NO_ERROR && this.#failure === undefined
    const error = this.#failure ?? (ours ? undefined : sessionError(code, text, byPeer))
    this.#options.events?.ended?.(error)
  }
}

function sessionError(code: number, text: string, byPeer: boolean): SluiceError {
  if (code === CloseReason.EXPIRED) return new SluiceError('ERR_SLUICE_GONE', `the session is over: ${text}`)
  if (code === CloseReason.POLICY) return new SluiceError('ERR_SLUICE_POLICY', `the server ended the session: ${text}`)
  const who = byPeer ? 'the server ended the session' : 'the server broke the protocol'
  const kind = byPeer ? 'ERR_SLUICE_CLOSED' : 'ERR_SLUICE_PROTOCOL'
  return new SluiceError(kind, `${who} with ${closeReasonName(code)}: ${text}`)
}
