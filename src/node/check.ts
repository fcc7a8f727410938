import { lookup } from 'node:dns/promises'
import net from 'node:net'
import tls from 'node:tls'
import {
  formatHostPort,
  formatProxyUrl,
  formatServerUrl,
  type ServerUrl,
  type Target,
  targetPath,
} from '../config/index.ts'
import { errnoOf, messageOf, SluiceError } from '../errors/index.ts'
import { WAYS, type Way } from '../link/index.ts'
import { fieldValues, type HeaderFields } from '../websocket/index.ts'
import { checkSession, checkTarget, type Found, WAY_NAMES } from './check-session.ts'
import { OPEN_TIMEOUT, probe } from './open.ts'
import { connectThrough } from './outward.ts'
import { checkPin, pinOf, tlsError } from './tls.ts'
import { type TunnelClientOptions, waysTo } from './tunnel-client.ts'

export type CheckName = 'name' | 'proxy' | 'tcp' | 'tls' | 'http' | Way | 'target'

/** One thing that was looked at on the way to a server. */
export interface CheckStep {
  readonly name: CheckName
  readonly ok: boolean
  /** How long it took, in milliseconds. */
  readonly took: number
  /** What was found, for people. */
  readonly text: string
  /** What is odd although it works. */
  readonly warnings: readonly string[]
  /** Why it failed, with the remedy. */
  readonly error?: SluiceError
  readonly facts: Readonly<Record<string, unknown>>
}

/** A clock that is off by more than this makes certificates and tokens look expired. */
const CLOCK_OFF = 60_000

/**
 * Looks at everything between here and a server, from the name to a session, one step after another. Ends with the first that
 * fails, except that the kinds of carriers are tried until one gets through.
 *
 * @param target a target to connect to through the session, to see whether the server lets us
 */
export async function* checkServer(options: TunnelClientOptions, target?: Target): AsyncGenerator<CheckStep> {
  const { url, proxy, transport = 'auto' } = options
  const steps: [CheckName, () => Promise<Found>][] = [['http', () => checkHttp(options)]]
  if (url.secure) steps.unshift(['tls', () => checkTls(options)])
  if (proxy !== undefined) steps.unshift(['proxy', () => checkProxy(options)])
  else {
    steps.unshift(['tcp', () => checkTcp(url, options)])
    if (net.isIP(url.host) === 0) steps.unshift(['name', () => checkName(url)])
  }
  for (const [name, act] of steps) {
    const step = await look(name, act)
    yield step
    if (!step.ok) return
  }
  let works: Way | undefined
  for (const way of transport === 'auto' ? waysTo(url) : [transport]) {
    const step = await look(way, () => checkSession(options, way))
    yield step
    if (step.ok) works = way
    if (step.ok || step.error?.code === 'ERR_SLUICE_AUTH') break
  }
  if (target === undefined || works === undefined) return
  yield await look('target', () => checkTarget({ ...options, transport: works }, target))
}

async function look(name: CheckName, act: () => Promise<Found>): Promise<CheckStep> {
  const started = performance.now()
  try {
    const { text, warnings = [], facts = {} } = await act()
    return { name, ok: true, took: performance.now() - started, text, warnings, facts }
  } catch (cause) {
    const error =
      cause instanceof SluiceError ? cause : new SluiceError('ERR_SLUICE_UNREACHABLE', messageOf(cause), { cause })
    const [took, text, facts] = [performance.now() - started, messageOf(error), { code: error.code }]
    return { name, ok: false, took, text, warnings: [], error, facts }
  }
}

