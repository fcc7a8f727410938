import { SluiceError } from '../errors/index.ts'
import type { Carrier, CarrierEvents } from '../link/index.ts'
import type { Changes, Memory } from '../session/index.ts'
import { CloseCode, Opcode } from '../websocket/index.ts'
import type { WebSocketStream } from './websocket.ts'

/** The subprotocol of a session (spec/sluice-1.md §3). */
export const SESSION_PROTOCOL = 'sluice.1'

/** A WebSocket on a socket as a {@link Carrier}. */
export class WebSocketCarrier implements Carrier {
  readonly #ws: WebSocketStream

  constructor(ws: WebSocketStream) {
    this.#ws = ws
  }

  start(events: CarrierEvents): void {
    this.#ws.start({
      messageStart: (opcode, declared) => {
        if (opcode === Opcode.text) this.#ws.fail(textMessage())
        else events.begin(declared)
      },
      payload: (bytes, slab) => events.part(bytes, slab),
      messageEnd: () => events.end(),
      closeReceived: (info) => this.#ws.close(info.code === CloseCode.none ? CloseCode.normal : info.code),
      drained: () => {},
      closed: ({ code, reason }, error) => {
        const said = reason === '' ? `closed with ${code}` : `closed with ${code}: ${reason}`
        events.closed(error?.message ?? said)
      },
    })
  }

  send(
    head: Uint8Array,
    headLength: number,
    body?: Uint8Array,
    memory?: Memory,
    changes?: Changes,
  ): number | undefined {
    return this.#ws.sendParts(head, headLength, body, memory, changes)
  }

  cork(): void {
    this.#ws.stream.cork()
  }

  uncork(): void {
    this.#ws.stream.uncork()
  }

  close(): void {
    this.#ws.close(CloseCode.normal)
  }

  destroy(): void {
    this.#ws.destroy()
  }
}

function textMessage(): SluiceError {
  return new SluiceError('ERR_SLUICE_UNSUPPORTED', 'text message: sluice.1 is carried in binary messages', {
    closeCode: CloseCode.unsupported,
  })
}
