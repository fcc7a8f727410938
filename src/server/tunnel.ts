import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type HostPort, parseReverseRule, parseRule, type ReverseRule, type Rule } from '../config/index.ts'
import { messageOf, SluiceError } from '../errors/index.ts'
import {
  Heartbeat,
  PARAMETERS,
  type ReadMode,
  SocketStream,
  sha1Base64,
  WebSocketCarrier,
  WebSocketStream,
} from '../node/index.ts'
import { CloseCode, formatAccept } from '../websocket/index.ts'
import type { Auth, Principal } from './auth.ts'
import { Dialler } from './dialler.ts'
import {
  type Admitted,
  type AdmittedHttp,
  type AdmittedPlain,
  type AdmittedWisp,
  decide,
  decideHttp,
  type GateOptions,
  type HttpRefusal,
  refusal,
} from './gate.ts'
import { HttpCarriers } from './http/carriers.ts'
import { exchangeOf } from './http/exchange.ts'
import { DEFAULT_LIMITS, type Limits, RateLimit } from './limits.ts'
import { type ConnectionOutcome, closeFor, Live, plainOutcome, streamOutcome } from './live.ts'
import { homePage } from './page.ts'
import { Policy } from './policy/policy.ts'
import { ReversePolicy } from './policy/reverse.ts'
import { type Rules, type Use, verdictOf } from './policy/rules.ts'
import { type Resolver, systemResolver } from './resolve.ts'
import { type Answer, plainText, respond, respondRaw } from './respond.ts'
import { type Owner, SessionService, type SessionServiceEvents, type SessionStatus } from './session-service.ts'
import { MAX_WISP_MESSAGE, WispConnection } from './wisp/connection.ts'

/** What happens at a tunnel, for logs. Nothing here is a secret; what a peer chose is in `target` alone. */
export type TunnelEvent =
  | { readonly type: 'refused'; readonly from: string; readonly status: number; readonly message: string }
  | {
      readonly type: 'opened'
      readonly from: string
      readonly principal: string
      readonly target: string
      /** Which rule allowed it. */
      readonly rule: string
    }
  | {
      readonly type: 'ended'
      readonly from: string
      readonly principal: string
      readonly target: string
      readonly outcome: ConnectionOutcome
    }
  | {
      readonly type: 'session'
      readonly from: string
      readonly principal: string
      readonly what: 'started' | 'lost' | 'joined' | 'ended' | 'refused'
      readonly detail: string
    }
  | {
      readonly type: 'failed'
      readonly from: string
      readonly principal: string
      readonly target: string
      /** In plain mode the close code, in a session the code of OPEN_FAILED. */
      readonly code: number
      readonly reason: string
      /** For the operator: which rule, which address. */
      readonly detail: string
    }

export interface TunnelOptions {
  /** Decides who may come in. */
  readonly auth: Auth
  /** Allow rules in the form of docs/rules.md; none means public addresses only. */
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
  #rules: Rules
  readonly #gate: GateOptions
  readonly #options: TunnelOptions
  readonly #rate: RateLimit
  readonly #heartbeat: Heartbeat
  readonly #dialler: Dialler
  readonly #service: SessionService
  readonly #carriers: HttpCarriers
  readonly #live = new Map<Pick<Live, 'ws' | 'shutDown' | 'recheck'>, Principal>()
  readonly #aborted = new AbortController()
  #draining = false
  #idle: (() => void) | undefined

