import { errnoOf, SluiceError } from '../errors/index.ts'
import { Bridge, type BridgeOutcome, type ByteStream, type SpliceOutcome, type WebSocketStream } from '../node/index.ts'
import { CloseCode } from '../websocket/index.ts'
import type { Policy } from './policy/policy.ts'
import { allows, type Use } from './policy/rules.ts'

/** How a connection ended, in whichever mode it was carried. */
export interface ConnectionOutcome {
  /** From its opening, in milliseconds. */
  readonly duration: number
  readonly bytesUp: number
  readonly bytesDown: number
  /** In a word or two: `1000`, `reset by the target`. */
  readonly how: string
}

export function plainOutcome(
  { bytesUp, bytesDown, close, error, tcpError }: BridgeOutcome,
  duration: number,
): ConnectionOutcome {
  const why = tcpError ?? error
  return { duration, bytesUp, bytesDown, how: why === undefined ? `${close.code}` : `${close.code}: ${why.message}` }
}

export function streamOutcome({ sent, received, error }: SpliceOutcome, duration: number): ConnectionOutcome {
  const how =
    error === undefined
      ? 'both ends'
      : error.from === 'here'
        ? `ended here: ${error.text}`
        : error.from === 'tcp'
          ? `reset by the target${error.error === undefined ? '' : `: ${error.error.message}`}`
          : `reset by the client: ${error.code} ${error.text}`.trim()
  return { duration, bytesUp: received, bytesDown: sent, how }
}

/** One accepted WebSocket, from its 101 to its end. */
export class Live {
  readonly ws: WebSocketStream
  #bridge: Bridge | undefined
  /** What it is connected to. */
  use: Use | undefined

  constructor(ws: WebSocketStream) {
    this.ws = ws
  }

  bridge(target: ByteStream, name: string): Promise<BridgeOutcome> {
    return new Promise((done) => {
      this.#bridge = new Bridge(this.ws, target, { role: 'server', name, done }).start()
    })
  }

  /** Sends a Close frame for a target that could not be dialled, and waits for the end. */
  refuse(code: number, reason: string): Promise<void> {
    return new Promise((resolve) => {
      this.ws.start({
        payload: () => {},
        closeReceived: (info) => this.ws.close(info.code),
        drained: () => {},
        closed: () => resolve(),
      })
      this.ws.close(code, reason)
    })
  }

  /** Ends at once if what it leads to is not allowed any more; returns how many were ended. */
  recheck(policy: Policy): number {
    if (this.use === undefined || allows(policy, this.use)) return 0
    this.forbid()
    return 1
  }

  forbid(): void {
    forbid(this.ws)
  }

  shutDown(): void {
    this.#bridge?.shutDown(CloseCode.goingAway, 'server is shutting down')
  }
}

/** Ends a WebSocket that is not allowed any more: not by a closing handshake, until whose end a peer could go on sending. */
export function forbid(ws: WebSocketStream): void {
  ws.fail(new SluiceError('ERR_SLUICE_POLICY', 'POLICY', { closeCode: CloseCode.policy }))
}

/** Close code and reason for a target that could not be dialled; the reason names what the peer asked for, no more. */
export function closeFor(error: unknown, name: string): { code: number; reason: string } {
  if (error instanceof SluiceError) {
    if (error.code === 'ERR_SLUICE_POLICY') return { code: CloseCode.policy, reason: 'POLICY' }
    if (error.code === 'ERR_SLUICE_CLOSED') return { code: CloseCode.goingAway, reason: error.message }
    if (error.code === 'ERR_SLUICE_TIMEOUT') return { code: CloseCode.internal, reason: `ETIMEDOUT ${name}` }
  }
  return { code: CloseCode.internal, reason: `${errnoOf(error)} ${name}` }
}
