import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Stream } from '../session/index.ts'
import { ResetCode } from '../wire/index.ts'

/** What a relay reports at its end. */
export interface UdpRelayOutcome {
  readonly sent: number
  readonly received: number
}

/** Datagrams to and from one address, until it is closed or has been silent for so long. */
export class UdpTarget {
  readonly #socket: Socket
  readonly #timer: NodeJS.Timeout
  #open = true

  private constructor(socket: Socket, idle: number, onMessage: (message: Uint8Array) => void, onIdle: () => void) {
    this.#socket = socket
    this.#timer = setTimeout(() => {
      this.close()
      onIdle()
    }, idle).unref()
    // ICMP says that nothing listens: the next datagram may find something there.
    socket.on('error', () => {})
    socket.on('message', (message) => {
      this.#timer.refresh()
      onMessage(new Uint8Array(message))
    })
  }

  /**
   * A socket of its own, so that only answers of that address come in.
   *
   * @param idle milliseconds of silence after which it closes itself and calls `onIdle`
   * @throws the system's error if there is no way to the address
   */
  static open(
    address: string,
    port: number,
    idle: number,
    onMessage: (message: Uint8Array) => void,
    onIdle: () => void,
  ): Promise<UdpTarget> {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
    return new Promise((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close()
        reject(error)
      })
      socket.connect(port, address, () => {
        socket.removeAllListeners('error')
        resolve(new UdpTarget(socket, idle, onMessage, onIdle))
      })
    })
  }

  send(payload: Uint8Array): void {
    if (!this.#open) return
    this.#timer.refresh()
    this.#socket.send(payload, () => {})
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    clearTimeout(this.#timer)
    this.#socket.close()
  }
}

/**
 * Joins a stream of kind UDP to an address; it ends with the stream, or after silence.
 *
 * @param mayMove whether so many bytes may go: what may not is dropped
 * @returns what ends it at once
 * @throws as {@link UdpTarget.open}
 */
export async function relayUdp(
  stream: Stream,
  pump: { touch(): void },
  to: { readonly address: string; readonly port: number; readonly idle: number },
  done: (outcome: UdpRelayOutcome) => void,
  mayMove: (bytes: number) => boolean = () => true,
): Promise<() => void> {
  let [sent, received] = [0, 0]
  let over = false
  const end = () => {
    if (over) return
    over = true
    target.close()
    done({ sent, received })
  }
  const target = await UdpTarget.open(
    to.address,
    to.port,
    to.idle,
    (message) => {
      if (!mayMove(message.length)) return
      sent += message.length
      pump.touch()
      stream.sendDatagram(message)
    },
    () => {
      pump.touch()
      stream.end()
      end()
    },
  )
  stream.start({
    data: () => {},
    datagram: (payload) => {
      if (!mayMove(payload.length)) return
      received += payload.length
      target.send(payload.slice())
    },
    ended: end,
    reset: end,
    closed: end,
  })
  return () => {
    stream.abort(ResetCode.POLICY)
    end()
  }
}
