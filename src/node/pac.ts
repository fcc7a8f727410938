import { readFile } from 'node:fs/promises'
import net from 'node:net'
import { formatHostPort, formatProxyUrl, type HostPort, type ProxyUrl, parseProxyUrl } from '../config/index.ts'
import { messageOf, SluiceError } from '../errors/index.ts'
import { TCP_OPTIONS } from './dial.ts'
import type { OutwardOptions } from './outward.ts'
import { letGo, within } from './within.ts'

/** What a file says is asked for again after so many milliseconds: laptops move. */
const FRESH = 60_000
/** A file is no longer than this, in bytes, and takes no longer than this to answer, in milliseconds, nor more memory, in bytes. */
const LONGEST = 1024 * 1024
const LONGEST_RUN = 2_000
const MOST_MEMORY = 64 * 1024 * 1024

type Find = (url: string) => Promise<string>

interface Script {
  readonly at: number
  readonly find: Promise<Find>
  /** The proxies that it has named, each one object: what is known of a proxy is kept by it. */
  readonly named: Map<string, ProxyUrl>
}

const scripts = new WeakMap<ProxyUrl, Script>()

/**
 * A connection as a PAC file says: through the first of the proxies it names that answers, or directly.
 *
 * @param through connects through a proxy
 * @throws SluiceError `ERR_SLUICE_PROXY` of the file, and what `through` throws for the last that it names
 */
export async function connectByPac(
  pac: ProxyUrl,
  to: HostPort,
  options: OutwardOptions,
  through: (proxy: ProxyUrl) => Promise<net.Socket>,
): Promise<net.Socket> {
  const { find, named } = scriptOf(pac)
  let answer: string
  try {
    answer = await (await find)(`https://${formatHostPort(to)}/`)
  } catch (cause) {
    scripts.delete(pac)
    if (cause instanceof SluiceError) throw cause
    throw broken(pac, `it fails: ${messageOf(cause)}`, cause)
  }
  let last: unknown
  for (const choice of answer.split(';').map((text) => text.trim())) {
    if (choice === '') continue
    try {
      const proxy = proxyOf(choice, pac, named)
      if (proxy === undefined) continue
      return await (proxy === 'direct' ? direct(to, options) : through(proxy))
    } catch (error) {
      last = error
    }
  }
  throw last ?? broken(pac, `it names no proxy that sluice can use: ${JSON.stringify(answer.slice(0, 100))}`)
}

function scriptOf(pac: ProxyUrl): Script {
  const known = scripts.get(pac)
  if (known !== undefined && performance.now() - known.at < FRESH) return known
  const script = { at: performance.now(), find: load(pac), named: known?.named ?? new Map<string, ProxyUrl>() }
  script.find.catch(() => {})
  scripts.set(pac, script)
  return script
}

async function load(pac: ProxyUrl): Promise<Find> {
  const { createPacResolver, QuickJS } = await libraries()
  const text = await read(pac)
  if (text.length > LONGEST) throw broken(pac, `it is longer than ${LONGEST} bytes`)
  let end = Number.POSITIVE_INFINITY
  const machine = await QuickJS.create({ memoryLimit: MOST_MEMORY, interruptHandler: () => performance.now() > end })
  const find = createPacResolver(machine, text)
  return (url) => {
    end = performance.now() + LONGEST_RUN
    return find(url)
  }
}

async function read(pac: ProxyUrl): Promise<string> {
  const { place } = pac
  try {
    if (place?.startsWith('file:')) return await readFile(new URL(place), 'utf8')
    const answer = await fetch(place!, { signal: AbortSignal.timeout(LONGEST_RUN * 2) })
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`)
    return await answer.text()
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    throw broken(pac, `it cannot be had: ${messageOf(cause)}`, cause)
  }
}

/** `PROXY host:port` and the like; undefined for what we do not speak. */
function proxyOf(choice: string, pac: ProxyUrl, named: Map<string, ProxyUrl>): ProxyUrl | 'direct' | undefined {
  const [, kind = '', place = ''] = /^(\w+)(?:\s+(\S+))?$/.exec(choice) ?? []
  if (kind.toUpperCase() === 'DIRECT') return 'direct'
  const scheme = SCHEMES[kind.toUpperCase()]
  if (scheme === undefined || place === '') return undefined
  const text = `${scheme}://${place}`
  const known = named.get(text)
  if (known !== undefined) return known
  const { credentials, authCommand } = pac
  const command = authCommand === undefined || scheme === 'socks5' ? {} : { authCommand }
  const proxy = { ...parseProxyUrl(text, `the PAC file at ${pac.place}`), credentials, ...command }
  named.set(text, proxy)
  return proxy
}

const SCHEMES: Readonly<Record<string, string>> = {
  PROXY: 'http',
  HTTP: 'http',
  HTTPS: 'https',
  SOCKS: 'socks5',
  SOCKS5: 'socks5',
}

function direct(to: HostPort, options: OutwardOptions): Promise<net.Socket> {
  const late = () => new SluiceError('ERR_SLUICE_TIMEOUT', `${formatHostPort(to)} does not answer in time`)
  return within({ timeout: options.timeout, late, signal: options.signal }, ({ done, fail }) => {
    const socket = net.connect({ ...to, ...TCP_OPTIONS, allowHalfOpen: true })
    socket.once('error', fail)
    socket.once('connect', () => {
      socket.pause()
      done(socket)
    })
    return (error) => letGo(socket, fail, error)
  })
}

function broken(pac: ProxyUrl, why: string, cause?: unknown): SluiceError {
  return new SluiceError('ERR_SLUICE_PROXY', `the PAC file at ${formatProxyUrl(pac)}: ${why}`, {
    cause,
    remedy: 'Look whether a browser can use it; --proxy with the proxy itself, or none, does without.',
  })
}

async function libraries(): Promise<{
  createPacResolver: typeof import('pac-resolver').createPacResolver
  QuickJS: typeof import('quickjs-wasi').QuickJS
}> {
  try {
    const [{ createPacResolver }, { QuickJS }] = await Promise.all([import('pac-resolver'), import('quickjs-wasi')])
    return { createPacResolver, QuickJS }
  } catch (cause) {
    throw new SluiceError('ERR_SLUICE_CONFIG', 'a PAC file needs the packages pac-resolver and quickjs-wasi', {
      cause,
      remedy:
        'npm install pac-resolver quickjs-wasi (with -g where sluice was installed so), or name the proxy itself.',
    })
  }
}
