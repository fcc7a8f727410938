import { type Carrier, type CarrierEvents, OWNED } from '../link/index.ts'

/** The part of the W3C WebSocket that is used: the browser's, Deno's, Bun's, and Node's from 22 on. */
export type WebSocketLike = Pick<
  WebSocket,
  'binaryType' | 'protocol' | 'send' | 'close' | 'onmessage' | 'onclose' | 'onerror' | 'onopen' | 'readyState'
>

const OPEN = 1

/**
 * An open W3C WebSocket as a {@link Carrier}. It cannot be read slowly and has no acknowledgement of what was sent; neither is
 * needed: the session's credit bounds what comes, and its ACKs say what has arrived.
 */
export class W3cWebSocketCarrier implements Carrier {
  readonly #ws: WebSocketLike
  #events: CarrierEvents | undefined
  #early: Uint8Array[] = []
  #over = false
  #why: string | undefined

  constructor(ws: WebSocketLike) {
    this.#ws = ws
    ws.binaryType = 'arraybuffer'
    ws.onmessage = ({ data }) => this.#message(data)
    ws.onerror = () => {}
    ws.onclose = ({ code, reason }) =>
      this.#closed(reason === '' ? `closed with ${code}` : `closed with ${code}: ${reason}`)
  }

  start(events: CarrierEvents): void {
    this.#events = events
    const early = this.#early
    this.#early = []
    for (const bytes of early) this.#deliver(bytes)
    if (this.#why !== undefined) queueMicrotask(() => events.closed(this.#why!))
  }

  send(head: Uint8Array, headLength: number, body?: Uint8Array): undefined {
    if (this.#over || this.#ws.readyState !== OPEN) return
    const message = new Uint8Array(headLength + (body?.length ?? 0))
    message.set(head.subarray(0, headLength))
    if (body !== undefined) message.set(body, headLength)
    this.#ws.send(message)
  }

  /** Each message is one call of `send`: there is nothing to put together. */
  cork(): void {}
  uncork(): void {}

  close(): void {
    this.#ws.close(1000)
  }

  /** The API has no way to end at once: nothing is delivered any more, and the end is told. */
  destroy(): void {
    this.#ws.close(1000)
    this.#closed('given up')
  }

  #message(data: unknown): void {
    if (this.#over) return
    if (!(data instanceof ArrayBuffer)) {
      this.#ws.close(4003, 'text message: sluice.1 is carried in binary messages')
      return this.#closed('a text message came')
    }
    const bytes = new Uint8Array(data)
    if (this.#events === undefined) this.#early.push(bytes)
    else this.#deliver(bytes)
  }

  #deliver(bytes: Uint8Array): void {
    this.#events!.begin(bytes.length)
    if (bytes.length > 0) this.#events!.part(bytes, OWNED)
    this.#events!.end()
  }

  #closed(why: string): void {
    if (this.#over) return
    this.#over = true
    if (this.#events === undefined) this.#why = why
    else this.#events.closed(why)
  }
}
