/** The stream ids of one opener that have been seen: a floor below which all are, and those above it (spec §6). */
export class SeenIds {
  #floor: number
  readonly #above = new Set<number>()

  /** @param first 0 for the client's ids, 1 for the server's */
  constructor(first: number) {
    this.#floor = first
  }

  has(id: number): boolean {
    return id < this.#floor || this.#above.has(id)
  }

  add(id: number): void {
    this.#above.add(id)
    while (this.#above.delete(this.#floor)) this.#floor += 2
  }

  /** How many ids above the floor are remembered. */
  get size(): number {
    return this.#above.size
  }
}
