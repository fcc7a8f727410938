import type { Carrier, CarrierEvents } from '#src/link/index.js'
import { fromHex, toHex } from '../wire/vectors.js'

/** A carrier whose other end is a script. ACKs are left out of what it sent. */
export class ScriptedCarrier implements Carrier {
  events: CarrierEvents | undefined
  readonly sent: string[] = []
  closed = false

  start(events: CarrierEvents): void {
    this.events = events
  }

  send(head: Uint8Array, headLength: number, body?: Uint8Array): undefined {
    const hex = toHex(head.subarray(0, headLength)) + (body === undefined ? '' : toHex(body))
    if (!hex.startsWith('0b')) this.sent.push(hex)
  }

  receive(hex: string): void {
    const bytes = fromHex(hex)
    this.events!.begin(bytes.length)
    this.events!.part(bytes, undefined)
    this.events!.end()
  }

  cork(): void {}
  uncork(): void {}
  close(): void {
    this.closed = true
  }
  destroy(): void {
    this.closed = true
  }
}
