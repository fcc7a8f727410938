import { type OutgoingMessage, Session, type SessionEvents, type Stream } from '#src/session/index.js'
import { type CarrierCount, type Parameters, withDefaults } from '#src/wire/index.js'
import type { Random } from '../helpers/random.js'

/** How one carrier behaves, in milliseconds and bytes per millisecond; each field may change while it lives. */
export interface Line {
  delay: number
  rate: number
  /** Nothing moves until then, nor is lost. */
  stalledUntil: number
}

interface OnTheWay {
  readonly at: number
  readonly bytes: Uint8Array
}

interface Direction {
  readonly to: 'client' | 'server'
  queue: OnTheWay[]
  freeAt: number
}

/** A simulated carrier between the two sessions. */
export interface SimCarrier {
  readonly number: number
  readonly line: Line
  readonly up: Direction
  readonly down: Direction
  /** Packets vanish without a word. */
  blackhole: boolean
  /** Each end has noticed its death. */
  clientLost: boolean
  serverLost: boolean
}

export const PARAMETERS: Parameters = withDefaults({
  max_message: 512 * 1024,
  initial_credit: 64 * 1024,
  max_streams: 256,
  resume_for: 300_000,
  max_carriers: 8,
  max_datagram: 65_535,
  features: 7,
})

export interface PairOptions {
  readonly random?: Random
  readonly parameters?: Partial<Parameters>
  readonly replayBudget?: number
  readonly line?: Partial<Line>
}

/** Two sessions, simulated carriers and a clock that jumps to the next thing to happen. Nothing here sleeps. */
export class Pair {
  readonly client: Session
  readonly server: Session
  readonly carriers = new Map<number, SimCarrier>()
  readonly closed: { client?: string; server?: string } = {}
  readonly gaveUp: string[] = []
  readonly #random: Random | undefined
  readonly #line: Line
  now = 0
  /** Messages that the sessions sent, and bytes of them, for both directions. */
  messages = 0
  sentBytes = 0
  onOpened: (stream: Stream) => void = () => {}
  onRenew: (carrier: number) => void = () => {}
  onGoaway: () => void = () => {}
  onMessage: (from: 'client' | 'server', bytes: Uint8Array, carrier: number) => void = () => {}
  /** What else is to happen, by time. */
  readonly #plans: { at: number; act: () => void }[] = []

  constructor(options: PairOptions = {}) {
    this.#random = options.random
    this.#line = { delay: 25, rate: Number.POSITIVE_INFINITY, stalledUntil: 0, ...options.line }
    const said = { ...PARAMETERS, ...options.parameters }
    const budget = options.replayBudget === undefined ? {} : { replayBudget: options.replayBudget }
    const make = (role: 'client' | 'server') =>
      new Session({ role, own: said, peer: said, now: 0, ...budget }, this.#events(role))
    this.client = make('client')
    this.server = make('server')
  }

  #events(role: 'client' | 'server'): SessionEvents {
    return {
      opened: (stream) => this.onOpened(stream),
      wake: () => {},
      renew: (carrier) => this.onRenew(carrier),
      goaway: () => this.onGoaway(),
      gaveUp: (carrier, why) => {
        this.gaveUp.push(`${role} ${carrier}: ${why}`)
        this.#notice(role, this.carriers.get(carrier)!)
      },
      closed: (code, text, byPeer) => (this.closed[role] = `${byPeer ? 'peer' : 'own'} ${code} ${text}`),
    }
  }

  plan(after: number, act: () => void): void {
    this.#plans.push({ at: this.now + after, act })
    this.#plans.sort((a, b) => a.at - b.at)
  }

  /** Adds a carrier as a new session or a join does, the proofs apart: those are the link's. */
  join(line: Partial<Line> = {}, number = this.client.takeCarrierNumber()): SimCarrier {
    const dead: CarrierCount[] = this.client.deadCounts()
    for (const lost of this.server.settleDead(dead, this.now)) this.carriers.get(lost)!.serverLost = true
    const counts = this.server.countsOf(dead)
    const direction = (to: Direction['to']): Direction => ({ to, queue: [], freeAt: 0 })
    const carrier: SimCarrier = {
      number,
      line: { ...this.#line, ...line },
      up: direction('server'),
      down: direction('client'),
      blackhole: false,
      clientLost: false,
      serverLost: false,
    }
    this.carriers.set(number, carrier)
    this.server.attach(number, PARAMETERS.max_message, this.now)
    this.client.attach(number, PARAMETERS.max_message, this.now)
    this.client.settleDead(counts, this.now)
    this.flush()
    return carrier
  }

  /** Cuts a carrier: each end notices after a while of its own; what is on its way may arrive in part. */
  cut(carrier: SimCarrier, noticeAfter = 0): void {
    const random = this.#random
    for (const direction of [carrier.up, carrier.down]) {
      const keep = random === undefined ? 0 : random.below(direction.queue.length + 1)
      const [next] = direction.queue.splice(keep)
      if (next !== undefined && random !== undefined) this.#deliverPart(carrier, direction, next.bytes)
    }
    carrier.blackhole = true
    this.plan(noticeAfter, () => this.#notice('client', carrier))
    this.plan(random === undefined ? noticeAfter : random.below(noticeAfter * 2 + 1), () =>
      this.#notice('server', carrier),
    )
  }

  /** A message of which only a part arrives before the cut. */
  #deliverPart(carrier: SimCarrier, direction: Direction, bytes: Uint8Array): void {
    if (direction.queue.length > 0) return
    const session = this[direction.to]
    const part = bytes.subarray(0, this.#random!.below(bytes.length + 1))
    session.begin(carrier.number, bytes.length, this.now)
    session.push(carrier.number, part.slice(), undefined, this.now)
  }

  #notice(role: 'client' | 'server', carrier: SimCarrier): void {
    carrier.blackhole = true
    if (role === 'client' && !carrier.clientLost) {
      carrier.clientLost = true
      this.client.lost(carrier.number, this.now)
    }
    if (role === 'server' && !carrier.serverLost) {
      carrier.serverLost = true
      this.server.lost(carrier.number, this.now)
    }
  }

  flush(): void {
    this.#transmit('client')
    this.#transmit('server')
  }

  #transmit(from: 'client' | 'server'): void {
    for (let out = this[from].transmit(this.now); out !== undefined; out = this[from].transmit(this.now)) {
      const bytes = messageBytes(out)
      if (out.changes !== 'nothing') this.#mask(from, out)
      this.messages++
      this.sentBytes += bytes.length
      this.onMessage(from, bytes, out.carrier)
      const carrier = this.carriers.get(out.carrier)!
      const lost = from === 'client' ? carrier.clientLost : carrier.serverLost
      if (lost) throw new Error(`${from} sends on carrier ${out.carrier}, which it knows to be dead`)
      if (carrier.blackhole) continue
      const direction = from === 'client' ? carrier.up : carrier.down
      direction.freeAt = Math.max(this.now, direction.freeAt) + bytes.length / carrier.line.rate
      direction.queue.push({ at: direction.freeAt + carrier.line.delay, bytes })
    }
  }

