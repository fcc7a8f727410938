import { join } from 'node:path'
import {
  formatHostPort,
  type HostPort,
  isName,
  isTargetName,
  parseDuration,
  parseHost,
  parseHostPort,
  parseLimit,
  parsePort,
  parseReverseRule,
  parseRule,
} from '../../config/index.ts'
import { SluiceError } from '../../errors/index.ts'
import {
  type Certificate,
  dnsResolver,
  folderSite,
  isLoopback,
  proxySite,
  type SelfSigned,
  type ServerOptions,
  type Site,
  selfSigned,
} from '../../server/index.ts'
import type { Report } from '../report.ts'
import { readText } from '../secrets.ts'
import { stateFolder } from '../status-socket.ts'
import { VERSION } from '../version.ts'
import { Acme } from './acme.ts'
import type { ServeFlags } from './options.ts'

/** What the flags say, as the server takes it. */
export function serverOptions(
  flags: ServeFlags,
  parts: Pick<ServerOptions, 'listen' | 'auth' | 'tls' | 'clientCa' | 'site' | 'onEvent'>,
): ServerOptions {
  return {
    ...parts,
    allow: (flags.allow ?? []).map(parseRule),
    allowReverse: (flags.allowReverse ?? []).map(parseReverseRule),
    targets: new Map((flags.target ?? []).map(parseNamed)),
    ...(flags.proxyProtocolFrom === undefined ? {} : { proxiesFrom: flags.proxyProtocolFrom }),
    tellClient: new Map((flags.sendProxyProtocol ?? []).map(parseTell)),
    prefix: parsePrefix(flags.prefix ?? ''),
    origins: (flags.origin ?? []).map(parseOrigin),
    hosts: (flags.host ?? []).map((host) => parseHost(host, '--host')),
    limits: {
      connections: parseCount(flags.maxConnections, '--max-connections'),
      sockets: parseCount(flags.maxConnections, '--max-connections') + 2_000,
      handshakeTimeout: parseDuration(flags.handshakeTimeout, '--handshake-timeout'),
      dialTimeout: parseDuration(flags.dialTimeout, '--dial-timeout'),
    },
    pingInterval: parseDuration(flags.pingInterval, '--ping-interval'),
    resumeFor: parseDuration(flags.resumeFor, '--resume-for'),
    reusePort: flags.reusePort ?? false,
    // The process that this one replaces may have sessions until its grace time is up.
    elsewhereFor: flags.reusePort ? parseDuration(flags.grace, '--grace') : 0,
    ...(flags.route === undefined ? {} : { route: parseRoute(flags.route) }),
    version: VERSION,
    quotas: (flags.limit ?? []).map(parseLimit),
    trustedProxies: flags.trustedProxy ?? [],
    ...(flags.resolver === undefined ? {} : { resolver: dnsResolver(flags.resolver) }),
  }
}

/** PORT is on loopback, :PORT on every interface. */
export function parseListen(text: string, flag = '--listen'): HostPort {
  if (/^[0-9]+$/.test(text)) return { host: '127.0.0.1', port: parsePort(text, flag, 0) }
  if (text.startsWith(':') || text.startsWith('*:'))
    return { host: '::', port: parsePort(text.slice(text.indexOf(':') + 1), flag, 0) }
  return parseHostPort(text, flag, 0)
}

/** Who gets certificates for us, if somebody is to. */
export function readAcme(flags: ServeFlags, report: Report): Acme | undefined {
  const { acmeDomain: domains, acmeEmail: email, acmeDirectory: directory, acmeFolder, acmeHttp } = flags
  if (domains === undefined) return undefined
  const wrong = domains.find((domain) => !isName(domain) || !domain.includes('.'))
  if (wrong !== undefined) {
    throw new SluiceError(
      'ERR_SLUICE_USAGE',
      `--acme-domain ${JSON.stringify(wrong)} is not a name like tunnel.example`,
    )
  }
  const folder = acmeFolder ?? join(stateFolder(), 'acme')
  const at = acmeHttp === undefined ? undefined : parseListen(acmeHttp, '--acme-http')
  return new Acme({ domains, email, directory, folder, http: at }, report)
}

