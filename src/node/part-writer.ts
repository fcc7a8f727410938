import type { Writable } from 'node:stream'
import type { Memory } from '../session/index.ts'
import { partHead } from '../wire/index.ts'

/** Writes messages of a part into a body that is streamed (spec/http-1.md §1). */
export class PartWriter {
  readonly #to: Writable

  constructor(to: Writable) {
    this.#to = to
  }

  /** As `Carrier.send`. */
  send(head: Uint8Array, headLength: number, body?: Uint8Array, memory?: Memory): undefined {
    if (body === undefined || body.length === 0) {
      this.#to.write(partHead(head, headLength, 0))
      return
    }
    memory?.hold()
    this.#to.cork()
    this.#to.write(partHead(head, headLength, body.length))
    this.#to.write(body, () => memory?.release())
    this.#to.uncork()
  }
}
