import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  type HostPort,
  type Limit,
  parseLimit,
  parseReverseRule,
  parseRule,
  type ReverseRule,
  type Rule,
} from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { Heartbeat, PARAMETERS, type ReadMode, WebSocketCarrier } from '../node/index.ts'
import type { Auth, Principal } from './auth/auth.ts'
import { Tickets } from './auth/tickets.ts'
import { CHECK_TARGET } from './check-target.ts'
import { Dialler } from './dialler.ts'
import type { TunnelEvent } from './events.ts'
import { Front } from './front.ts'
import type { AdmittedWebSocket } from './gate.ts'
import { HttpCarriers } from './http/carriers.ts'
import { DEFAULT_LIMITS, type Limits } from './limits.ts'
import { streamOutcome } from './live.ts'
import { Networks } from './networks.ts'
import { RuleSet } from './policy/rule-set.ts'
import type { Rules } from './policy/rules.ts'
import { checkShadowed } from './policy/shadowed.ts'
import { Quotas } from './quotas.ts'
import { type Resolver, systemResolver } from './resolve.ts'
import { SessionService, type SessionServiceEvents, type SessionStatus } from './session-service.ts'
import type { Site } from './site.ts'
import type { Owner } from './stream-service.ts'
import { textOf, WebSockets } from './websockets.ts'

export interface TunnelOptions {
  /** Decides who may come in. */
  readonly auth: Auth
  /** Rules in the form of docs/rules.md, the first that matches decides; none means public addresses only. */
  readonly allow?: readonly (string | Rule)[]
  /** What clients may have listened on (`-R`), in the form of allow rules; none means nothing. */
  readonly allowReverse?: readonly (string | ReverseRule)[]
  /** Targets that are reached by name, `/tcp/@NAME`. Without rules, these are then all that may be reached. */
  readonly targets?: ReadonlyMap<string, HostPort>
  /** The path before everything: empty (default) or like `/tunnel`. */
  readonly prefix?: string
  /** Origins of browser pages that may connect, beside the server's own; `*` is any. */
  readonly origins?: readonly string[]
  /** Check `Host` against loopback names and `hosts`: for servers that listen on loopback. Default false. */
  readonly checkHost?: boolean
  readonly hosts?: readonly string[]
  readonly limits?: Partial<Limits>
  /** How much each may use, the first that is for somebody holds; see docs/rules.md. Default: no limits of anybody's own. */
  readonly quotas?: readonly (string | Limit)[]
  /** Milliseconds between pings of silent connections; 0 turns them off. Default 25 s. */
  readonly pingInterval?: number
  /** Milliseconds for which a session without a WebSocket is kept. Default 5 minutes. */
  readonly resumeFor?: number
  /** What joins name in their URL, so that a balancer can send them to this process. Default: random. */
  readonly route?: string
  /**
   * For how many milliseconds from its start joins that name another process are answered "elsewhere" rather than "gone",
   * because that process may live on: where several share one address. Default 0.
   */
  readonly elsewhereFor?: number
  readonly resolver?: Resolver
  /** Targets (`HOST:PORT`) that are told their client's address first, by which version of the PROXY protocol. */
  readonly tellClient?: ReadonlyMap<string, 1 | 2>
  /** Whose a connection is, where a proxy in front has said so. Default: its other end's. */
  readonly clientOf?: (socket: Socket) => HostPort | undefined
  /** Addresses and networks of proxies in front whose `X-Forwarded-For` says whose a request is. */
  readonly trustedProxies?: readonly string[]
  /** What whoever is not let in sees, in place of answers that tell what this is. */
  readonly site?: Site
  readonly onEvent?: (event: TunnelEvent) => void
  readonly readMode?: ReadMode
  readonly version?: string
}

/**
 * The tunnel itself, for a `node:http` server of one's own:
 *
 * @example
 * const tunnel = new Tunnel({ auth: new TokenAuth([{ name: 'me', token }]), allow: ['db.corp:5432'] })
 * server.on('upgrade', (request, socket, head) => {
 *   if (!tunnel.handleUpgrade(request, socket, head)) socket.destroy()
 * })
 */
