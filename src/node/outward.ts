import { createHash, randomBytes } from 'node:crypto'
import net from 'node:net'
import tls from 'node:tls'
import { formatHostPort, formatProxyUrl, type HostPort, type ProxyUrl, parseIPv4, parseIPv6 } from '../config/index.ts'
import { errnoOf, firstReason, messageOf, SluiceError } from '../errors/index.ts'
import { type Challenge, canDigest, digestAnswer, parseChallenges, Socks5Client } from '../proxy/index.ts'
import { fieldValues, type ResponseHead, ResponseHeadParser } from '../websocket/index.ts'
import { TCP_OPTIONS } from './dial.ts'
import { tlsError } from './tls.ts'

export interface OutwardOptions {
  /** In milliseconds, for the proxy and what is behind it together. */
  readonly timeout: number
  readonly signal?: AbortSignal | undefined
  /** Certificates in PEM that are trusted instead of the system's, for a proxy over TLS. */
  readonly ca?: string | undefined
}

/** How each proxy wanted to be asked last, so that later connections need not be refused first. */
const lastChallenge = new WeakMap<ProxyUrl, Challenge>()

/**
 * A connection to `to` through a proxy: HTTP CONNECT (RFC 9110 §9.3.6) with Basic or Digest where the proxy asks for it, or SOCKS5.
 * Nothing of the other end's has been read. The socket is paused.
 *
 * @throws SluiceError `ERR_SLUICE_PROXY`, `ERR_SLUICE_AUTH`, `ERR_SLUICE_TLS`, `ERR_SLUICE_UNREACHABLE`, `ERR_SLUICE_TIMEOUT`
 */
export async function connectThrough(proxy: ProxyUrl, to: HostPort, options: OutwardOptions): Promise<net.Socket> {
  const limit = performance.now() + options.timeout
  for (let challenge = lastChallenge.get(proxy), tries = 0; ; tries++) {
    const socket = await reach(proxy, { ...options, timeout: Math.max(1, limit - performance.now()) })
    try {
      const left = { ...options, timeout: Math.max(1, limit - performance.now()) }
      if (proxy.kind === 'socks5') await converse(proxy, socket, socksDialogue(proxy, to), left)
      else {
        const head = await converse(proxy, socket, httpDialogue(proxy, to, challenge), left)
        if (head !== undefined) {
          challenge = chooseChallenge(proxy, head, tries)
          socket.destroy()
          continue
        }
        if (challenge !== undefined) lastChallenge.set(proxy, challenge)
      }
      return socket
    } catch (error) {
      socket.destroy()
      throw error
    }
  }
}

/** A connection to the proxy itself. */
function reach(proxy: ProxyUrl, options: OutwardOptions): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const { host, port } = proxy
    const to = { host, port, ...TCP_OPTIONS, allowHalfOpen: true }
    const servername = net.isIP(host) === 0 ? { servername: host } : {}
    const trust = options.ca === undefined ? {} : { ca: options.ca }
    const socket = proxy.secure
      ? tls.connect({ ...to, ...servername, ...trust, ALPNProtocols: ['http/1.1'], minVersion: 'TLSv1.2' })
      : net.connect(to)
    const settle = (act: () => void) => {
      clearTimeout(timer)
      options.signal?.removeEventListener('abort', abort)
      socket.off('error', fail)
      act()
    }
    const refuse = (error: Error) =>
      settle(() => {
        socket.on('error', () => {})
        socket.destroy()
        reject(error)
      })
    const fail = (error: Error) => {
      const cause = firstReason(error)
      if (proxy.secure && tlsError(cause) !== undefined) return refuse(untrusted(proxy, cause))
      const text = `the proxy ${formatProxyUrl(proxy)} cannot be reached: ${messageOf(cause)} (${errnoOf(cause)})`
      refuse(new SluiceError('ERR_SLUICE_UNREACHABLE', text, { cause }))
    }
    const abort = () => refuse(options.signal?.reason as Error)
    const timer = setTimeout(() => refuse(slow(proxy, 'does not answer')), options.timeout)
    if (options.signal?.aborted) return abort()
    options.signal?.addEventListener('abort', abort)
    socket.once('error', fail)
    socket.once(proxy.secure ? 'secureConnect' : 'connect', () => settle(() => resolve(socket)))
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
interface Dialogue<Result> {
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
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(timer)
      options.signal?.removeEventListener('abort', abort)
      socket.pause()
      socket.off('data', onData)
      socket.off('end', onEnd)
      socket.off('error', onError)
      act()
    }
    const fail = (error: Error) =>
      settle(() => {
        socket.on('error', () => {})
        reject(error)
      })
    const lost = (why: string) =>
      new SluiceError('ERR_SLUICE_PROXY', `the proxy ${formatProxyUrl(proxy)} ended the connection: ${why}`)
    const onEnd = () => fail(lost('it closed before its answer was whole'))
    const onError = (error: Error) => fail(lost(messageOf(error)))
    const abort = () => fail(options.signal?.reason as Error)
    const onData = (bytes: Buffer) => {
      try {
        const step = dialogue.push(bytes)
        if (step === undefined) return
        if ('send' in step) return void socket.write(step.send)
        settle(() => {
          if (step.rest.length > 0) socket.unshift(Buffer.from(step.rest))
          resolve(step.result)
        })
      } catch (error) {
        fail(named(proxy, error))
      }
    }
    const timer = setTimeout(() => fail(slow(proxy, 'took the connection, but did not answer')), options.timeout)
    if (options.signal?.aborted) return abort()
    options.signal?.addEventListener('abort', abort)
    socket.on('end', onEnd)
    socket.on('error', onError)
    socket.on('data', onData)
    socket.write(dialogue.first)
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

