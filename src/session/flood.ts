import { CloseReason, Violation } from '../wire/index.ts'

const MOST = 4096
const BYTES_PER_UNIT = 512

/** How many frames that carry nothing a peer may send: a bucket that data and time fill (spec §11). */
export class FloodGuard {
  #units = MOST
  #bytes = 0
  #at: number

  constructor(now: number) {
    this.#at = now
  }

  /** This much stream data was taken or sent. */
  worked(bytes: number): void {
    this.#bytes += bytes
  }

  /** @throws Violation FLOOD */
  spend(frame: string, now: number): void {
    if (--this.#units >= 0) return
    this.#units += Math.floor(this.#bytes / BYTES_PER_UNIT) + Math.floor(now - this.#at) + 1
    this.#units = Math.min(this.#units, MOST) - 1
    this.#bytes = 0
    this.#at = now
    if (this.#units < 0) throw new Violation(CloseReason.FLOOD, `${frame}: more than ${MOST} frames that carry nothing`)
  }
}