  /** As a carrier may that masks what lies in memory in place: whoever sends it again must know. */
  #mask(from: 'client' | 'server', { body }: OutgoingMessage): void {
    const random = this.#random
    if (random === undefined || random.below(4) === 0) return
    const key = random.below(0xffff_ffff)
    for (let i = 0; i < body!.length; i++) body![i]! ^= key >>> ((i & 3) * 8)
    this[from].masked(key)
  }

  /** Delivers what is due on one carrier; whether there was anything. */
  #deliver(carrier: SimCarrier): boolean {
    let any = false
    for (const direction of [carrier.up, carrier.down]) {
      while (direction.queue[0] !== undefined && this.#arrival(carrier, direction.queue[0]) <= this.now) {
        any = true
        this.deliver(direction.to, carrier.number, direction.queue.shift()!.bytes)
      }
    }
    return any
  }

  /** Hands a message to a session, whole or at random cuts. */
  deliver(to: 'client' | 'server', carrier: number, bytes: Uint8Array): void {
    const session = this[to]
    session.begin(carrier, this.#random?.below(4) === 0 ? undefined : bytes.length, this.now)
    const cut = this.#random === undefined ? bytes.length : this.#random.below(bytes.length + 1)
    // Memory that is written over afterwards: whoever kept a view of it is found out.
    for (const part of [bytes.slice(0, cut), bytes.slice(cut)]) {
      session.push(carrier, part, undefined, this.now)
      part.fill(0xee)
    }
    session.end(carrier, this.now)
  }

  #arrival(carrier: SimCarrier, { at }: OnTheWay): number {
    return Math.max(at, carrier.line.stalledUntil)
  }

  /** Runs until `until` holds; throws when nothing is left to happen or the time is over. */
  run(until: () => boolean, limit = 600_000): void {
    const end = this.now + limit
    this.flush()
    while (!until()) {
      const next = this.#nextTime()
      if (next === undefined || next > end) {
        throw new Error(`nothing more happens before ${end} ms; now ${this.now}; ${JSON.stringify(this.closed)}`)
      }
      this.now = Math.max(this.now, next)
      this.#step()
    }
  }

  /** Lets this much time pass. */
  wait(milliseconds: number): void {
    const end = this.now + milliseconds
    this.flush()
    for (let next = this.#nextTime(); next !== undefined && next <= end; next = this.#nextTime()) {
      this.now = Math.max(this.now, next)
      this.#step()
    }
    this.now = end
    this.#step()
  }

  #step(): void {
    while (this.#plans[0] !== undefined && this.#plans[0].at <= this.now) this.#plans.shift()!.act()
    for (const carrier of this.carriers.values()) this.#deliver(carrier)
    this.client.advance(this.now)
    this.server.advance(this.now)
    this.flush()
  }

  #nextTime(): number | undefined {
    const times: number[] = []
    for (const carrier of this.carriers.values()) {
      for (const { queue } of [carrier.up, carrier.down]) {
        if (queue[0] !== undefined) times.push(this.#arrival(carrier, queue[0]))
      }
    }
    if (this.#plans[0] !== undefined) times.push(this.#plans[0].at)
    for (const session of [this.client, this.server]) {
      times.push(Math.max(session.deadline(), this.now + 0.001))
    }
    const least = Math.min(...times)
    return Number.isFinite(least) ? least : undefined
  }
}

export function messageBytes(out: OutgoingMessage): Uint8Array {
  const bytes = new Uint8Array(out.headLength + (out.body?.length ?? 0))
  bytes.set(out.head.subarray(0, out.headLength))
  if (out.body !== undefined) bytes.set(out.body, out.headLength)
  return bytes
}