/** Ends with undefined when connected, and with the head of a 407. */
function httpDialogue(
  proxy: ProxyUrl,
  to: HostPort,
  challenge: Challenge | undefined,
): Dialogue<ResponseHead | undefined> {
  const uri = formatHostPort(to)
  const authorization =
    challenge === undefined || proxy.credentials === undefined
      ? ''
      : `Proxy-Authorization: ${answerTo(challenge, proxy.credentials, uri)}\r\n`
  const parser = new ResponseHeadParser()
  return {
    first: Buffer.from(`CONNECT ${uri} HTTP/1.1\r\nHost: ${uri}\r\n${authorization}\r\n`),
    push: (bytes) => {
      const answer = parser.push(bytes)
      if (answer === undefined) return undefined
      const { status, reason } = answer.head
      const rest = bytes.subarray(answer.used)
      if (status >= 200 && status < 300) return { result: undefined, rest }
      if (status === 407) return { result: answer.head, rest: new Uint8Array(0) }
      throw new SluiceError('ERR_SLUICE_PROXY', `the proxy does not connect to ${uri}: ${status} ${reason}`, {
        remedy:
          status === 403 || status === 405
            ? 'Many proxies let CONNECT through to port 443 only: let the server listen there.'
            : 'Ask whoever runs the proxy, or try another with --proxy.',
      })
    },
  }
}

function answerTo(challenge: Challenge, who: { user: string; password: string }, uri: string): string {
  if (challenge.scheme === 'basic') return `Basic ${Buffer.from(`${who.user}:${who.password}`).toString('base64')}`
  return digestAnswer(
    challenge,
    who,
    { method: 'CONNECT', uri },
    {
      hash: (algorithm, text) => createHash(algorithm).update(text).digest('hex'),
      clientNonce: randomBytes(16).toString('hex'),
    },
  )
}

/** @throws SluiceError `ERR_SLUICE_AUTH`: nobody is known to it, or not in a way that we can answer */
function chooseChallenge(proxy: ProxyUrl, head: ResponseHead, tries: number): Challenge {
  const where = `the proxy ${formatProxyUrl(proxy)}`
  const challenges = parseChallenges(fieldValues(head.fields, 'proxy-authenticate'))
  const offered = [...new Set(challenges.map(({ scheme }) => scheme))].join(', ') || 'no scheme'
  const refuse = (what: string, remedy: string) =>
    new SluiceError('ERR_SLUICE_AUTH', `${where} ${what} (407, it offers: ${offered})`, { remedy, status: 407 })
  if (proxy.credentials === undefined) {
    throw refuse('asks who you are', 'Give --proxy-auth-file FILE with a line USER:PASSWORD.')
  }
  const known = challenges.find(canDigest) ?? challenges.find(({ scheme }) => scheme === 'basic')
  if (known === undefined) {
    throw refuse(
      'asks for what sluice does not speak',
      'Run a helper that does, such as cntlm or px, and give its address to --proxy.',
    )
  }
  // A Digest nonce may be out of date once; twice means that user or password are wrong.
  const stale = known.params.get('stale')?.toLowerCase() === 'true'
  if (tries > 1 || (tries > 0 && !stale)) {
    lastChallenge.delete(proxy)
    throw refuse('does not accept the user and password', 'Look at what --proxy-auth-file or the variable says.')
  }
  return known
}
