/** What one address may have waiting; what is beyond is not done. */
const MOST_WAITING = 32

/** Runs a few costly things at once, one of each address, in turns: whoever floods it waits for itself. */
export class FairQueue {
  readonly #atOnce: number
  #running = 0
  /** What waits, by address, in the order of their turns; an address whose thing runs is there too. */
  readonly #waiting = new Map<string, (() => void)[]>()
  readonly #busy = new Set<string>()

  constructor(atOnce: number) {
    this.#atOnce = atOnce
  }

  /** Resolves with undefined, and does not run it, where this address has too many waiting. */
  run<T>(address: string, act: () => Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(address) ?? []
      if (waiting.length >= MOST_WAITING) return resolve(undefined)
      waiting.push(() => {
        act()
          .then(resolve, reject)
          .finally(() => this.#done(address))
      })
      this.#waiting.set(address, waiting)
      this.#next()
    })
  }

  #done(address: string): void {
    this.#running--
    this.#busy.delete(address)
    this.#next()
  }

  #next(): void {
    for (const [address, waiting] of this.#waiting) {
      if (this.#running >= this.#atOnce) return
      if (this.#busy.has(address)) continue
      const act = waiting.shift()!
      // Its next one comes after those of all others.
      this.#waiting.delete(address)
      if (waiting.length > 0) this.#waiting.set(address, waiting)
      this.#running++
      this.#busy.add(address)
      act()
    }
  }
}
