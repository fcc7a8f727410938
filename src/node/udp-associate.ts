import { createSocket, type RemoteInfo } from 'node:dgram'
import type { ClientLink } from '../link/index.ts'
import { type ProxyHandshake, parseSocksDatagram } from '../proxy/index.ts'
import type { SocketStream } from './socket.ts'
import { UdpFlow } from './udp-flow.ts'

/** As many targets as one association may have at once; the oldest makes room. */
const MOST_FLOWS = 256

/**
 * Serves a SOCKS5 UDP association (RFC 1928 §7) until the program's TCP connection ends: a socket on its side, and one flow for
 * each target. Fragments are dropped.
 */
export function associate(local: SocketStream, link: ClientLink, handshake: ProxyHandshake, done: () => void): void {
  const host = local.socket.localAddress ?? '127.0.0.1'
  const peer = local.socket.remoteAddress
  const udp = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  const flows = new Map<string, UdpFlow>()
  let program: RemoteInfo | undefined
  let over = false
  const end = () => {
    if (over) return
    over = true
    udp.close()
    for (const flow of [...flows.values()]) flow.close()
    local.destroy()
    done()
  }
  udp.on('error', end)
  udp.on('message', (message, from) => {
    // Only the program that asked may use it.
    if (from.address !== peer) return
    program = from
    const datagram = parseSocksDatagram(message)
    if (datagram === undefined || datagram.port === 0) return
    const key = `${datagram.host} ${datagram.port}`
    let flow = flows.get(key)
    if (flow === undefined) {
      if (flows.size >= MOST_FLOWS) flows.values().next().value?.close()
      const { header } = datagram
      flow = new UdpFlow(
        link,
        (handler) => link.open({ kind: 'UDP', host: datagram.host, port: datagram.port }, handler),
        {
          datagram: (payload) => {
            if (!over && program !== undefined) {
              udp.send(Buffer.concat([header, payload]), program.port, program.address, () => {})
            }
          },
          closed: () => void flows.delete(key),
        },
      )
      flows.set(key, flow)
    }
    flow.send(datagram.payload)
  })
  udp.bind(0, host, () => {
    const { address, port } = udp.address()
    local.write(Buffer.from(handshake.accepted({ host: address, port })))
  })
  local.start({
    read: () => {},
    ended: end,
    drained: () => {},
    finished: () => {},
    closed: end,
  })
  local.resume()
}
