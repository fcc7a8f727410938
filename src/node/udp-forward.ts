import { type Forward, formatEndpoint } from '../config/index.ts'
import { type SessionForwardEvents, wireTarget } from './session-forward.ts'
import type { SessionTunnel } from './session-tunnel.ts'
import { openFailure } from './splice-failure.ts'
import { UDP_IDLE, UdpFlow } from './udp-flow.ts'
import { type UdpEndpoint, UdpPort } from './udp-port.ts'

/** A local UDP port whose datagrams go to one target: one flow for each sender, gone after a minute of silence. */
export class UdpForward extends UdpPort {
  constructor(forward: Forward, tunnel: SessionTunnel, events: SessionForwardEvents, idle: number = UDP_IDLE) {
    const { listen, target } = forward
    const name = formatEndpoint(target)
    super(listen as UdpEndpoint, (_, { datagram, closed }) => {
      const { link } = tunnel
      if (link === undefined || target.kind === 'dynamic') return undefined
      const flow = new UdpFlow(
        link,
        (handler) => link.open(wireTarget(target), handler),
        {
          datagram,
          closed: (failure) => {
            closed(failure)
            if (failure !== undefined) events.failed(name, openFailure(failure.code, failure.text, name))
          },
        },
        idle,
      )
      events.opened?.(name)
      return flow
    })
  }
}
