import { SluiceError } from '../errors/index.ts'
import type { WebSocketStream } from './websocket.ts'

/** Under the shortest idle limits in common use: nginx, HAProxy and most balancers cut at 50 to 60 s. */
export const PING_INTERVAL = 25_000

/**
 * Pings what is silent and drops what does not answer, for any number of WebSockets on one timer. A WebSocket that was
 * silent for one to two intervals is pinged; one that is silent for another interval after that is dead.
 */
export class Heartbeat {
  readonly #interval: number
  readonly #watched = new Map<WebSocketStream, { asked: boolean }>()
  #timer: NodeJS.Timeout | undefined

  /** @param interval in milliseconds; 0 turns it off */
  constructor(interval: number = PING_INTERVAL) {
    this.#interval = interval
  }

  watch(ws: WebSocketStream): void {
    if (this.#interval === 0) return
    this.#watched.set(ws, { asked: false })
    if (this.#timer === undefined) {
      this.#timer = setInterval(() => this.#sweep(), this.#interval)
      this.#timer.unref()
    }
  }

  forget(ws: WebSocketStream): void {
    this.#watched.delete(ws)
    if (this.#watched.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #sweep(): void {
    for (const [ws, state] of this.#watched) {
      if (ws.takeHeard()) {
        state.asked = false
      } else if (!state.asked) {
        state.asked = true
        ws.ping()
      } else {
        const silence = (2 * this.#interval) / 1000
        ws.destroy(
          new SluiceError('ERR_SLUICE_TIMEOUT', `the other side of the WebSocket has been silent for ${silence} s`),
        )
      }
    }
  }
}
