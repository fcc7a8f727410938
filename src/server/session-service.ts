import { messageOf } from '../errors/index.ts'
import { type Carrier, ServerLink, type ServerSession } from '../link/index.ts'
import { nodeHost, PARAMETERS } from '../node/index.ts'
import { CreditPool, type SessionFigures } from '../session/index.ts'
import { CloseReason } from '../wire/index.ts'
import type { Principal } from './auth/auth.ts'
import type { Lease } from './quotas.ts'
import { type Owner, StreamService, type StreamServiceEvents, type StreamServiceOptions } from './stream-service.ts'

/** One session, for people and metrics. */
export interface SessionStatus extends SessionFigures {
  readonly label: number
  readonly principal: string
  /** Where its first carrier came from. */
  readonly from: string
  /** In milliseconds. */
  readonly age: number
  /** Whether it waits for a carrier. */
  readonly waiting: boolean
  readonly resumes: number
}

/** What happens in sessions, for logs; see TunnelEvent. */
export interface SessionServiceEvents extends StreamServiceEvents {
  session(owner: Owner, what: 'started' | 'lost' | 'joined' | 'ended', detail: string): void
  refused(owner: Owner, why: string): void
}

export interface SessionServiceOptions extends StreamServiceOptions {
  readonly resumeFor: number
  readonly route: string
  /** Until then (`performance.now()`) sessions of other processes may live. */
  readonly elsewhereUntil: number
  /** Whether somebody who was let in earlier still would be. */
  readonly still: (principal: Principal) => boolean
  readonly events: SessionServiceEvents
}

/** The sessions of a tunnel: who has one, how it begins and ends. */
export class SessionService {
  readonly #options: SessionServiceOptions
  readonly #link: ServerLink<Owner>
  readonly #streams: StreamService
  readonly #leases = new Map<ServerSession<Owner>, Lease>()

  constructor(options: SessionServiceOptions) {
    this.#options = options
    this.#streams = new StreamService(options)
    const { events, limits } = options
    this.#link = new ServerLink<Owner>({
      host: nodeHost,
      parameters: { ...PARAMETERS, max_streams: limits.streams, resume_for: options.resumeFor },
      maxSessions: limits.connections,
      pool: new CreditPool(limits.windowBytes),
      replayBudget: limits.replayBytes,
      route: options.route,
      elsewhere: () => performance.now() < options.elsewhereUntil,
      allowed: ({ principal }) => options.still(principal),
      same: (of, { principal }) => of.principal.name === principal.name && options.still(principal),
      events: {
        opened: (session, stream) => void this.#streams.opened(session, stream),
        started: (session) => this.#started(session),
        lost: ({ principal }, why) => events.session(principal, 'lost', why),
        joined: ({ principal }, carriers) => events.session(principal, 'joined', `carriers: ${carriers}`),
        refused: (owner, why) => events.refused(owner, why),
        ended: (session, code, text) => {
          this.#leases.get(session)?.release()
          this.#leases.delete(session)
          events.session(session.principal, 'ended', `${code} ${text}`.trim())
        },
      },
    })
  }

  get sessions(): readonly ServerSession<Owner>[] {
    return this.#link.sessions
  }

  /** Streams that are dialled or carried. */
  get streams(): number {
    return this.#streams.count
  }

  /** @param route what the request's URL said of where its session is */
  accept(carrier: Carrier, owner: Owner, route?: string): void {
    this.#link.accept(carrier, owner, route)
  }

  get status(): SessionStatus[] {
    const now = performance.now()
    return this.#link.sessions.map(({ label, principal: { principal, from }, session, startedAt, resumes }) => ({
      label,
      principal: principal.name,
      from,
      age: now - startedAt,
      waiting: session.waiting,
      resumes,
      ...session.figures,
    }))
  }

  #started(session: ServerSession<Owner>): void {
    const { events, quotas } = this.#options
    events.session(session.principal, 'started', '')
    const end = (why: string) => {
      session.session.close(CloseReason.POLICY, why, performance.now())
      session.pump.flush()
    }
    try {
      this.#leases.set(session, quotas.session(session.principal.principal, end))
    } catch (error) {
      // Not while it is being begun.
      setImmediate(() => end(messageOf(error)))
    }
  }

  /** Tells every session that no new streams are taken. */
  goaway(): void {
    this.#streams.leaving = true
    this.#link.leaving = true
    for (const { session, pump } of this.#link.sessions) {
      session.goaway()
      pump.flush()
    }
  }

  /** Ends the sessions of those who are not let in any more; returns how many. */
  revoke(): number {
    const revoked = this.#link.sessions.filter(({ principal }) => !this.#options.still(principal.principal))
    for (const { session, pump } of revoked) {
      session.close(CloseReason.POLICY, 'the credentials are not valid any more', performance.now())
      pump.flush()
    }
    return revoked.length
  }

  /** Ends streams and listeners that are not allowed any more, of those who still are let in; returns how many. */
  recheck(): number {
    return this.#streams.recheck()
  }

  /** Ends every session. */
  end(text: string): void {
    this.#link.end(CloseReason.GOING_AWAY, text)
  }
}
