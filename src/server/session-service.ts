import { formatHostPort, type HostPort, parseHost } from '../config/index.ts'
import { messageOf, SluiceError } from '../errors/index.ts'
import { type Carrier, ServerLink, type ServerSession } from '../link/index.ts'
import {
  errnoCode,
  nodeHost,
  PARAMETERS,
  relayUdp,
  Splice,
  type SpliceOutcome,
  type UdpRelayOutcome,
} from '../node/index.ts'
import { CreditPool, type SessionFigures, type Stream } from '../session/index.ts'
import { CloseReason, OpenError, ResetCode, type Target } from '../wire/index.ts'
import type { Principal } from './auth/auth.ts'
import { CHECK_TARGET, CheckTarget } from './check-target.ts'
import type { Asked, Dialler } from './dialler.ts'
import type { Limits } from './limits.ts'
import { Listeners } from './listeners.ts'
import { metered } from './metered.ts'
import type { Policy } from './policy/policy.ts'
import { allows, type Rules, type Use, verdictOf } from './policy/rules.ts'
import type { Lease, Quotas } from './quotas.ts'

/** Whom a session is of, and where its first carrier came from. */
export interface Owner {
  readonly principal: Principal
  readonly from: string
  readonly client: HostPort
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
  /** @param rule which rule allowed it */
  opened(owner: Owner, target: string, rule: string): void
  /** @param duration in milliseconds */
  ended(owner: Owner, target: string, outcome: SpliceOutcome, duration: number): void
  failed(owner: Owner, target: string, code: number, text: string, detail: string): void
}

export interface SessionServiceOptions {
  /** What somebody may reach and have listened on, at the moment of asking. */
  readonly rulesOf: (principal: Principal) => Rules
  readonly targets: ReadonlyMap<string, HostPort>
  readonly dialler: Dialler
  readonly limits: Limits
  readonly resumeFor: number
  readonly route: string
  /** Until then (`performance.now()`) sessions of other processes may live. */
  readonly elsewhereUntil: number
  /** Whether somebody who was let in earlier still would be. */
  readonly still: (principal: Principal) => boolean
  readonly quotas: Quotas
  readonly version: string
  readonly events: SessionServiceEvents
}

/** How a stream that has had its share is ended, once there is something to end. */
interface Ends {
  end?: (why: string) => void
  over?: string
}

/** The sessions of a tunnel: dials what their streams ask for, as far as the policy allows. */
export class SessionService {
  readonly #options: SessionServiceOptions
  readonly #link: ServerLink<Owner>
  readonly #listeners: Listeners
  /** What streams are connected to, and how each is ended. */
  readonly #uses = new Map<Stream, { readonly of: ServerSession<Owner>; readonly use: Use; end(): void }>()
  readonly #leases = new Map<ServerSession<Owner>, Lease>()
  #streams = 0
  #leaving = false

  constructor(options: SessionServiceOptions) {
    this.#options = options
    this.#listeners = new Listeners(options.limits.udpIdle)
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
        opened: (session, stream) => void this.#opened(session, stream),
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

  async #opened(of: ServerSession<Owner>, stream: Stream): Promise<void> {
    const { principal: owner, pump } = of
    const name = nameOf(stream.target)
    const { events } = this.#options
    let lease: Lease | undefined
    this.#streams++
    try {
      if (this.#leaving) throw new SluiceError('ERR_SLUICE_CLOSED', 'the server is shutting down')
      if (stream.frame === 'LISTEN') return events.opened(owner, name, await this.#listen(of, stream))
      const ends: Ends = {}
      lease = this.#options.quotas.stream(owner.principal, (why) => {
        ends.over = why
        pump.touch()
        ends.end?.(why)
        pump.flush()
      })
      const { target } = stream
      const how = this.#isCheck(target) ? this.#check : target.kind === 'UDP' ? this.#relay : this.#splice
      events.opened(owner, name, await how.call(this, of, stream, lease, ends))
    } catch (error) {
      this.#streams--
      lease?.release()
      const { code, text } = errnoCode(error, name)
      events.failed(owner, name, code, text, messageOf(error))
      pump.touch()
      stream.refuse(code, text)
    }
  }