async function checkName({ host }: ServerUrl): Promise<Found> {
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
async function checkTcp({ host, port }: ServerUrl, options: TunnelClientOptions): Promise<Found> {
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
      remedy:
        'Is the server running, and does the firewall let this port out? If only a proxy is let out, give --proxy.',
    })
  }
  const fastest = Math.min(...answered)
  return {
    text: `${places[results.indexOf(fastest)]} answers in ${fastest.toFixed(1)} ms`,
    warnings: failures.map((failure) => `${failure}; other addresses answer, so that this one only costs time`),
    facts: { connectTime: fastest, failures },
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

async function checkProxy(options: TunnelClientOptions): Promise<Found> {
  const { url, proxy, timeout = OPEN_TIMEOUT } = options
  const socket = await connectThrough(proxy!, { host: url.host, port: url.port }, { ...options, timeout })
  socket.destroy()
  return {
    text: `${formatProxyUrl(proxy!)} connects to ${url.host}:${url.port}`,
    facts: { proxy: formatProxyUrl(proxy!) },
  }
}

/** Shakes hands whatever the certificate, to be able to say whose it is; nothing is sent over this connection. */
async function checkTls(options: TunnelClientOptions): Promise<Found> {
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

/** What answers HTTP there. A sluice server says 426 to what it would let in, 403 with the reason to what it would not, and 401. */
async function checkHttp(options: TunnelClientOptions): Promise<Found> {
  const { url } = options
  const sent = Date.now()
  const asked = { host: '127.0.0.1', port: 9 }
  const { status, reason, fields, reasonLine } = await probe(url, targetPath(url, asked), options)
  const first = (name: string) => fieldValues(fields, name)[0]
  const server = first('server')
  const date = first('date')
  const facts = {
    status,
    server,
    via: first('via'),
    clockOffset: date === undefined ? undefined : Date.parse(date) - sent,
  }
  const who = server === undefined ? '' : ` (${server})`
  if (status === 401) {
    throw new SluiceError('ERR_SLUICE_AUTH', `the server does not accept the credentials: 401${who}`, {
      status,
      remedy: 'Give the token with --token-file FILE or in SLUICE_TOKEN.',
    })
  }
  if (status !== 426 && status !== 403) throw notSluice(url, status, reason, fields)
  const warnings =
    facts.clockOffset !== undefined && Math.abs(facts.clockOffset) > CLOCK_OFF
      ? [`the clocks differ by ${Math.round(facts.clockOffset / 1000)} s: certificates and tokens may look expired`]
      : []
  // Others say 403 too: only the reason tells that a rule said no, after the credentials were accepted.
  const known = status === 426 || reasonLine === `${formatHostPort(asked)} is not allowed`
  const text = known
    ? `sluice answers, and accepts the credentials${who}`
    : `the answer is 403${reasonLine === undefined ? '' : `: ${reasonLine}`}${who}; whether it is sluice's, the next step tells`
  return { text, warnings, facts }
}

function notSluice(url: ServerUrl, status: number, reason: string, fields: HeaderFields): SluiceError {
  const answer = `${status}${reason === '' ? '' : ` ${reason}`}`
  const front =
    fieldValues(fields, 'cf-ray').length > 0 ? 'Cloudflare' : (fieldValues(fields, 'server')[0] ?? 'a web server')
  if (status === 502 || status === 503 || status === 504) {
    return new SluiceError('ERR_SLUICE_UNREACHABLE', `${front} is there, but not the sluice behind it: ${answer}`, {
      status,
      remedy: 'Is sluice serve running, and at the address that the reverse proxy has for it?',
    })
  }
  const redirect = fieldValues(fields, 'location')[0]
  const remedy =
    redirect === undefined
      ? `Is ${url.prefix === '' ? 'a path missing in the URL' : `the path ${url.prefix}`} the one that leads to sluice, with all below it?`
      : `It points to ${redirect}: use that, or it is the sign-in page of a network that lets nothing through yet.`
  return new SluiceError('ERR_SLUICE_REFUSED', `${front} answers ${answer}, which sluice would not`, { status, remedy })
}

/** All in a sentence, once every step is known. */
export function verdictOf({ url, proxy }: TunnelClientOptions, steps: readonly CheckStep[]): string {
  const where = `${formatServerUrl(url)}${proxy === undefined ? '' : ` through ${formatProxyUrl(proxy)}`}`
  const last = steps.at(-1)!
  if (!last.ok) return `${where} does not work: ${isWay(last.name) ? NOTHING_THROUGH : OBSTACLES[last.name]}`
  const command = `sluice connect ${formatServerUrl(url)} -L PORT:HOST:PORT`
  const way = steps.find((step): step is CheckStep & { name: Way } => step.ok && isWay(step.name))?.name
  if (way === undefined || way === 'websocket') return `${where} works: ${command}`
  const detour = steps.some(({ name, ok }) => name === 'websocket' && !ok)
  return `${where} works${detour ? ', though not over WebSocket' : ''}: ${command} ${detour ? 'finds its way by itself, and goes' : 'goes'} ${WAY_NAMES[way]}`
}

function isWay(name: CheckName): name is Way {
  return WAYS.includes(name as Way)
}

const NOTHING_THROUGH = 'plain HTTP gets through, and neither WebSocket nor requests that carry a session do'
const OBSTACLES: Readonly<Record<Exclude<CheckName, Way>, string>> = {
  name: 'its name is not known here',
  proxy: 'the proxy is in the way',
  tcp: 'it cannot be reached',
  tls: 'TLS is in the way',
  http: 'what answers there is not a sluice that lets us in',
  target: 'the server is fine, the target is not',
}