/** The certificates of the server. */
export async function readTls(
  flags: ServeFlags,
  listen: HostPort,
  acme: Acme | undefined,
): Promise<SelfSigned | readonly Certificate[] | undefined> {
  if (flags.tlsSelfSigned) {
    if (flags.tlsCert !== undefined)
      throw new SluiceError('ERR_SLUICE_USAGE', '--tls-self-signed and --tls-cert contradict each other')
    return selfSigned([
      'localhost',
      '127.0.0.1',
      '::1',
      ...(isLoopback(listen.host) || listen.host === '::' ? [] : [listen.host]),
    ])
  }
  const certificates = readCertificates(flags)
  if (acme !== undefined) {
    if (certificates.length > 0) {
      throw new SluiceError('ERR_SLUICE_USAGE', '--acme-domain and --tls-cert contradict each other', {
        remedy: 'Give one of them.',
      })
    }
    // Until there is one: TLS must be there for the CA to ask over it.
    const { cert, key } = acme.kept ?? (await selfSigned(flags.acmeDomain!))
    return [{ cert, key }]
  }
  if (certificates.length === 0 && flags.clientCa !== undefined) {
    throw new SluiceError('ERR_SLUICE_USAGE', '--client-ca needs TLS', { remedy: 'Give --tls-cert and --tls-key.' })
  }
  return certificates.length === 0 ? undefined : certificates
}

/** The files of --tls-cert and --tls-key, as they are now. */
export function readCertificates({ tlsCert = [], tlsKey = [] }: ServeFlags): readonly Certificate[] {
  if (tlsCert.length !== tlsKey.length) {
    throw new SluiceError('ERR_SLUICE_USAGE', '--tls-cert and --tls-key go together', {
      remedy: 'Give both files, as often as there are certificates.',
    })
  }
  return tlsCert.map((file, index) => ({
    cert: readText(file, '--tls-cert'),
    key: readText(tlsKey[index]!, '--tls-key'),
  }))
}

function parseNamed(text: string): [string, HostPort] {
  const [name, address, ...more] = text.split('=')
  if (!isTargetName(name!) || address === undefined || more.length > 0) {
    throw new SluiceError('ERR_SLUICE_USAGE', `--target ${JSON.stringify(text)} is not NAME=HOST:PORT`, {
      remedy: 'Write it like web=10.0.0.5:80.',
    })
  }
  return [name!, parseHostPort(address, `--target ${text}`)]
}

function parseTell(text: string): [string, 1 | 2] {
  const match = /^(.*)=v([12])$/.exec(text)
  if (match === null) {
    throw new SluiceError(
      'ERR_SLUICE_USAGE',
      `--send-proxy-protocol ${JSON.stringify(text)} is not HOST:PORT=v1 or =v2`,
      {
        remedy: 'Write it like db.corp:5432=v2.',
      },
    )
  }
  return [formatHostPort(parseHostPort(match[1]!, '--send-proxy-protocol')), match[2] === '1' ? 1 : 2]
}

export function parsePrefix(text: string): string {
  const prefix = text.replace(/\/+$/, '')
  if (prefix !== '' && !/^(\/[A-Za-z0-9._~-]+)+$/.test(prefix)) {
    throw new SluiceError('ERR_SLUICE_USAGE', `--prefix ${JSON.stringify(text)} is not a path like /tunnel`)
  }
  return prefix
}

function parseRoute(text: string): string {
  if (/^[A-Za-z0-9._~-]{1,64}$/.test(text)) return text
  throw new SluiceError('ERR_SLUICE_USAGE', `--route ${JSON.stringify(text)} is not 1 to 64 of A-Z a-z 0-9 . _ ~ -`)
}

function parseOrigin(text: string): string {
  if (text === '*' || /^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+$/i.test(text)) return text
  throw new SluiceError(
    'ERR_SLUICE_USAGE',
    `--origin ${JSON.stringify(text)} is not an origin like https://app.example, without a path`,
  )
}

function parseCount(text: string, flag: string): number {
  if (!/^[1-9][0-9]{0,6}$/.test(text))
    throw new SluiceError('ERR_SLUICE_USAGE', `${flag} ${JSON.stringify(text)} is not a number from 1 to 9999999`)
  return Number(text)
}

/** What strangers are shown. */
export async function readSite({ site }: ServeFlags): Promise<Site | undefined> {
  if (site === undefined) return undefined
  if (!/^https?:/i.test(site)) return folderSite(site)
  if (!URL.canParse(site) || new URL(site).pathname !== '/') {
    throw new SluiceError('ERR_SLUICE_USAGE', `--site ${JSON.stringify(site)} is not the URL of a web server`, {
      remedy: 'Write it like http://127.0.0.1:8080, without a path.',
    })
  }
  return proxySite(new URL(site))
}
