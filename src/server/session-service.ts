import { formatHostPort, type HostPort, parseHost } from '../config/index.ts'
import { messageOf, SluiceError } from '../errors/index.ts'
import { type Carrier, ServerLink, type ServerSession } from '../link/index.ts'
import { nodeHost, PARAMETERS, Splice, type SpliceOutcome } from '../node/index.ts'
import { CreditPool, type SessionFigures, type Stream } from '../session/index.ts'
import { CloseReason, type Target } from '../wire/index.ts'
import type { Principal } from './auth.ts'
import { type Asked, type Dialler, openError } from './dialler.ts'
import type { Limits } from './limits.ts'
import type { Policy } from './policy/policy.ts'

/** Whom a session is of, and where its first carrier came from. */
export interface Owner {
  readonly principal: Principal
  readonly from: string
}

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
export interface SessionServiceEvents {
  session(owner: Owner, what: 'started' | 'lost' | 'joined' | 'ended', detail: string): void
  refused(owner: Owner, why: string): void
  opened(owner: Owner, target: string): void
  ended(owner: Owner, target: string, outcome: SpliceOutcome): void
  failed(owner: Owner, target: string, code: number, text: string, detail: string): void
}

export interface SessionServiceOptions {
  readonly policy: Policy
  readonly targets: ReadonlyMap<string, HostPort>
  readonly dialler: Dialler
  readonly limits: Limits
  readonly resumeFor: number
  readonly route: string
  /** Until then (`performance.now()`) sessions of other processes may live. */
  readonly elsewhereUntil: number
  readonly events: SessionServiceEvents
}

/** The sessions of a tunnel: dials what their streams ask for, as far as the policy allows. */
export class SessionService {
  readonly #options: SessionServiceOptions
  readonly #link: ServerLink<Owner>
  #streams = 0
  #leaving = false

  constructor(options: SessionServiceOptions) {
    this.#options = options
    const { events, limits } = options
    this.#link = new ServerLink<Owner>({
      host: nodeHost,
      parameters: { ...PARAMETERS, max_streams: limits.streams, resume_for: options.resumeFor },
      maxSessions: limits.connections,
      pool: new CreditPool(limits.windowBytes),
      replayBudget: limits.replayBytes,
      route: options.route,
      elsewhere: () => performance.now() < options.elsewhereUntil,
      same: (of, joining) => of.principal.name === joining.principal.name,
      events: {
        opened: (session, stream) => void this.#opened(session, stream),
        started: ({ principal }) => events.session(principal, 'started', ''),
        lost: ({ principal }, why) => events.session(principal, 'lost', why),
        joined: ({ principal }, carriers) => events.session(principal, 'joined', `carriers: ${carriers}`),
        refused: (owner, why) => events.refused(owner, why),
        ended: ({ principal }, code, text) => events.session(principal, 'ended', `${code} ${text}`.trim()),
      },
    })
  }

  get sessions(): readonly ServerSession<Owner>[] {
    return this.#link.sessions
  }

  /** Streams that are dialled or carried. */
  get streams(): number {
    return this.#streams
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

  async #opened({ principal: owner, pump }: ServerSession<Owner>, stream: Stream): Promise<void> {
    const name = nameOf(stream.target)
    const { events, dialler } = this.#options
    this.#streams++
    try {
      const tcp = await dialler.dial(this.#ask(stream))
      if (stream.sendState !== 'open') {
        tcp.reset()
        throw new SluiceError('ERR_SLUICE_CLOSED', 'the client gave up while the target was dialled')
      }
      events.opened(owner, name)
      pump.touch()
      stream.accept(addressOf(tcp.socket.remoteAddress, tcp.socket.remotePort))
      const splice = new Splice(tcp, pump, (outcome) => {
        this.#streams--
        events.ended(owner, name, outcome)
      })
      splice.start(stream)
      stream.start(splice)
    } catch (error) {
      this.#streams--
      const { code, text } = openError(error, name)
      events.failed(owner, name, code, text, messageOf(error))
      pump.touch()
      stream.refuse(code, text)
    }
  }

  /** @throws SluiceError `ERR_SLUICE_POLICY`, `ERR_SLUICE_USAGE` */
  #ask({ target, frame }: Stream): Asked {
    const { policy, targets } = this.#options
    if (this.#leaving) throw new SluiceError('ERR_SLUICE_CLOSED', 'the server is shutting down')
    if (frame === 'OPEN' && target.kind === 'TCP') {
      const asked = { host: parseHost(target.host, 'host'), port: target.port }
      const verdict = policy.checkTarget(asked)
      if (!verdict.allowed) throw new SluiceError('ERR_SLUICE_POLICY', verdict.why)
      return { target: asked, named: false }
    }
    if (frame === 'OPEN' && target.kind === 'NAMED') {
      const address = targets.get(target.name)
      const verdict = policy.checkNamed(target.name)
      if (address === undefined || !verdict.allowed) {
        throw new SluiceError('ERR_SLUICE_POLICY', address === undefined ? `there is no @${target.name}` : verdict.why)
      }
      return { target: address, named: true }
    }
    throw Object.assign(new Error(`${frame} of kind ${target.kind} is not supported`), { code: 'EOPNOTSUPP' })
  }

  /** Tells every session that no new streams are taken. */
  goaway(): void {
    this.#leaving = true
    this.#link.leaving = true
    for (const { session, pump } of this.#link.sessions) {
      session.goaway()
      pump.flush()
    }
  }

  /** Ends every session. */
  end(text: string): void {
    this.#link.end(CloseReason.GOING_AWAY, text)
  }
}

function nameOf(target: Target): string {
  switch (target.kind) {
    case 'TCP':
    case 'UDP':
      return formatHostPort(target)
    case 'UNIX':
      return target.path
    case 'NAMED':
      return `@${target.name}`
    case 'ACCEPTED':
      return `listener ${target.listener}`
  }
}

function addressOf(host: string | undefined, port: number | undefined): string {
  return host === undefined || port === undefined ? '' : formatHostPort({ host, port })
}
