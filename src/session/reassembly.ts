import type { Memory } from './memory.ts'

interface Kept {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly memory: Memory | undefined
}

/** Below this size what is kept is copied: it would pin much more than itself. */
const COPY_BELOW = 64 * 1024

/** Bytes that came before those in front of them, in order; bounded by the credit that was given. */
export class Reassembly {
  #kept: Kept[] = []
  /** Bytes kept. */
  size = 0

  get empty(): boolean {
    return this.#kept.length === 0
  }

  /** Keeps bytes from `offset` on; parts that are here already are dropped. */
  insert(offset: number, bytes: Uint8Array, memory: Memory | undefined): void {
    let at = offset
    let rest = bytes
    let index = this.#kept.findIndex((kept) => kept.offset + kept.bytes.length > offset)
    if (index < 0) index = this.#kept.length
    while (rest.length > 0) {
      const next = this.#kept[index]
      if (next !== undefined && next.offset <= at) {
        const skip = Math.min(rest.length, next.offset + next.bytes.length - at)
        at += skip
        rest = rest.subarray(skip)
        index++
      } else {
        const room = next === undefined ? rest.length : Math.min(rest.length, next.offset - at)
        this.#keep(index++, at, rest.subarray(0, room), memory)
        at += room
        rest = rest.subarray(room)
      }
    }
  }

  #keep(index: number, offset: number, bytes: Uint8Array, memory: Memory | undefined): void {
    const copy = memory === undefined || bytes.length < COPY_BELOW
    if (!copy) memory.hold()
    this.#kept.splice(index, 0, {
      offset,
      bytes: copy ? new Uint8Array(bytes) : bytes,
      memory: copy ? undefined : memory,
    })
    this.size += bytes.length
  }

  /** Takes what stands at `offset`, if it is here; the hold on the memory goes with it. */
  take(offset: number): { bytes: Uint8Array; memory: Memory | undefined } | undefined {
    for (let first = this.#kept[0]; first !== undefined && first.offset <= offset; first = this.#kept[0]) {
      this.#kept.shift()
      this.size -= first.bytes.length
      const skip = offset - first.offset
      if (skip < first.bytes.length) return { bytes: first.bytes.subarray(skip), memory: first.memory }
      first.memory?.release()
    }
    return undefined
  }

  drop(): void {
    for (const { memory } of this.#kept) memory?.release()
    this.#kept = []
    this.size = 0
  }
}
