import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { errnoOf } from '../errors/index.ts'
import type { Stream } from '../session/index.ts'

/** What a relay reports at its end. */
export interface UdpRelayOutcome {
  readonly sent: number
  readonly received: number
}

/**
 * Datagrams between a stream of kind UDP and one address. A socket of its own, so that only answers of that address come in.
 * It ends when the stream does, or after this much silence.
 *
 * @throws the system's error if there is no way to the address
 */
export function relayUdp(
  stream: Stream,
  pump: { touch(): void },
  address: string,
  port: number,
  idle: number,
  done: (outcome: UdpRelayOutcome) => void,
): Promise<void> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
  let [sent, received] = [0, 0]
  let over = false
  const end = () => {
    if (over) return
    over = true
    clearTimeout(timer)
    socket.close()
    done({ sent, received })
  }
  const timer = setTimeout(() => {
    pump.touch()
    stream.end()
    end()
  }, idle)
  timer.unref()
  return new Promise((resolve, reject) => {
    socket.once('error', (error) => {
      over = true
      clearTimeout(timer)
      socket.close()
      reject(error)
    })
    socket.connect(port, address, () => {
      socket.removeAllListeners('error')
      // ICMP says that nothing listens: the next datagram may find something there.
      socket.on('error', (error) => void errnoOf(error))
      socket.on('message', (message) => {
        timer.refresh()
        sent += message.length
        pump.touch()
        stream.sendDatagram(new Uint8Array(message))
      })
      stream.start({
        data: () => {},
        datagram: (payload) => {
          timer.refresh()
          received += payload.length
          if (!over) socket.send(new Uint8Array(payload), () => {})
        },
        ended: end,
        reset: end,
        closed: end,
      })
      resolve()
    })
  })
}