  /** @throws SluiceError `ERR_SLUICE_USAGE` for a rule that cannot be read */
  constructor(options: TunnelOptions) {
    const targets = options.targets ?? new Map<string, HostPort>()
    this.#rules = readRules(options, targets)
    this.limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#options = options
    this.#gate = {
      prefix: options.prefix ?? '',
      auth: options.auth,
      policyOf: (principal) => this.#rulesOf(principal).policy,
      targets,
      origins: options.origins ?? [],
      checkHost: options.checkHost ?? false,
      hosts: options.hosts ?? [],
    }
    this.#rate = new RateLimit(this.limits.handshakesPerSecond, this.limits.handshakeBurst)
    this.#heartbeat = new Heartbeat(options.pingInterval)
    this.#dialler = new Dialler({
      resolve: options.resolver ?? systemResolver,
      timeout: this.limits.dialTimeout,
      signal: this.#aborted.signal,
      ...(options.tellClient === undefined ? {} : { tellClient: options.tellClient }),
      ...(options.readMode === undefined ? {} : { readMode: options.readMode }),
    })
    this.#service = new SessionService({
      rulesOf: (principal) => this.#rulesOf(principal),
      targets,
      dialler: this.#dialler,
      limits: this.limits,
      resumeFor: options.resumeFor ?? PARAMETERS.resume_for,
      route: options.route ?? randomBytes(6).toString('base64url'),
      elsewhereUntil: performance.now() + (options.elsewhereFor ?? 0),
      still: (principal) => this.#still(principal),
      events: this.#serviceEvents(),
    })
    this.#carriers = new HttpCarriers(this.limits.connections, (carrier, principal, route, { request }) => {
      const client = this.#clientOf(request)
      this.#service.accept(carrier, { principal, from: textOf(client), client }, route)
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
    return this.#live.size + this.#service.streams
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
    const verdict = this.#verdict(request)
    if (verdict === undefined) {
      const answer = this.#ownPage(request)
      if (answer !== undefined) respondRaw(socket, answer)
      return answer !== undefined
    }
    if ('status' in verdict) {
      this.#refused(request, verdict)
      respondRaw(socket, plainText(verdict.status, verdict.message, verdict.fields))
    } else {
      this.#admit(verdict, socket as Socket, head, this.#clientOf(request))
    }
    return true
  }

  /** Takes a `request` event; false, with nothing done, if the path is none of the tunnel's. */
  handleRequest(request: IncomingMessage, response: ServerResponse): boolean {
    const verdict = this.#limited(request, decideHttp(request, this.#gate))
    if (verdict !== undefined && 'kind' in verdict) {
      const exchange = exchangeOf(request, response, verdict.origin)
      this.#carriers.handle(verdict.asked, verdict.principal, exchange)
      return true
    }
    const answer =
      verdict === undefined ? (this.#ownPage(request) ?? this.#answerTunnel(request)) : this.#refuse(request, verdict)
    if (answer === undefined) return false
    respond(request, response, answer)
    return true
  }

  /**
   * Asks again who may be in (`Auth.still`) and what they may do (`Auth.rules`), and ends at once what is not allowed any more:
   * call it when either has changed.
   *
   * @returns how many sessions, WebSockets, streams and listeners were ended
   */
  recheck(): number {
    let ended = this.#service.revoke() + this.#service.recheck()
    for (const [live, principal] of this.#live) {
      if (this.#still(principal)) {
        ended += live.recheck(this.#rulesOf(principal).policy)
        continue
      }
      // Not a closing handshake: until its end a peer that does not answer could go on sending.
      live.ws.fail(new SluiceError('ERR_SLUICE_POLICY', 'POLICY', { closeCode: CloseCode.policy }))
      ended++
    }
    return ended
  }

  /**
   * From now on these are the rules of all who have none of their own; `recheck` ends what they forbid.
   *
   * @throws SluiceError `ERR_SLUICE_USAGE` for a rule that cannot be read; then nothing has changed
   */
  replaceRules(rules: Pick<TunnelOptions, 'allow' | 'allowReverse'>): void {
    this.#rules = readRules(rules, this.#gate.targets)
  }

  #rulesOf(principal: Principal): Rules {
    return { ...this.#rules, ...this.#options.auth.rules?.(principal) }
  }

  #still(principal: Principal): boolean {
    return this.#options.auth.still?.(principal) ?? true
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
        for (const live of this.#live.keys()) live.shutDown()
        this.#service.end('the server is shutting down')
        if (!(await within(idle, 2_000))) for (const live of this.#live.keys()) live.ws.destroy()
      }
    }
    this.#service.end('the server is shutting down')
  }

  #verdict(request: IncomingMessage): Admitted | HttpRefusal | undefined {
    return this.#limited(request, decide(request, this.#gate))
  }

  /** What is not admitted because there is too much of it, or because the server is about to end. */
  #limited<T extends Admitted | AdmittedHttp>(
    request: IncomingMessage,
    verdict: T | HttpRefusal | undefined,
  ): T | HttpRefusal | undefined {
    if (verdict === undefined || goesOn(verdict)) return verdict
    const retry = [['Retry-After', '1']] as const
    // Sessions that live on here may come back while the server drains.
    if (this.#draining && !joins(verdict)) return refusal(503, 'the server is shutting down', retry)
    if (!this.#rate.take(this.#clientOf(request).host, performance.now())) {
      return refusal(429, 'too many handshakes from this address', retry)
    }
    if ('status' in verdict || this.#live.size < this.limits.connections) return verdict
    return refusal(503, 'the server carries as many connections as it may', retry)
  }

  #ownPage(request: IncomingMessage): Answer | undefined {
    const path = (request.url ?? '').split('?')[0]
    const { prefix } = this.#gate
    const isHealth = path === `${prefix}/healthz`
    if (!isHealth && path !== `${prefix}/` && (path !== prefix || prefix === '')) return undefined
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return plainText(405, 'only GET is answered here', [['Allow', 'GET, HEAD']])
    if (isHealth) return this.#draining ? plainText(503, 'draining') : plainText(200, 'ok')
    const csp = [['Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'"]] as const
    return {
      status: 200,
      fields: csp,
      type: 'text/html; charset=utf-8',
      body: homePage(prefix, this.#options.version ?? ''),
    }
  }

  #answerTunnel(request: IncomingMessage): Answer | undefined {
    const verdict = this.#verdict(request)
    if (verdict === undefined) return undefined
    // Not an upgrade event, so the handshake check has refused it; `Admitted` cannot be.
    const refused = 'status' in verdict ? verdict : refusal(426, 'an upgrade is needed', [['Upgrade', 'websocket']])
    return this.#refuse(request, refused)
  }

  #refuse(request: IncomingMessage, refused: HttpRefusal): Answer {
    const { status, message, fields } = refused
    if (status !== 426 && status !== 204) this.#refused(request, refused)
    return plainText(status, message, fields)
  }

  #refused(request: IncomingMessage, { status, message }: HttpRefusal): void {
    this.#options.onEvent?.({ type: 'refused', from: textOf(this.#clientOf(request)), status, message })
  }

  #clientOf({ socket }: IncomingMessage): HostPort {
    return this.#options.clientOf?.(socket) ?? { host: socket.remoteAddress ?? 'unix', port: socket.remotePort ?? 0 }
  }

  #admit(admitted: Admitted, socket: Socket, head: Buffer, client: HostPort): void {
    if (admitted.kind === 'wisp') return this.#wisp(admitted, socket, head, client)
    if (admitted.kind === 'plain') return void this.#carry(admitted, this.#accept(admitted, socket, head), client)
    const ws = this.#accept(admitted, socket, head, PARAMETERS.max_message)
    this.#service.accept(
      new WebSocketCarrier(ws),
      { principal: admitted.principal, from: textOf(client), client },
      admitted.route,
    )
    // The 101 and HELLO leave together.
    ws.stream.uncork()
  }

  #wisp(admitted: AdmittedWisp, socket: Socket, head: Buffer, client: HostPort): void {
    const ws = this.#accept(admitted, socket, head, MAX_WISP_MESSAGE)
    const about = (target: string) => ({ from: textOf(client), principal: admitted.principal.name, target })
    const emit = (event: TunnelEvent) => this.#options.onEvent?.(event)
    const one = new WispConnection(ws, {
      policy: () => this.#rulesOf(admitted.principal).policy,
      dialler: this.#dialler,
      client,
      streams: this.limits.streams,
      udpIdle: this.limits.udpIdle,
      events: {
        opened: (target, rule) => emit({ type: 'opened', ...about(target), rule }),
        ended: (target, outcome) => emit({ type: 'ended', ...about(target), outcome }),
        failed: (target, code, reason, detail) => emit({ type: 'failed', ...about(target), code, reason, detail }),
        closed: () => {
          this.#heartbeat.forget(ws)
          this.#live.delete(live)
          this.#checkIdle()
        },
      },
    })
    const live = {
      ws,
      shutDown: () => one.shutDown(CloseCode.goingAway, 'server is shutting down'),
      recheck: () => one.recheck(),
    }
    this.#live.set(live, admitted.principal)
    this.#heartbeat.watch(ws)
    one.start()
  }

  /**
   * Answers 101 before the target is dialled: the client may send at once, and a browser can read a close code, but never an
   * HTTP status.
   */
  #accept(admitted: Admitted, socket: Socket, head: Buffer, maxMessage?: number): WebSocketStream {
    socket.setNoDelay(true)
    const stream = SocketStream.from(socket, head, this.#options.readMode)
    if (admitted.kind === 'session') stream.cork()
    stream.write(Buffer.from(formatAccept(admitted.key, admitted.protocol, sha1Base64)))
    return new WebSocketStream(stream, { role: 'server', ...(maxMessage === undefined ? {} : { maxMessage }) })
  }

  async #carry(admitted: AdmittedPlain, ws: WebSocketStream, client: HostPort): Promise<void> {
    const live = new Live(ws)
    this.#live.set(live, admitted.principal)
    this.#heartbeat.watch(live.ws)
    const about = { from: textOf(client), principal: admitted.principal.name, target: admitted.name }
    try {
      const target = await this.#dialler.dial(admitted, this.#rulesOf(admitted.principal).policy, client)
      if (!live.ws.open) {
        target.destroy()
        throw new SluiceError('ERR_SLUICE_CLOSED', 'the WebSocket ended while the target was dialled')
      }
      live.use = useOf(admitted, target.socket.remoteAddress ?? '')
      const verdict = verdictOf(this.#rulesOf(admitted.principal).policy, live.use)
      if (!verdict.allowed) {
        target.destroy()
        throw new SluiceError('ERR_SLUICE_POLICY', 'the rules changed while the target was dialled')
      }
      this.#options.onEvent?.({ type: 'opened', ...about, rule: verdict.why })
      const since = performance.now()
      const outcome = await live.bridge(target, admitted.name)
      this.#options.onEvent?.({ type: 'ended', ...about, outcome: plainOutcome(outcome, performance.now() - since) })
    } catch (error) {
      const { code, reason } = closeFor(error, admitted.name)
      this.#options.onEvent?.({ type: 'failed', ...about, code, reason, detail: messageOf(error) })
      await live.refuse(code, reason)
    } finally {
      this.#heartbeat.forget(live.ws)
      this.#live.delete(live)
      this.#checkIdle()
    }
  }
}