  async #splice(of: ServerSession<Owner>, stream: Stream, lease: Lease, ends: Ends): Promise<string> {
    const { dialler, events } = this.#options
    const { principal: owner, pump } = of
    const { target } = stream
    const policy = this.#policyOf(owner)
    const tcp = await (target.kind === 'UNIX'
      ? dialler.dialPath(target.path, policy)
      : dialler.dial(this.#ask(target, policy), policy, owner.client))
    if (stream.sendState !== 'open' || ends.over !== undefined) {
      tcp.reset()
      throw new SluiceError('ERR_SLUICE_CLOSED', ends.over ?? 'the client gave up while the target was dialled')
    }
    const use = useOf(target, tcp.socket.remoteAddress ?? '')
    const verdict = verdictOf(this.#policyOf(owner), use)
    if (!verdict.allowed) {
      tcp.reset()
      throw new SluiceError('ERR_SLUICE_POLICY', 'the rules changed while the target was dialled')
    }
    pump.touch()
    stream.accept(target.kind === 'UNIX' ? target.path : addressOf(tcp.socket.remoteAddress, tcp.socket.remotePort))
    const since = performance.now()
    const splice = new Splice(metered(tcp, lease), pump, (outcome) => {
      this.#forget(stream, lease)
      events.ended(owner, nameOf(target), outcome, performance.now() - since)
    })
    splice.start(stream)
    stream.start(splice)
    ends.end = (why) => splice.abort(ResetCode.POLICY, why)
    this.#uses.set(stream, { of, use, end: () => splice.abort(ResetCode.POLICY) })
    return verdict.why
  }

  async #relay(of: ServerSession<Owner>, stream: Stream, lease: Lease, ends: Ends): Promise<string> {
    const { dialler, events, limits } = this.#options
    const { principal: owner, pump } = of
    const policy = this.#policyOf(owner)
    const asked = this.#ask(stream.target, policy)
    const [address] = await dialler.addresses(asked, policy, 'udp')
    const { port } = asked.target
    const since = performance.now()
    const to = { address: address!, port, idle: limits.udpIdle }
    const mayMove = (bytes: number) => lease.take(bytes) === 0
    const done = (moved: UdpRelayOutcome) => {
      this.#forget(stream, lease)
      events.ended(owner, nameOf(stream.target), { ...moved, error: undefined }, performance.now() - since)
    }
    const end = await relayUdp(stream, pump, to, done, mayMove)
    const use = useOf(stream.target, address!)
    ends.end = end
    this.#uses.set(stream, { of, use, end })
    pump.touch()
    stream.accept(formatHostPort({ host: address!, port }))
    return verdictOf(policy, use).why
  }

  /** Whether it is the target of our own: one of the configuration may have its name. */
  #isCheck(target: Target): boolean {
    return target.kind === 'NAMED' && target.name === CHECK_TARGET && !this.#options.targets.has(CHECK_TARGET)
  }

  async #check(of: ServerSession<Owner>, stream: Stream, lease: Lease, ends: Ends): Promise<string> {
    const { rulesOf, version, events } = this.#options
    const { principal: owner, pump } = of
    const { principal } = owner
    const use: Use = { own: CHECK_TARGET }
    const verdict = verdictOf(this.#policyOf(owner), use)
    if (!verdict.allowed) throw new SluiceError('ERR_SLUICE_POLICY', verdict.why)
    const since = performance.now()
    const check = new CheckTarget(stream, {
      lease,
      touch: () => pump.touch(),
      who: () => {
        const { policy, reverse } = rulesOf(principal)
        const { name, groups = [] } = principal
        return { version, user: name, groups, time: Date.now(), rules: policy.texts, reverse: reverse.texts }
      },
      done: (moved) => {
        this.#forget(stream, lease)
        events.ended(owner, nameOf(stream.target), moved, performance.now() - since)
      },
    })
    const end = () => check.abort(ResetCode.POLICY)
    ends.end = end
    this.#uses.set(stream, { of, use, end })
    stream.accept(`@${CHECK_TARGET}`)
    stream.start(check)
    return verdict.why
  }

