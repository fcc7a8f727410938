import {
  CreditPool,
  concat,
  DEFAULT_BUDGET,
  type LivenessOptions,
  proofInput,
  readHello,
  Session,
  type Stream,
  sameBytes,
  serverHello,
  withoutProof,
} from '../session/index.ts'
import {
  CloseReason,
  encodeFrame,
  ID_LENGTH,
  JoinError,
  type JoinHello,
  type NewHello,
  type Parameters,
  PROOF_LENGTH,
  Violation,
} from '../wire/index.ts'
import type { Carrier } from './carrier.ts'
import type { Host } from './host.ts'
import { Inlet } from './inlet.ts'
import { Pump } from './pump.ts'

/** A host whose HMAC answers at once, so that no message of an unproven carrier has to be kept. */
export interface SyncHost extends Host {
  hmac(key: Uint8Array, data: Uint8Array): Uint8Array
}

/** A server's view of one session. */
export interface ServerSession<Principal> {
  /** For logs and figures: not the id, which is a secret of a kind. */
  readonly label: number
  readonly principal: Principal
  readonly session: Session
  readonly pump: Pump
  readonly startedAt: number
  resumes: number
}

export interface ServerLinkEvents<Principal> {
  /** A client opened a stream, or asks for a listener. */
  opened(session: ServerSession<Principal>, stream: Stream): void
  started?(session: ServerSession<Principal>): void
  lost?(session: ServerSession<Principal>, why: string): void
  joined?(session: ServerSession<Principal>, carriers: number): void
  refused?(principal: Principal, why: string): void
  ended?(session: ServerSession<Principal>, code: number, text: string): void
}

export interface ServerLinkOptions<Principal> {
  readonly host: SyncHost
  readonly parameters: Parameters
  readonly events: ServerLinkEvents<Principal>
  /** Whether a session may begin: time has passed since the request was admitted. Default: yes. */
  allowed?(principal: Principal): boolean
  /** Whether a join may go on with a session: same principal, still allowed. */
  same(of: Principal, joining: Principal): boolean
  /** Sessions at once, those that wait for a carrier included. Default 10,000. */
  readonly maxSessions?: number
  /** What windows of all sessions together may grow by, in bytes. Default 512 MiB. */
  readonly pool?: CreditPool
  readonly replayBudget?: number
  readonly liveness?: LivenessOptions
  /** What a client is to say in the URL of a join. */
  readonly route?: string
  /** Whether sessions of other processes may still be alive, so that joins that name another route are sent on. */
  elsewhere?(): boolean
}

const GREETING_TIMEOUT = 10_000
const JOIN_FAILURES: Readonly<Record<number, string>> = {
  [JoinError.UNKNOWN]: 'there is no such session',
  [JoinError.NOT_ALLOWED]: 'the session belongs to somebody else',
  [JoinError.ELSEWHERE]: 'the session is at another process',
  [JoinError.TOO_MANY]: 'the session has as many carriers as it may',
}

/** What a server knows of a carrier before it belongs to a session. */
interface Guest<Principal> {
  readonly carrier: Carrier
  readonly principal: Principal
  readonly hello: Uint8Array
  readonly sessionId: Uint8Array
  readonly secret: Uint8Array
  readonly inlet: Inlet
  readonly cancel: () => void
  /** When our HELLO was sent. */
  readonly greetedAt: number
  /** What its request said of where its session is. */
  readonly route: string
}

interface Entry<Principal> extends ServerSession<Principal> {
  readonly key: string
  readonly secret: Uint8Array
}

/** The sessions of a server: greets carriers, begins sessions, and lets carriers join with a proof (spec §4, §9). */
export class ServerLink<Principal> {
  readonly #options: ServerLinkOptions<Principal>
  readonly #host: SyncHost
  readonly #sessions = new Map<string, Entry<Principal>>()
  readonly #pool: CreditPool
  readonly #guests = new Set<Guest<Principal>>()
  #labels = 0
  /** Whether no new sessions are begun: those that live may be joined. */
  leaving = false