/** A request of a carrier that is there already: it was counted when it began. */
function goesOn(verdict: Admitted | AdmittedHttp | HttpRefusal): boolean {
  return 'kind' in verdict && verdict.kind === 'http' && 'id' in verdict.asked
}

function joins(verdict: Admitted | AdmittedHttp | HttpRefusal): boolean {
  if (!('kind' in verdict)) return false
  if (verdict.kind === 'session') return verdict.route !== undefined
  return verdict.kind === 'http' && 'route' in verdict.asked && verdict.asked.route !== undefined
}

function readRules(
  { allow = [], allowReverse = [] }: Pick<TunnelOptions, 'allow' | 'allowReverse'>,
  targets: ReadonlyMap<string, HostPort>,
): Rules {
  const read = (rule: string | Rule) => (typeof rule === 'string' ? parseRule(rule) : rule)
  // Whoever names targets means these: without a rule, nothing beside them is open.
  const implied = allow.length === 0 ? [...targets.keys()].map((name) => parseRule(`@${name}`)) : []
  return {
    policy: new Policy([...allow.map(read), ...implied]),
    reverse: new ReversePolicy(allowReverse.map((rule) => (typeof rule === 'string' ? parseReverseRule(rule) : rule))),
  }
}

function useOf({ named, name, target }: AdmittedPlain, address: string): Use {
  return named ? { named: name.slice(1) } : { target, protocol: 'tcp', address }
}

function textOf({ host, port }: HostPort): string {
  return `${host}:${port}`
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