  #forget(stream: Stream, lease: Lease): void {
    this.#streams--
    this.#uses.delete(stream)
    lease.release()
  }

  /** A listener costs no connection of its own; those that come to it do. */
  async #listen(of: ServerSession<Owner>, stream: Stream): Promise<string> {
    const { events } = this.#options
    const { principal: owner, pump } = of
    const reverse = () => this.#options.rulesOf(owner.principal).reverse
    const { address, rule } = await this.#listeners.listen(of, owner.principal.name, reverse, stream, {
      lease: (name, end) => {
        try {
          return this.#options.quotas.stream(owner.principal, end)
        } catch (error) {
          events.failed(owner, `listener ${name}`, OpenError.NOT_ALLOWED, 'NOT_ALLOWED', messageOf(error))
          return undefined
        }
      },
      accepted: (name, by) => {
        this.#streams++
        events.opened(owner, `listener ${name}`, by)
      },
      ended: (name, outcome, duration) => {
        this.#streams--
        events.ended(owner, `listener ${name}`, outcome, duration)
      },
    })
    this.#streams--
    pump.touch()
    stream.accept(address)
    return rule
  }

  #policyOf({ principal }: Owner): Policy {
    return this.#options.rulesOf(principal).policy
  }

  /** @throws SluiceError `ERR_SLUICE_POLICY`, `ERR_SLUICE_USAGE` */
  #ask(target: Target, policy: Policy): Asked {
    const { targets } = this.#options
    if (target.kind === 'TCP' || target.kind === 'UDP') {
      const asked = { host: parseHost(target.host, 'host'), port: target.port }
      const verdict = policy.checkTarget(asked, target.kind === 'TCP' ? 'tcp' : 'udp')
      if (!verdict.allowed) throw new SluiceError('ERR_SLUICE_POLICY', verdict.why)
      return { target: asked, named: false }
    }
    if (target.kind === 'NAMED') {
      const address = targets.get(target.name)
      const verdict = policy.checkNamed(target.name)
      if (address === undefined || !verdict.allowed) {
        throw new SluiceError('ERR_SLUICE_POLICY', address === undefined ? `there is no @${target.name}` : verdict.why)
      }
      return { target: address, named: true }
    }
    throw Object.assign(new Error(`OPEN of kind ${target.kind} is not supported`), { code: 'EOPNOTSUPP' })
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
    let ended = this.#listeners.recheck()
    for (const { of, use, end } of [...this.#uses.values()]) {
      if (allows(this.#policyOf(of.principal), use)) continue
      of.pump.touch()
      end()
      of.pump.flush()
      ended++
    }
    return ended
  }

  /** Ends every session. */
  end(text: string): void {
    this.#link.end(CloseReason.GOING_AWAY, text)
  }
}

function nameOf(target: Target): string {
  switch (target.kind) {
    case 'TCP':
      return formatHostPort(target)
    case 'UDP':
      return `${formatHostPort(target)}/udp`
    case 'UNIX':
      return target.path
    case 'NAMED':
      return `@${target.name}`
    case 'ACCEPTED':
      return `listener ${target.listener}`
  }
}

function useOf(target: Target, address: string): Use {
  if (target.kind === 'NAMED') return { named: target.name }
  if (target.kind === 'UNIX') return { path: target.path }
  if (target.kind === 'ACCEPTED') throw new SluiceError('ERR_SLUICE_MISUSE', 'a client accepts nothing at a server')
  const { host, port, kind } = target
  return { target: { host, port }, protocol: kind === 'TCP' ? 'tcp' : 'udp', address }
}

function addressOf(host: string | undefined, port: number | undefined): string {
  return host === undefined || port === undefined ? '' : formatHostPort({ host, port })
}