  constructor(options: ServerLinkOptions<Principal>) {
    this.#options = options
    this.#host = options.host
    this.#pool = options.pool ?? new CreditPool(8 * DEFAULT_BUDGET)
  }

  get sessions(): readonly ServerSession<Principal>[] {
    return [...this.#sessions.values()]
  }

  /**
   * Takes a carrier whose request has been admitted for this principal.
   *
   * @param asked the route that its URL named
   */
  accept(carrier: Carrier, principal: Principal, asked = ''): void {
    const host = this.#host
    const sessionId = host.randomBytes(ID_LENGTH)
    const secret = host.randomBytes(PROOF_LENGTH)
    const { parameters, route = '' } = this.#options
    const hello = serverHello({ nonce: host.randomBytes(ID_LENGTH), parameters, sessionId, secret, route })
    const leave = (why: string) => {
      this.#dismiss(guest)
      this.#options.events.refused?.(principal, why)
    }
    const inlet = new Inlet({
      closed: () => this.#dismiss(guest),
      tooBig: (length) => this.#refuse(guest, CloseReason.TOO_BIG, `a first message of ${length} bytes`),
    })
    const cancel = host.after(GREETING_TIMEOUT, () => leave('no HELLO came in time'))
    const greetedAt = host.now()
    const guest: Guest<Principal> = {
      carrier,
      principal,
      hello,
      sessionId,
      secret,
      inlet,
      cancel,
      greetedAt,
      route: asked,
    }
    this.#guests.add(guest)
    carrier.send(hello, hello.length)
    inlet.next((bytes) => this.#greeted(guest, bytes))
    carrier.start(inlet)
  }

  #dismiss(guest: Guest<Principal>): void {
    guest.cancel()
    if (this.#guests.delete(guest)) guest.carrier.destroy()
  }

  #refuse(guest: Guest<Principal>, code: CloseReason, text: string): void {
    const close = encodeFrame({ type: 'CLOSE', code, text })
    this.#turnAway(guest, close, text)
  }

  #turnAway(guest: Guest<Principal>, message: Uint8Array, why: string): void {
    guest.cancel()
    this.#guests.delete(guest)
    guest.carrier.send(message, message.length)
    guest.carrier.close()
    this.#options.events.refused?.(guest.principal, why)
  }

  #greeted(guest: Guest<Principal>, bytes: Uint8Array): void {
    if (!this.#guests.has(guest)) return
    try {
      const hello = readHello(bytes, 'client')
      if (hello.mode === 'join') this.#join(guest, hello, bytes)
      else this.#begin(guest, hello as NewHello)
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      this.#refuse(guest, error.reason, error.message)
    }
  }

  #begin(guest: Guest<Principal>, { parameters }: NewHello): void {
    if (this.leaving) return this.#refuse(guest, CloseReason.GOING_AWAY, 'the server is shutting down')
    if (this.#options.allowed?.(guest.principal) === false) {
      return this.#refuse(guest, CloseReason.POLICY, 'the credentials are not valid any more')
    }
    if (this.#sessions.size >= (this.#options.maxSessions ?? 10_000)) {
      return this.#refuse(guest, CloseReason.GOING_AWAY, 'the server has as many sessions as it may')
    }
    const { host, replayBudget, liveness } = this.#options
    const key = toKey(guest.sessionId)
    const session = new Session(
      {
        role: 'server',
        own: this.#options.parameters,
        peer: parameters,
        pool: new CreditPool(DEFAULT_BUDGET, this.#pool),
        now: host.now(),
        ...(replayBudget === undefined ? {} : { replayBudget }),
        ...(liveness === undefined ? {} : { liveness }),
      },
      {
        opened: (stream) => this.#options.events.opened(entry, stream),
        wake: () => pump.wake(),
        gaveUp: (carrier, why) => pump.gaveUp(carrier, why),
        closed: (code, text) => {
          this.#sessions.delete(key)
          this.#options.events.ended?.(entry, code, text)
        },
      },
    )
    const pump = new Pump(session, host, (_, why) => {
      if (!session.over) this.#options.events.lost?.(entry, why)
      // A session that waits has a deadline now.
      pump.wake()
    })
    const { principal, secret } = guest
    const entry: Entry<Principal> = {
      label: ++this.#labels,
      principal,
      session,
      pump,
      key,
      secret,
      startedAt: host.now(),
      resumes: 0,
    }
    this.#sessions.set(key, entry)
    this.#options.events.started?.(entry)
    this.#admit(guest, entry, 0, parameters.max_message)
  }

