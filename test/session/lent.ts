import type { Memory } from '#src/session/index.js'

/** Memory that is written over as soon as nobody holds it, as a slab is that is read into again. */
export class Lent implements Memory {
  static left = 0
  readonly bytes: Uint8Array
  #holds = 1

  /** Begins with one hold, its maker's. */
  constructor(bytes: Uint8Array) {
    this.bytes = new Uint8Array(bytes)
    Lent.left++
  }

  hold(): void {
    this.#holds++
  }

  release(): void {
    if (--this.#holds > 0) return
    if (this.#holds < 0) throw new Error('released once too often')
    this.bytes.fill(0xee)
    Lent.left--
  }
}
