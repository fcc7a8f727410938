import net from 'node:net'
import tls from 'node:tls'
import { formatProxyUrl, type HostPort, type ProxyUrl, parseIPv4, parseIPv6 } from '../config/index.ts'
import { errnoOf, firstReason, messageOf, SluiceError } from '../errors/index.ts'
import { Socks5Client } from '../proxy/index.ts'
import { TCP_OPTIONS } from './dial.ts'
import { connectByPac } from './pac.ts'
import { askerFor } from './proxy-auth.ts'
import { connectDialogue } from './proxy-connect.ts'
import { tlsError } from './tls.ts'
import { letGo, within } from './within.ts'

export interface OutwardOptions {
  /** In milliseconds, for the proxy and what is behind it together. */
  readonly timeout: number
  readonly signal?: AbortSignal | undefined
  /** Certificates in PEM that are trusted instead of the system's, for a proxy over TLS. */
  readonly ca?: string | undefined
}

/**
 * A connection to `to` through a proxy: HTTP CONNECT (RFC 9110 §9.3.6) with Basic or Digest where the proxy asks for it, or SOCKS5.
 * Nothing of the other end's has been read. The socket is paused.
 *
 * @throws SluiceError `ERR_SLUICE_PROXY`, `ERR_SLUICE_AUTH`, `ERR_SLUICE_TLS`, `ERR_SLUICE_UNREACHABLE`, `ERR_SLUICE_TIMEOUT`
 */
export async function connectThrough(proxy: ProxyUrl, to: HostPort, options: OutwardOptions): Promise<net.Socket> {
  const limit = performance.now() + options.timeout
  const left = () => ({ ...options, timeout: Math.max(1, limit - performance.now()) })
  if (proxy.kind === 'pac') {
    const by = (named: ProxyUrl) => connectThrough(named, to, left())
    return connectByPac(proxy, to, left(), by)
  }
  const asker = proxy.kind === 'http' ? askerFor(proxy, to) : undefined
  let socket: net.Socket | undefined
  try {
    for (;;) {
      socket ??= await reach(proxy, left())
      if (asker === undefined) {
        await converse(proxy, socket, socksDialogue(proxy, to), left())
        return socket
      }
      const answer = await converse(proxy, socket, connectDialogue(to, await asker.authorization()), left())
      if (answer === undefined) {
        asker.accepted()
        return socket
      }
      await asker.refused(answer.head)
      if (answer.goesOn) continue
      socket.destroy()
      socket = undefined
    }
  } catch (error) {
    socket?.destroy()
    throw error
  } finally {
    asker?.end()
  }
}

/** A connection to the proxy itself. */
function reach(proxy: ProxyUrl, options: OutwardOptions): Promise<net.Socket> {
  const { host, port } = proxy
  const to = { host, port, ...TCP_OPTIONS, allowHalfOpen: true }
  const servername = net.isIP(host) === 0 ? { servername: host } : {}
  const trust = options.ca === undefined ? {} : { ca: options.ca }
  const late = () => slow(proxy, 'does not answer')
  return within({ timeout: options.timeout, late, signal: options.signal }, ({ done, fail }) => {
    const socket = proxy.secure
      ? tls.connect({ ...to, ...servername, ...trust, ALPNProtocols: ['http/1.1'], minVersion: 'TLSv1.2' })
      : net.connect(to)
    const onError = (error: Error) => {
      const cause = firstReason(error)
      if (proxy.secure && tlsError(cause) !== undefined) return fail(untrusted(proxy, cause))
      const text = `the proxy ${formatProxyUrl(proxy)} cannot be reached: ${messageOf(cause)} (${errnoOf(cause)})`
      fail(new SluiceError('ERR_SLUICE_UNREACHABLE', text, { cause }))
    }
    socket.once('error', onError)
    socket.once(proxy.secure ? 'secureConnect' : 'connect', () => done(socket))
    return (error) => letGo(socket, onError, error)
  })
}

function untrusted(proxy: ProxyUrl, cause: Error): SluiceError {
  const text = `the certificate of the proxy ${formatProxyUrl(proxy)} is not trusted: ${messageOf(cause)} (${errnoOf(cause)})`
  return new SluiceError('ERR_SLUICE_TLS', text, {
    cause,
    remedy: 'For a private certificate give --ca FILE; if the proxy has no TLS, write http://.',
  })
}

function slow(proxy: ProxyUrl, what: string): SluiceError {
  return new SluiceError('ERR_SLUICE_TIMEOUT', `the proxy ${formatProxyUrl(proxy)} ${what} in time`)
}

/** What is said to a proxy: first words, then an answer to what it says, until it has said enough. */
export interface Dialogue<Result> {
  readonly first: Uint8Array
  push(bytes: Uint8Array): { send: Uint8Array } | { result: Result; rest: Uint8Array } | undefined
}

/** Runs a dialogue on a socket, and leaves the socket paused and without listeners of ours. */
function converse<Result>(
  proxy: ProxyUrl,
  socket: net.Socket,
  dialogue: Dialogue<Result>,
  options: OutwardOptions,
): Promise<Result> {
  const late = () => slow(proxy, 'took the connection, but did not answer')
  return within({ timeout: options.timeout, late, signal: options.signal }, ({ done, fail }) => {
    let early: Buffer | undefined
    const lost = (why: string) =>
      fail(new SluiceError('ERR_SLUICE_PROXY', `the proxy ${formatProxyUrl(proxy)} ended the connection: ${why}`))
    const onEnd = () => lost('it closed before its answer was whole')
    const onError = (error: Error) => lost(messageOf(error))
    const onData = (bytes: Buffer) => {
      try {
        const step = dialogue.push(bytes)
        if (step === undefined) return
        if ('send' in step) return void socket.write(step.send)
        early = Buffer.from(step.rest)
        done(step.result)
      } catch (error) {
        fail(named(proxy, error))
      }
    }
    socket.on('end', onEnd)
    socket.on('error', onError)
    socket.on('data', onData)
    socket.resume()
    socket.write(dialogue.first)
    return (error) => {
      socket.pause()
      socket.off('data', onData)
      socket.off('end', onEnd)
      socket.off('error', onError)
      if (error !== undefined) socket.on('error', () => {})
      else if (early !== undefined && early.length > 0) socket.unshift(early)
    }
  })
}

/** The same error, saying which proxy it is about. */
function named(proxy: ProxyUrl, error: unknown): Error {
  if (!(error instanceof SluiceError)) return error as Error
  const message = error.message.replace(/^the proxy\b/, `the proxy ${formatProxyUrl(proxy)}`)
  const text = message === error.message ? `the proxy ${formatProxyUrl(proxy)}: ${message}` : message
  const code = error.code === 'ERR_SLUICE_HANDSHAKE' ? 'ERR_SLUICE_PROXY' : error.code
  return new SluiceError(code, text, error.remedy === undefined ? {} : { remedy: error.remedy })
}

function socksDialogue(proxy: ProxyUrl, to: HostPort): Dialogue<void> {
  const address = parseIPv4(to.host) ?? parseIPv6(to.host)
  const client = new Socks5Client({ ...to, address }, proxy.credentials)
  return {
    first: client.greeting,
    push: (bytes) => {
      const step = client.push(bytes)
      return step === undefined || 'send' in step ? step : { result: undefined, rest: step.rest }
    },
  }
}
