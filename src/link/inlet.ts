import { MAX_FIRST_MESSAGE, type Memory } from '../session/index.ts'
import type { CarrierEvents } from './carrier.ts'
import type { Pump } from './pump.ts'

/** What an inlet tells before its carrier belongs to a session. */
export interface InletEvents {
  /** The carrier ended before it belonged to a session. */
  closed(why: string): void
  /** A message is longer than one may be before a HELLO. */
  tooBig(length: number): void
}

/**
 * Where a carrier's messages go: whole ones to whoever exchanges HELLOs, as long as that takes, and then part by part to the
 * session.
 */
export class Inlet implements CarrierEvents {
  readonly #events: InletEvents
  #pump: Pump | undefined
  #number = 0
  #kept = new Uint8Array(256)
  #length = 0
  #declared: number | undefined
  #inMessage = false
  #over = false
  /** Whole messages that nobody has asked for yet. */
  #queue: Uint8Array[] = []
  #waiter: ((message: Uint8Array) => void) | undefined
  #most: number = MAX_FIRST_MESSAGE

  constructor(events: InletEvents) {
    this.#events = events
  }

  /** Hands over the next whole message, in memory of its own: at once if it is there, or when it comes. */
  next(take: (message: Uint8Array) => void): void {
    const ready = this.#queue.shift()
    if (ready !== undefined) take(ready)
    else this.#waiter = take
  }

  /** From now on a message may be this long: what comes after a HELLO while a proof is being checked. */
  allow(most: number): void {
    this.#most = most
  }

  /** From now on messages of this carrier go to the session. */
  run(pump: Pump, number: number): void {
    this.#pump = pump
    this.#number = number
    const queue = this.#queue
    this.#queue = []
    for (const message of queue) {
      pump.begin(number, message.length)
      pump.part(number, message, undefined)
      pump.end(number)
    }
    // A message may have come in part.
    if (!this.#inMessage) return
    pump.begin(number, this.#declared)
    pump.part(number, this.#kept.subarray(0, this.#length), undefined)
  }

  begin(declared: number | undefined): void {
    if (this.#pump !== undefined) return this.#pump.begin(this.#number, declared)
    this.#length = 0
    this.#declared = declared
    this.#inMessage = true
    if (declared !== undefined) this.#check(declared)
  }

  part(bytes: Uint8Array, memory: Memory | undefined): void {
    if (this.#pump !== undefined) return this.#pump.part(this.#number, bytes, memory)
    const length = this.#length + bytes.length
    if (this.#over || !this.#check(length)) return
    if (length > this.#kept.length) {
      const grown = new Uint8Array(Math.max(length, this.#kept.length * 2))
      grown.set(this.#kept.subarray(0, this.#length))
      this.#kept = grown
    }
    this.#kept.set(bytes, this.#length)
    this.#length = length
  }

  end(): void {
    if (this.#pump !== undefined) return this.#pump.end(this.#number)
    this.#inMessage = false
    if (this.#over) return
    const message = this.#kept.slice(0, this.#length)
    const waiter = this.#waiter
    this.#waiter = undefined
    if (waiter === undefined) this.#queue.push(message)
    else waiter(message)
  }

  closed(why: string): void {
    this.#over = true
    if (this.#pump !== undefined) this.#pump.lost(this.#number, why)
    else this.#events.closed(why)
  }

  #check(length: number): boolean {
    if (this.#over) return false
    if (length <= this.#most) return true
    this.#over = true
    this.#events.tooBig(length)
    return false
  }
}
