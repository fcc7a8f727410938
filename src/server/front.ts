import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { HostPort } from '../config/index.ts'
import type { Principal } from './auth/auth.ts'
import { TICKET_LIFE } from './auth/tickets.ts'
import { forwardedFor } from './client-address.ts'
import { Failures } from './failures.ts'
import {
  type Admitted,
  type AdmittedHttp,
  type AdmittedWebSocket,
  decide,
  type GateOptions,
  type HttpRefusal,
  originFields,
  refusal,
} from './gate.ts'
import type { Exchange } from './http/carrier.ts'
import { exchangeOf } from './http/exchange.ts'
import { type Limits, RateLimit } from './limits.ts'
import type { Networks } from './networks.ts'
import { homePage } from './page.ts'
import { type Answer, plainText, respond, respondRaw } from './respond.ts'
import type { Site } from './site.ts'
import { textOf } from './websockets.ts'

export interface FrontOptions extends Omit<GateOptions, 'clientOf'> {
  readonly limits: Limits
  readonly draining: () => boolean
  /** Whether as many WebSockets are there as may be. */
  readonly full: () => boolean
  readonly version: string
  readonly proxiedClientOf: ((socket: Socket) => HostPort | undefined) | undefined
  readonly trustedProxies: Networks
  readonly site: Site | undefined
  readonly admit: (admitted: AdmittedWebSocket, socket: Socket, head: Buffer, client: HostPort) => void
  readonly carry: (admitted: AdmittedHttp, exchange: Exchange) => void
  readonly ticket: (principal: Principal) => string
  readonly refused: (from: string, status: number, message: string) => void
}

/** The face that the tunnel shows over HTTP: asks the gate, and hands over what it admits; what it does not is answered here. */
export class Front {
  readonly #options: FrontOptions
  readonly #gate: GateOptions
  readonly #rate: RateLimit
  readonly #failures: Failures

  constructor(options: FrontOptions) {
    this.#options = options
    this.#gate = { ...options, clientOf: (request) => this.clientOf(request) }
    this.#failures = new Failures(options.limits.freeFailures)
    this.#rate = new RateLimit(options.limits.handshakesPerSecond, options.limits.handshakeBurst)
  }

