import { lookup } from 'node:dns/promises'
import net from 'node:net'
import tls from 'node:tls'
import { formatHostPort, formatProxyUrl, type ServerUrl } from '../../config/index.ts'
import { errnoOf, messageOf, SluiceError } from '../../errors/index.ts'
import { OPEN_TIMEOUT } from '../open.ts'
import { connectThrough } from '../outward.ts'
import { checkPin, pinOf, tlsError } from '../tls.ts'
import type { TunnelClientOptions } from '../tunnel-client.ts'
import type { Found } from './found.ts'

export async function checkName({ host }: ServerUrl): Promise<Found> {
  try {
    const addresses = (await lookup(host, { all: true })).map(({ address }) => address)
    return { text: `${host} is ${addresses.join(', ')}`, facts: { addresses } }
  } catch (cause) {
    throw new SluiceError('ERR_SLUICE_UNREACHABLE', `the name ${host} cannot be resolved (${errnoOf(cause)})`, {
      cause,
      remedy: 'Is it spelt right? If only a proxy resolves names here, give --proxy.',
    })
  }
}

/** Tries every address, so that one that never answers is seen. */
export async function checkTcp({ host, port }: ServerUrl, options: TunnelClientOptions): Promise<Found> {
  const addresses = net.isIP(host) === 0 ? await lookup(host, { all: true }) : [{ address: host }]
  const limit = options.timeout ?? OPEN_TIMEOUT
  const results = await Promise.all(addresses.map(({ address }) => connectOnce({ host: address, port }, limit)))
  const answered = results.filter((result) => typeof result === 'number')
  const places = addresses.map(({ address }) => formatHostPort({ host: address, port }))
  const failures = results.flatMap((result, index) =>
    typeof result === 'number' ? [] : [`${places[index]}: ${result}`],
  )
  if (answered.length === 0) {
    throw new SluiceError('ERR_SLUICE_UNREACHABLE', `nothing answers: ${failures.join('; ')}`, {
      remedy: `Is the server running, and does the firewall let this port out? ${port === 443 ? '' : 'Many let 443 out and little else: let the server listen there. '}If only a proxy is let out, give --proxy.`,
    })
  }
  const fastest = Math.min(...answered)
  return {
    text: `${places[results.indexOf(fastest)]} answers in ${fastest.toFixed(1)} ms`,
    warnings: failures.map((failure) => `${failure}; other addresses answer, so that this one only costs time`),
    facts: { connectTime: fastest, failures },
    obstacle: failures.length > 0 ? 'dead-address' : undefined,
  }
}

/** How long it took, in milliseconds, or why it failed. */
function connectOnce(to: { host: string; port: number }, limit: number): Promise<number | string> {
  return new Promise((resolve) => {
    const started = performance.now()
    const socket = net.connect(to)
    const done = (result: number | string) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(result)
    }
    const timer = setTimeout(() => done(`no answer within ${limit / 1000} s: dropped on the way`), limit)
    socket.on('error', (error) => done(errnoOf(error)))
    socket.once('connect', () => done(performance.now() - started))
  })
}

export async function checkProxy(options: TunnelClientOptions): Promise<Found> {
  const { url, proxy, timeout = OPEN_TIMEOUT } = options
  const socket = await connectThrough(proxy!, { host: url.host, port: url.port }, { ...options, timeout })
  socket.destroy()
  return {
    text: `${formatProxyUrl(proxy!)} connects to ${url.host}:${url.port}`,
    facts: { proxy: formatProxyUrl(proxy!) },
  }
}

/** Shakes hands whatever the certificate, to be able to say whose it is; nothing is sent over this connection. */
export async function checkTls(options: TunnelClientOptions): Promise<Found> {
  const { url, proxy, timeout = OPEN_TIMEOUT } = options
  const to = { host: url.host, port: url.port }
  const under = proxy === undefined ? to : { socket: await connectThrough(proxy, to, { ...options, timeout }) }
  const servername = net.isIP(url.host) === 0 ? { servername: url.host } : {}
  const trust = options.ca === undefined ? {} : { ca: options.ca }
  const socket = await new Promise<tls.TLSSocket>((resolve, reject) => {
    const shaking = tls.connect({
      ...under,
      ...servername,
      ...trust,
      ALPNProtocols: ['http/1.1'],
      minVersion: 'TLSv1.2',
      rejectUnauthorized: false,
    })
    const timer = setTimeout(() => shaking.destroy(slowTls(url, timeout)), timeout)
    shaking.once('close', () => clearTimeout(timer))
    shaking.once('error', (error: NodeJS.ErrnoException) => reject(tlsError(error) ?? lostTls(url, error)))
    shaking.once('secureConnect', () => resolve(shaking))
  })
  try {
    const certificate = socket.getPeerX509Certificate()
    const issuer = certificate?.issuer.split('\n').join(', ') ?? 'nobody'
    const facts = {
      protocol: socket.getProtocol(),
      issuer,
      validTo: certificate?.validTo,
      pin: certificate === undefined ? undefined : pinOf(certificate),
    }
    if (options.pin !== undefined) checkPin(certificate, options.pin)
    else if (!socket.authorized) throw untrusted(socket.authorizationError, issuer)
    const how = options.pin === undefined ? `signed by ${issuer}, until ${certificate?.validTo}` : 'the pinned key'
    return { text: `${socket.getProtocol()}, ${how}`, facts }
  } finally {
    socket.destroy()
  }
}

function slowTls({ authority }: ServerUrl, timeout: number): SluiceError {
  return new SluiceError(
    'ERR_SLUICE_TIMEOUT',
    `${authority} accepted the connection, but no TLS within ${timeout / 1000} s`,
  )
}

function lostTls({ authority }: ServerUrl, error: Error): Error {
  if (error instanceof SluiceError) return error
  return new SluiceError('ERR_SLUICE_UNREACHABLE', `${authority} ended the TLS handshake: ${messageOf(error)}`, {
    cause: error,
    remedy: 'Something on the way may look at the name that is asked for, or allow no TLS of its own.',
  })
}

function untrusted(reason: Error | string, issuer: string): SluiceError {
  const code = typeof reason === 'string' ? reason : errnoOf(reason)
  return new SluiceError('ERR_SLUICE_TLS', `the certificate is not trusted (${code}): it is signed by ${issuer}`, {
    remedy:
      'If that is your own CA, give --ca FILE; if the server made it itself, --pin as it printed it; if neither, somebody is in the middle.',
  })
}
