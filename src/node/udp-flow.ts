import type { Stream, StreamHandler } from '../session/index.ts'
import type { Toucher } from './splice.ts'

/** What a flow of datagrams reports. */
export interface UdpFlowEvents {
  datagram(payload: Uint8Array): void
  /** It is over: idle for too long, refused or reset. */
  closed(failure: { readonly code: number; readonly text: string } | undefined): void
}

/** A flow without datagrams for this long ends, in milliseconds; as long as most NATs keep one. */
export const UDP_IDLE = 60_000

/** Datagrams between one sender and the other side, as one stream that carries them. Nothing of it is queued for long or sent again. */
export class UdpFlow implements StreamHandler {
  readonly #events: UdpFlowEvents
  readonly #link: Toucher
  readonly #stream: Stream
  #timer: NodeJS.Timeout
  #over = false
  #sent = 0
  #received = 0

  /** @param open opens its stream */
  constructor(link: Toucher, open: (handler: StreamHandler) => Stream, events: UdpFlowEvents, idle: number = UDP_IDLE) {
    this.#link = link
    this.#events = events
    this.#stream = open(this)
    this.#timer = setTimeout(() => this.close(), idle)
    this.#timer.unref()
  }

  /** Sends one; false if it was dropped: too long for the peer, or the flow is over. */
  send(payload: Uint8Array): boolean {
    if (this.#over) return false
    this.#timer.refresh()
    this.#link.touch()
    this.#sent += payload.length
    return this.#stream.sendDatagram(new Uint8Array(payload))
  }

  /** Bytes sent to the other side, and come from it. */
  get moved(): { readonly sent: number; readonly received: number } {
    return { sent: this.#sent, received: this.#received }
  }

  close(): void {
    if (this.#over) return
    this.#link.touch()
    this.#stream.end()
    this.#end(undefined)
  }

  /** Ends it at once, and says why by this code. */
  abort(code: number): void {
    if (this.#over) return
    this.#link.touch()
    this.#stream.abort(code)
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
    this.#received += payload.length
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
