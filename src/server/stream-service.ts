import { formatHostPort, type HostPort, parseHost } from '../config/index.ts'
import { messageOf, SluiceError } from '../errors/index.ts'
import type { ServerSession } from '../link/index.ts'
import { errnoCode, relayUdp, Splice, type SpliceOutcome, type UdpRelayOutcome } from '../node/index.ts'
import type { Stream } from '../session/index.ts'
import { OpenError, ResetCode, type Target } from '../wire/index.ts'
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

/** What happens to the streams of sessions, for logs; see TunnelEvent. */
export interface StreamServiceEvents {
  /** @param rule which rule allowed it */
  opened(owner: Owner, target: string, rule: string): void
  /** @param duration in milliseconds */
  ended(owner: Owner, target: string, outcome: SpliceOutcome, duration: number): void
  failed(owner: Owner, target: string, code: number, text: string, detail: string): void
}

export interface StreamServiceOptions {
  /** What somebody may reach and have listened on, at the moment of asking. */
  readonly rulesOf: (principal: Principal) => Rules
  readonly targets: ReadonlyMap<string, HostPort>
  readonly dialler: Dialler
  readonly limits: Limits
  readonly quotas: Quotas
  readonly version: string
  readonly events: StreamServiceEvents
}

/** How a stream that has had its share is ended, once there is something to end. */
interface Ends {
  end?: (why: string) => void
  over?: string
}

/** What the streams of sessions ask for: connections, listeners, datagrams and checks, as far as rules and limits allow. */
export class StreamService {
  readonly #options: StreamServiceOptions
  readonly #listeners: Listeners
  /** What streams are connected to, and how each is ended. */
  readonly #uses = new Map<Stream, { readonly of: ServerSession<Owner>; readonly use: Use; end(): void }>()
  /** Streams that are dialled or carried. */
  count = 0
  /** Whether no new ones are taken. */
  leaving = false

  constructor(options: StreamServiceOptions) {
    this.#options = options
    this.#listeners = new Listeners(options.limits.udpIdle)
  }

  /** A client has opened a stream: it is accepted or refused. */
  async opened(of: ServerSession<Owner>, stream: Stream): Promise<void> {
    const { principal: owner, pump } = of
    const name = nameOf(stream.target)
    const { events } = this.#options
    let lease: Lease | undefined
    this.count++
    try {
      if (this.leaving) throw new SluiceError('ERR_SLUICE_CLOSED', 'the server is shutting down')
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
      this.count--
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
    this.count--
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
        this.count++
        events.opened(owner, `listener ${name}`, by)
      },
      ended: (name, outcome, duration) => {
        this.count--
        events.ended(owner, `listener ${name}`, outcome, duration)
      },
    })
    this.count--
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
