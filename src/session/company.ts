/** For so long after streams that send little have sent beside bulk, it leaves them room, in milliseconds. */
const LASTS = 2_000
/** It takes so many times within that: a few words that begin a transfer are no keystrokes, and would slow it down. */
const TIMES = 3
/** What is sent within so many milliseconds is one. */
const APART = 5

/** Whether bulk is in the company of streams that send little, so that queues must be short (spec §12). */
export class Company {
  /** The last times, the oldest first. */
  readonly #times: number[] = []
  #until = 0

  /** Something of such a stream is sent beside bulk. */
  note(now: number): void {
    const times = this.#times
    if (times.length > 0 && now - times.at(-1)! < APART) return
    times.push(now)
    if (times.length > TIMES) times.shift()
    if (times.length === TIMES && now - times[0]! < LASTS) this.#until = now + LASTS
  }

  has(now: number): boolean {
    return now < this.#until
  }
}
