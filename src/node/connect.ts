import { Tunnel, type TunnelEvents, watchLink } from '../client/index.ts'
import { formatHostPort, parseServerUrl } from '../config/index.ts'
import { TunnelDuplex } from './duplex.ts'
import { nodeHost } from './host.ts'
import type { OpenOptions } from './open.ts'
import { clientLink } from './tunnel-client.ts'

/** As for a browser, and what Node can do beyond: headers, a CA, a pin. */
export interface NodeConnectOptions extends OpenOptions, TunnelEvents {}

/** Where `createConnection` goes, as `net.connect` has it. */
export interface ConnectionTarget {
  readonly host: string
  readonly port: number
}

/** A tunnel whose connections can also be had as streams of Node. */
export class NodeTunnel extends Tunnel {
  /**
   * A connection with the face of `net.Socket`.
   *
   * @example
   * const client = new pg.Client({ stream: () => tunnel.createConnection({ host: 'db', port: 5432 }) })
   */
  createConnection({ host, port }: ConnectionTarget): TunnelDuplex {
    return new TunnelDuplex(this.link, { kind: 'TCP', host, port }, formatHostPort({ host, port }))
  }
}

/**
 * Opens a session with a sluice server. The same as `connect` of `sluice`, on `node:net` and `node:tls`.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`, `ERR_SLUICE_UNREACHABLE`, `ERR_SLUICE_TIMEOUT`, `ERR_SLUICE_TLS`, `ERR_SLUICE_AUTH`,
 * `ERR_SLUICE_POLICY`, `ERR_SLUICE_REFUSED`, `ERR_SLUICE_PROTOCOL`
 */
export async function connect(url: string | URL, options: NodeConnectOptions = {}): Promise<NodeTunnel> {
  const { closed, events } = watchLink(options)
  const link = clientLink({ ...options, url: parseServerUrl(String(url)), events })
  const tunnel = new NodeTunnel(link, nodeHost, closed)
  await link.connect()
  return tunnel
}
