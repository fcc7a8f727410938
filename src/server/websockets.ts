import type { Socket } from 'node:net'
import type { HostPort } from '../config/index.ts'
import { messageOf, SluiceError } from '../errors/index.ts'
import { type Heartbeat, type ReadMode, SocketStream, sha1Base64, WebSocketStream } from '../node/index.ts'
import { CloseCode, formatAccept } from '../websocket/index.ts'
import type { Principal } from './auth/auth.ts'
import type { Dialler } from './dialler.ts'
import type { TunnelEvent } from './events.ts'
import type { AdmittedPlain, AdmittedWebSocket, AdmittedWisp } from './gate.ts'
import type { Limits } from './limits.ts'
import { closeFor, forbid, Live, plainOutcome } from './live.ts'
import { metered } from './metered.ts'
import { type Rules, type Use, verdictOf } from './policy/rules.ts'
import type { Lease, Quotas } from './quotas.ts'
import { MAX_WISP_MESSAGE, WispConnection } from './wisp/connection.ts'

export interface WebSocketsOptions {
  readonly dialler: Dialler
  readonly heartbeat: Heartbeat
  readonly limits: Limits
  readonly readMode: ReadMode | undefined
  /** What somebody may reach, at the moment of asking. */
  readonly rulesOf: (principal: Principal) => Rules
  readonly still: (principal: Principal) => boolean
  readonly quotas: Quotas
  readonly onEvent: (event: TunnelEvent) => void
  /** One has ended. */
  readonly ended: () => void
}

/** The WebSockets that are no carriers of sessions: each a TCP connection (plain mode), or Wisp. */
export class WebSockets {
  readonly #options: WebSocketsOptions
  readonly #live = new Map<Pick<Live, 'ws' | 'shutDown' | 'recheck'>, Principal>()

  constructor(options: WebSocketsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#live.size
  }

  /**
   * Answers 101 before the target is dialled: the client may send at once, and a browser can read a close code, but never an
   * HTTP status.
   */
  accept(admitted: AdmittedWebSocket, socket: Socket, head: Buffer, maxMessage?: number): WebSocketStream {
    socket.setNoDelay(true)
    const stream = SocketStream.from(socket, head, this.#options.readMode)
    if (admitted.kind === 'session') stream.cork()
    stream.write(Buffer.from(formatAccept(admitted.key, admitted.protocol, sha1Base64)))
    return new WebSocketStream(stream, { role: 'server', ...(maxMessage === undefined ? {} : { maxMessage }) })
  }

  /** Carries one TCP connection. */
  async plain(admitted: AdmittedPlain, socket: Socket, head: Buffer, client: HostPort): Promise<void> {
    const { dialler, heartbeat, onEvent, quotas } = this.#options
    const live = new Live(this.accept(admitted, socket, head))
    this.#live.set(live, admitted.principal)
    heartbeat.watch(live.ws)
    const about = { from: textOf(client), principal: admitted.principal.name, target: admitted.name }
    const policy = () => this.#options.rulesOf(admitted.principal).policy
    let lease: Lease | undefined
    try {
      lease = quotas.stream(admitted.principal, () => live.forbid())
      const target = await dialler.dial(admitted, policy(), client)
      if (!live.ws.open) {
        target.destroy()
        throw new SluiceError('ERR_SLUICE_CLOSED', 'the WebSocket ended while the target was dialled')
      }
      live.use = useOf(admitted, target.socket.remoteAddress ?? '')
      const verdict = verdictOf(policy(), live.use)
      if (!verdict.allowed) {
        target.destroy()
        throw new SluiceError('ERR_SLUICE_POLICY', 'the rules changed while the target was dialled')
      }
      onEvent({ type: 'opened', ...about, rule: verdict.why })
      const since = performance.now()
      const outcome = await live.bridge(metered(target, lease), admitted.name)
      onEvent({ type: 'ended', ...about, outcome: plainOutcome(outcome, performance.now() - since) })
    } catch (error) {
      const { code, reason } = closeFor(error, admitted.name)
      onEvent({ type: 'failed', ...about, code, reason, detail: messageOf(error) })
      await live.refuse(code, reason)
    } finally {
      lease?.release()
      this.#forget(live)
    }
  }

  /** Carries what a Wisp client asks for. */
  wisp(admitted: AdmittedWisp, socket: Socket, head: Buffer, client: HostPort): void {
    const { dialler, heartbeat, limits, onEvent, quotas, rulesOf } = this.#options
    const ws = this.accept(admitted, socket, head, MAX_WISP_MESSAGE)
    const about = (target: string) => ({ from: textOf(client), principal: admitted.principal.name, target })
    let lease: Lease | undefined
    const one = new WispConnection(ws, {
      policy: () => rulesOf(admitted.principal).policy,
      dialler,
      client,
      streams: limits.streams,
      udpIdle: limits.udpIdle,
      lease: (end) => quotas.stream(admitted.principal, end),
      events: {
        opened: (target, rule) => onEvent({ type: 'opened', ...about(target), rule }),
        ended: (target, outcome) => onEvent({ type: 'ended', ...about(target), outcome }),
        failed: (target, code, reason, detail) => onEvent({ type: 'failed', ...about(target), code, reason, detail }),
        closed: () => {
          lease?.release()
          this.#forget(live)
        },
      },
    })
    const live = {
      ws,
      shutDown: () => one.shutDown(CloseCode.goingAway, 'server is shutting down'),
      recheck: () => one.recheck(),
    }
    this.#live.set(live, admitted.principal)
    heartbeat.watch(ws)
    one.start()
    try {
      lease = quotas.session(admitted.principal, () => one.shutDown(CloseCode.policy, 'POLICY'))
    } catch {
      one.shutDown(CloseCode.policy, 'POLICY')
    }
  }

  #forget(live: Pick<Live, 'ws' | 'shutDown' | 'recheck'>): void {
    this.#options.heartbeat.forget(live.ws)
    this.#live.delete(live)
    this.#options.ended()
  }

  /** Ends what is not allowed any more; returns how many. */
  recheck(): number {
    let ended = 0
    for (const [live, principal] of this.#live) {
      if (this.#options.still(principal)) {
        ended += live.recheck(this.#options.rulesOf(principal).policy)
        continue
      }
      forbid(live.ws)
      ended++
    }
    return ended
  }

  /** Ends all in good order. */
  shutDown(): void {
    for (const live of this.#live.keys()) live.shutDown()
  }

  destroy(): void {
    for (const live of this.#live.keys()) live.ws.destroy()
  }
}

function useOf({ named, name, target }: AdmittedPlain, address: string): Use {
  return named ? { named: name.slice(1) } : { target, protocol: 'tcp', address }
}

/** An address as events have it. */
export function textOf({ host, port }: HostPort): string {
  return `${host}:${port}`
}
