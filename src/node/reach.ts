import net from 'node:net'
import tls from 'node:tls'
import type { ServerUrl } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { TCP_OPTIONS } from './dial.ts'
import { OPEN_TIMEOUT, type OpenOptions, tlsOptions, unreachable } from './open.ts'
import { connectThrough } from './outward.ts'
import { checkPeer } from './tls.ts'
import { letGo, within } from './within.ts'

/**
 * A plain socket to a server, through the proxy if there is one, with TLS if its URL says so, and with its key checked.
 *
 * @param protocol what is asked for by ALPN, and must be agreed to
 * @throws SluiceError `ERR_SLUICE_UNREACHABLE`, `ERR_SLUICE_TIMEOUT`, `ERR_SLUICE_TLS`, and those of the proxy
 */
export async function reachServer(
  url: ServerUrl,
  options: OpenOptions,
  protocol: 'h2' | 'http/1.1',
): Promise<net.Socket> {
  const { timeout = OPEN_TIMEOUT, proxy } = options
  const started = performance.now()
  const to = { host: url.host, port: url.port }
  const under = proxy === undefined ? undefined : await connectThrough(proxy, to, { ...options, timeout })
  const left = Math.max(1, timeout - (performance.now() - started))
  const trust = { ...tlsOptions(url, options), ALPNProtocols: [protocol] }
  const over = under === undefined ? { ...to, ...TCP_OPTIONS } : { socket: under }
  const socket = url.secure ? tls.connect({ ...over, ...trust }) : (under ?? net.connect({ ...to, ...TCP_OPTIONS }))
  return within({ timeout: left, late: () => tooSlow(url, timeout), signal: options.signal }, ({ done, fail }) => {
    const onError = (error: Error) => fail(unreachable(url, error))
    const connected = () => {
      try {
        if (socket instanceof tls.TLSSocket) {
          checkPeer(socket, options)
          if (protocol === 'h2' && socket.alpnProtocol !== 'h2') throw noHttp2(url)
        }
        done(socket)
      } catch (error) {
        onError(error as Error)
      }
    }
    socket.on('error', onError)
    // What came through a proxy was paused; the server says nothing before it is asked.
    if (!url.secure) under?.resume()
    if (!url.secure && !socket.connecting) connected()
    else socket.once(url.secure ? 'secureConnect' : 'connect', connected)
    return (error) => letGo(socket, onError, error)
  })
}

function noHttp2({ authority }: ServerUrl): SluiceError {
  return new SluiceError('ERR_SLUICE_REFUSED', `${authority} has no HTTP/2`, {
    remedy: 'Leave --transport out, or give another.',
  })
}

function tooSlow({ authority }: ServerUrl, timeout: number): SluiceError {
  return new SluiceError('ERR_SLUICE_TIMEOUT', `${authority} does not answer within ${timeout / 1000} s`)
}