  #admit(guest: Guest<Principal>, entry: Entry<Principal>, number: number, sendMost: number): void {
    guest.cancel()
    this.#guests.delete(guest)
    entry.pump.add(number, guest.carrier)
    const now = this.#host.now()
    entry.session.attach(number, sendMost, now, now - guest.greetedAt)
    guest.inlet.run(entry.pump, number)
  }

  #join(guest: Guest<Principal>, hello: JoinHello, bytes: Uint8Array): void {
    const entry = this.#sessions.get(toKey(hello.sessionId))
    // Unknown ids cost the same as wrong proofs: an HMAC under a secret that nobody has.
    const secret = entry?.secret ?? guest.secret
    const input = proofInput('client', hello.sessionId, hello.carrier, guest.hello, withoutProof(bytes))
    const right = sameBytes(this.#host.hmac(secret, input), hello.proof)
    if (entry === undefined || !right) {
      const { route = '', elsewhere } = this.#options
      const foreign = entry === undefined && guest.route !== route && (elsewhere?.() ?? false)
      return this.#joinFailed(guest, foreign ? JoinError.ELSEWHERE : JoinError.UNKNOWN)
    }
    if (!this.#options.same(entry.principal, guest.principal)) return this.#joinFailed(guest, JoinError.NOT_ALLOWED)
    const { session, pump } = entry
    if (session.wasUsed(hello.carrier)) return this.#joinFailed(guest, JoinError.UNKNOWN)
    const dead = new Set(hello.dead.map(({ carrier }) => carrier))
    const left = session.carriers.filter((number) => !dead.has(number))
    if (left.length >= this.#options.parameters.max_carriers) return this.#joinFailed(guest, JoinError.TOO_MANY)
    const counts = session.countsOf(hello.dead)
    const unproven = encodeFrame({ type: 'JOINED', carriers: counts, proof: new Uint8Array(PROOF_LENGTH) })
    const answer = withoutProof(unproven)
    const proof = this.#host.hmac(
      secret,
      proofInput('server', hello.sessionId, hello.carrier, guest.hello, bytes, answer),
    )
    const joined = concat(answer, proof)
    guest.carrier.send(joined, joined.length)
    for (const number of session.settleDead(hello.dead, this.#host.now())) pump.retire(number)
    if (session.waiting) entry.resumes++
    this.#admit(guest, entry, hello.carrier, hello.parameters.max_message)
    this.#options.events.joined?.(entry, session.carriers.length)
    pump.flush()
  }

  #joinFailed(guest: Guest<Principal>, code: JoinError): void {
    const text = JOIN_FAILURES[code] ?? ''
    this.#turnAway(guest, encodeFrame({ type: 'JOIN_FAILED', code, text }), text)
  }

  /** Ends sessions for good: all, or those of which `which` says so. */
  end(code: CloseReason, text: string, which: (session: ServerSession<Principal>) => boolean = () => true): void {
    for (const entry of [...this.#sessions.values()]) {
      if (!which(entry)) continue
      entry.session.close(code, text, this.#host.now())
      entry.pump.flush()
    }
  }
}

function toKey(id: Uint8Array): string {
  return String.fromCharCode(...id)
}