  /** See Tunnel. */
  handleUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): boolean {
    const { site, admit } = this.#options
    const decision = decide(request, this.#gate)
    if (decision === undefined) {
      if (site !== undefined) showRaw(site, request, socket)
      else {
        const page = this.#ownPage(request)
        if (page === undefined) return false
        respondRaw(socket, page)
      }
      return true
    }
    // Until it is known who asks, what goes wrong with the socket is nobody else's to hear.
    const onError = () => socket.destroy()
    socket.on('error', onError)
    this.#settle(request, decision, (verdict) => {
      if (socket.destroyed) return
      socket.off('error', onError)
      if ('status' in verdict) {
        if (verdict.stranger && site !== undefined) return showRaw(site, request, socket)
        return respondRaw(socket, this.#refuse(request, verdict))
      }
      if (verdict.kind === 'http' || verdict.kind === 'ticket') {
        return respondRaw(socket, this.#refuse(request, refusal(400, 'there is nothing to upgrade to here')))
      }
      admit(verdict, socket, head, this.clientOf(request))
    })
    return true
  }

  /** See Tunnel. */
  handleRequest(request: IncomingMessage, response: ServerResponse): boolean {
    const { site, carry } = this.#options
    const decision = decide(request, this.#gate)
    if (decision === undefined) {
      if (site !== undefined) site.show(request, response)
      else {
        const page = this.#ownPage(request)
        if (page === undefined) return false
        respond(request, response, page)
      }
      return true
    }
    this.#settle(request, decision, (verdict) => {
      if (response.destroyed) return
      if ('kind' in verdict && verdict.kind === 'http')
        return carry(verdict, exchangeOf(request, response, verdict.origin))
      if ('status' in verdict && verdict.stranger && site !== undefined) return site.show(request, response)
      respond(request, response, this.#answer(request, verdict))
    })
    return true
  }

  /** Whose a request is, as far as a proxy that is trusted says so. */
  clientOf({ socket, headers }: IncomingMessage): HostPort {
    const { proxiedClientOf, trustedProxies } = this.#options
    const peer = proxiedClientOf?.(socket) ?? { host: socket.remoteAddress ?? 'unix', port: socket.remotePort ?? 0 }
    return forwardedFor(peer, headers['x-forwarded-for'], trustedProxies)
  }

  /** Goes on with what comes of it: at once where that is known, as it is for tokens. */
  #settle(
    request: IncomingMessage,
    decision: NonNullable<ReturnType<typeof decide>>,
    next: (verdict: Admitted | HttpRefusal) => void,
  ): void {
    const decided = (verdict: Admitted | HttpRefusal) => {
      if ('status' in verdict && verdict.status === 401 && this.#options.site === undefined) {
        return void this.#punish(request, verdict).then(next)
      }
      next(this.#limited(request, verdict))
    }
    if (decision instanceof Promise) void decision.then(decided)
    else decided(decision)
  }

  /** Wrong credentials: the more come from an address, the longer it waits. */
  async #punish(request: IncomingMessage, verdict: HttpRefusal): Promise<HttpRefusal> {
    const delay = this.#failures.count(this.clientOf(request).host, performance.now())
    if (delay !== 'refused' && (await this.#failures.wait(delay))) return verdict
    return refusal(429, 'too many wrong credentials from this address', [['Retry-After', '60']])
  }

  /** What is not admitted because there is too much of it, or because the server is about to end. */
  #limited(request: IncomingMessage, verdict: Admitted | HttpRefusal): Admitted | HttpRefusal {
    if (goesOn(verdict)) return verdict
    const { draining, full, site } = this.#options
    if ('status' in verdict && verdict.stranger && site !== undefined) return verdict
    const retry = [['Retry-After', '1']] as const
    // Sessions that live on here may come back while the server drains.
    if (draining() && !joins(verdict)) return refusal(503, 'the server is shutting down', retry)
    if (!this.#rate.take(this.clientOf(request).host, performance.now())) {
      return refusal(429, 'too many handshakes from this address', retry)
    }
    if ('status' in verdict || !full()) return verdict
    return refusal(503, 'the server carries as many connections as it may', retry)
  }

  #answer(request: IncomingMessage, verdict: Exclude<Admitted, AdmittedHttp> | HttpRefusal): Answer {
    if ('status' in verdict) return this.#refuse(request, verdict)
    if (verdict.kind !== 'ticket') {
      // Not an upgrade event: the check of the handshake has refused all but what node takes for none.
      return this.#refuse(request, refusal(426, 'an upgrade is needed', [['Upgrade', 'websocket']]))
    }
    const ticket = this.#options.ticket(verdict.principal)
    return {
      status: 200,
      fields: originFields(verdict.origin),
      type: 'application/json',
      body: `${JSON.stringify({ ticket, seconds: TICKET_LIFE / 1000 })}\n`,
    }
  }

  #refuse(request: IncomingMessage, { status, message, detail, fields }: HttpRefusal): Answer {
    if (status !== 426 && status !== 204)
      this.#options.refused(textOf(this.clientOf(request)), status, detail ?? message)
    return plainText(status, message, fields)
  }

  #ownPage(request: IncomingMessage): Answer | undefined {
    const path = (request.url ?? '').split('?')[0]
    const { prefix, draining, version } = this.#options
    const isHealth = path === `${prefix}/healthz`
    if (!isHealth && path !== `${prefix}/` && (path !== prefix || prefix === '')) return undefined
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return plainText(405, 'only GET is answered here', [['Allow', 'GET, HEAD']])
    if (isHealth) return draining() ? plainText(503, 'draining') : plainText(200, 'ok')
    const csp = [['Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'"]] as const
    return { status: 200, fields: csp, type: 'text/html; charset=utf-8', body: homePage(prefix, version) }
  }
}

/** As a web server that knows no upgrade does: the request is answered like any other. */
function showRaw(site: Site, request: IncomingMessage, socket: Socket): void {
  socket.on('error', () => socket.destroy())
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.once('finish', () => {
    response.detachSocket(socket)
    socket.end()
  })
  socket.resume()
  site.show(request, response)
}

/** A request of a carrier that is there already: it was counted when it began. */
function goesOn(verdict: Admitted | HttpRefusal): boolean {
  return 'kind' in verdict && verdict.kind === 'http' && 'id' in verdict.asked
}

function joins(verdict: Admitted | HttpRefusal): boolean {
  if (!('kind' in verdict)) return false
  if (verdict.kind === 'session') return verdict.route !== undefined
  return verdict.kind === 'http' && 'route' in verdict.asked && verdict.asked.route !== undefined
}
