/** Which bytes of a stream are done, as a contiguous start and islands beyond it. */
export class Ranges {
  /** All bytes before this offset are in. */
  start = 0
  /** Pairs of start and end, in order, apart from each other. */
  #islands: number[] = []

  get empty(): boolean {
    return this.start === 0 && this.#islands.length === 0
  }

  /** @returns how many bytes were not in before */
  add(from: number, to: number): number {
    if (to <= this.start) return 0
    if (from <= this.start && this.#islands.length === 0) {
      const fresh = to - this.start
      this.start = to
      return fresh
    }
    const fresh = this.missing(from, to).reduce((sum, [start, end]) => sum + end - start, 0)
    this.#insert(Math.max(from, this.start), to)
    while (this.#islands.length > 0 && this.#islands[0]! <= this.start) {
      this.start = Math.max(this.start, this.#islands[1]!)
      this.#islands.splice(0, 2)
    }
    return fresh
  }

  #insert(from: number, to: number): void {
    const islands = this.#islands
    let at = 0
    while (at < islands.length && islands[at + 1]! < from) at += 2
    let end = at
    let low = from
    let high = to
    while (end < islands.length && islands[end]! <= to) {
      low = Math.min(low, islands[end]!)
      high = Math.max(high, islands[end + 1]!)
      end += 2
    }
    islands.splice(at, end - at, low, high)
  }

  /** The parts of `from` to `to` that are not in yet. */
  missing(from: number, to: number): [from: number, to: number][] {
    const gaps: [number, number][] = []
    let at = Math.max(from, this.start)
    for (let i = 0; i < this.#islands.length && at < to; i += 2) {
      if (this.#islands[i]! > at) gaps.push([at, Math.min(to, this.#islands[i]!)])
      at = Math.max(at, this.#islands[i + 1]!)
    }
    if (at < to) gaps.push([at, to])
    return gaps
  }
}
