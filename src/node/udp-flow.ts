import type { ClientLink } from '../link/index.ts'
import type { Stream, StreamHandler } from '../session/index.ts'
import type { Target } from '../wire/index.ts'

/** What a flow of datagrams reports. */
export interface UdpFlowEvents {
  datagram(payload: Uint8Array): void
  /** It is over: idle for too long, refused or reset. */
  closed(failure: { readonly code: number; readonly text: string } | undefined): void
}

/** A flow without datagrams for this long ends, in milliseconds; as long as most NATs keep one. */
export const UDP_IDLE = 60_000

/** Datagrams between one sender and one target, as one stream of kind UDP. Nothing of it is queued for long or sent again. */
export class UdpFlow implements StreamHandler {
  readonly #events: UdpFlowEvents
  readonly #link: ClientLink
  readonly #stream: Stream
  #timer: NodeJS.Timeout
  #over = false

  constructor(link: ClientLink, target: Target, events: UdpFlowEvents, idle: number = UDP_IDLE) {
    this.#link = link
    this.#events = events
    this.#stream = link.open(target, this)
    this.#timer = setTimeout(() => this.close(), idle)
    this.#timer.unref()
  }

  /** Sends one; false if it was dropped: too long for the peer, or the flow is over. */
  send(payload: Uint8Array): boolean {
    if (this.#over) return false
    this.#timer.refresh()
    this.#link.touch()
    return this.#stream.sendDatagram(new Uint8Array(payload))
  }

  close(): void {
    if (this.#over) return
    this.#link.touch()
    this.#stream.end()
    this.#end(undefined)
  }

  #end(failure: { readonly code: number; readonly text: string } | undefined): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#timer)
    this.#events.closed(failure)
  }

  datagram(payload: Uint8Array): void {
    if (this.#over) return
    this.#timer.refresh()
    this.#events.datagram(payload)
  }

  data(): void {}

  ended(): void {
    this.#end(undefined)
  }

  failed(code: number, text: string): void {
    this.#end({ code, text })
  }

  reset(code: number, text: string): void {
    this.#end({ code, text })
  }
}