export class Tunnel {
  readonly limits: Limits
  /** What all may do who have no rules of their own. */
  #rules: RuleSet
  readonly #targets: ReadonlyMap<string, HostPort>
  readonly #options: TunnelOptions
  readonly #auth: Tickets
  readonly #quotas: Quotas
  readonly #front: Front
  readonly #webSockets: WebSockets
  readonly #service: SessionService
  readonly #aborted = new AbortController()
  #draining = false
  #idle: (() => void) | undefined

  /** @throws SluiceError `ERR_SLUICE_USAGE` for a rule that cannot be read, `ERR_SLUICE_CONFIG` for one that can never match */
  constructor(options: TunnelOptions) {
    const targets = options.targets ?? new Map<string, HostPort>()
    this.#rules = readRules(options, targets)
    this.limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#options = options
    this.#targets = targets
    this.#auth = new Tickets(options.auth)
    this.#quotas = new Quotas(readLimits(options.quotas))
    const rulesOf = (principal: Principal) => this.#rulesOf(principal)
    const still = (principal: Principal) => this.#auth.still(principal)
    const dialler = new Dialler({
      resolve: options.resolver ?? systemResolver,
      timeout: this.limits.dialTimeout,
      signal: this.#aborted.signal,
      ...(options.tellClient === undefined ? {} : { tellClient: options.tellClient }),
      ...(options.readMode === undefined ? {} : { readMode: options.readMode }),
    })
    this.#service = new SessionService({
      rulesOf,
      targets,
      dialler,
      limits: this.limits,
      resumeFor: options.resumeFor ?? PARAMETERS.resume_for,
      route: options.route ?? randomBytes(6).toString('base64url'),
      elsewhereUntil: performance.now() + (options.elsewhereFor ?? 0),
      still,
      quotas: this.#quotas,
      version: options.version ?? '',
      events: this.#serviceEvents(),
    })
    this.#webSockets = new WebSockets({
      dialler,
      heartbeat: new Heartbeat(options.pingInterval),
      limits: this.limits,
      readMode: options.readMode,
      rulesOf,
      still,
      quotas: this.#quotas,
      onEvent: (event) => options.onEvent?.(event),
      ended: () => this.#checkIdle(),
    })
    const carriers = new HttpCarriers(this.limits.connections, (carrier, principal, route, { request }) => {
      const client = this.#front.clientOf(request)
      this.#service.accept(carrier, { principal, from: textOf(client), client }, route)
    })
    this.#front = new Front({
      prefix: options.prefix ?? '',
      auth: this.#auth,
      policyOf: (principal) => this.#rulesOf(principal).policy,
      targets,
      origins: options.origins ?? [],
      checkHost: options.checkHost ?? false,
      hosts: options.hosts ?? [],
      limits: this.limits,
      draining: () => this.#draining,
      full: () => this.#webSockets.size >= this.limits.connections,
      version: options.version ?? '',
      proxiedClientOf: options.clientOf,
      trustedProxies: new Networks(options.trustedProxies ?? []),
      site: options.site,
      admit: (admitted, socket, head, client) => this.#admit(admitted, socket, head, client),
      carry: ({ asked, principal }, exchange) => carriers.handle(asked, principal, exchange),
      ticket: (principal) => this.#auth.make(principal),
      refused: (from, status, message) => options.onEvent?.({ type: 'refused', from, status, message }),
    })
  }

  #serviceEvents(): SessionServiceEvents {
    const emit = (event: TunnelEvent) => this.#options.onEvent?.(event)
    const about = ({ principal, from }: Owner, target: string) => ({ from, principal: principal.name, target })
    return {
      session: ({ principal, from }, what, detail) =>
        emit({ type: 'session', from, principal: principal.name, what, detail }),
      refused: ({ principal, from }, why) =>
        emit({ type: 'session', from, principal: principal.name, what: 'refused', detail: why }),
      opened: (owner, target, rule) => emit({ type: 'opened', ...about(owner, target), rule }),
      ended: (owner, target, outcome, duration) => {
        emit({ type: 'ended', ...about(owner, target), outcome: streamOutcome(outcome, duration) })
        this.#checkIdle()
      },
      failed: (owner, target, code, reason, detail) => {
        emit({ type: 'failed', ...about(owner, target), code, reason, detail })
        this.#checkIdle()
      },
    }
  }

  /** How many connections are being carried or dialled: in plain mode, and as streams of sessions. */
  get connections(): number {
    return this.#webSockets.size + this.#service.streams
  }

  /** Sessions, those that wait for a carrier included. */
  get sessions(): number {
    return this.#service.sessions.length
  }

  /** Every session with its figures. */
  get sessionStatus(): SessionStatus[] {
    return this.#service.status
  }

  #checkIdle(): void {
    if (this.connections === 0) this.#idle?.()
  }

  /** Takes an `upgrade` event; false, with nothing done, if the path is none of the tunnel's. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    return this.#front.handleUpgrade(request, socket as Socket, head)
  }

  /** Takes a `request` event; false, with nothing done, if the path is none of the tunnel's. */
  handleRequest(request: IncomingMessage, response: ServerResponse): boolean {
    return this.#front.handleRequest(request, response)
  }

  /**
   * Asks again who may be in (`Auth.still`) and what they may do (`Auth.rules`), and ends at once what is not allowed any more:
   * call it when either has changed.
   *
   * @returns how many sessions, WebSockets, streams and listeners were ended
   */
  recheck(): number {
    return this.#service.revoke() + this.#service.recheck() + this.#webSockets.recheck() + this.#quotas.recheck()
  }

  /**
   * From now on these are the rules of all who have none of their own; `recheck` ends what they forbid.
   *
   * @throws SluiceError `ERR_SLUICE_USAGE` for a rule that cannot be read, `ERR_SLUICE_CONFIG` for one that can never match; then nothing has changed
   */
  replaceRules(rules: Pick<TunnelOptions, 'allow' | 'allowReverse' | 'quotas'>): void {
    const limits = readLimits(rules.quotas)
    this.#rules = readRules(rules, this.#targets)
    this.#quotas.replace(limits)
  }

  #rulesOf(principal: Principal): Rules {
    return { ...this.#rules.of(principal), ...this.#auth.rules(principal) }
  }

  /** Refuses what is new, waits for what runs, and ends with close code 1001 what is left after `grace` milliseconds. */
  async drain(grace: number): Promise<void> {
    this.#draining = true
    this.#service.goaway()
    if (this.connections > 0) {
      const idle = new Promise<void>((resolve) => {
        this.#idle = resolve
      })
      if (!(await within(idle, grace))) {
        this.#aborted.abort(new SluiceError('ERR_SLUICE_CLOSED', 'the server is shutting down'))
        this.#webSockets.shutDown()
        this.#service.end('the server is shutting down')
        if (!(await within(idle, 2_000))) this.#webSockets.destroy()
      }
    }
    this.#service.end('the server is shutting down')
  }

  #admit(admitted: AdmittedWebSocket, socket: Socket, head: Buffer, client: HostPort): void {
    if (admitted.kind === 'wisp') return this.#webSockets.wisp(admitted, socket, head, client)
    if (admitted.kind === 'plain') return void this.#webSockets.plain(admitted, socket, head, client)
    const ws = this.#webSockets.accept(admitted, socket, head, PARAMETERS.max_message)
    const owner = { principal: admitted.principal, from: textOf(client), client }
    this.#service.accept(new WebSocketCarrier(ws), owner, admitted.route)
    // The 101 and HELLO leave together.
    ws.stream.uncork()
  }
}

function readLimits(limits: TunnelOptions['quotas'] = []): Limit[] {
  return limits.map((limit) => (typeof limit === 'string' ? parseLimit(limit) : limit))
}

function readRules(
  { allow = [], allowReverse = [] }: Pick<TunnelOptions, 'allow' | 'allowReverse'>,
  targets: ReadonlyMap<string, HostPort>,
): RuleSet {
  // Whoever names targets means these: without a rule, nothing beside them is open.
  const implied = allow.length === 0 ? [...targets.keys()].map((name) => `@${name}`) : []
  const rules = [...allow, ...implied].map((rule) => (typeof rule === 'string' ? parseRule(rule) : rule))
  const reverse = allowReverse.map((rule) => (typeof rule === 'string' ? parseReverseRule(rule) : rule))
  checkShadowed(rules, new Set([...targets.keys(), CHECK_TARGET]))
  checkShadowed(reverse, new Set())
  return new RuleSet(rules, reverse)
}

async function within(promise: Promise<void>, milliseconds: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), milliseconds)
  })
  const won = await Promise.race([promise.then(() => true), late])
  clearTimeout(timer)
  return won
}
