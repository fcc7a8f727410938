import { randomBytes } from 'node:crypto'
import { Command, Option } from 'commander'
import {
  formatHostPort,
  type HostPort,
  isTargetName,
  parseDuration,
  parseHost,
  parseHostPort,
  parsePort,
  parseReverseRule,
  parseRule,
  parseTokenFile,
  type TokenEntry,
} from '../../config/index.ts'
import { SluiceError } from '../../errors/index.ts'
import {
  type Auth,
  isLoopback,
  NoAuth,
  type SelfSigned,
  Server,
  type ServerOptions,
  selfSigned,
  TokenAuth,
  type TunnelEvent,
} from '../../server/index.ts'
import { AuditLog } from '../audit.ts'
import { changedOptions, configurable, optionsWith, readConfigFile } from '../config-file.ts'
import type { Finish } from '../exit-codes.ts'
import { fitHelp } from '../help.ts'
import { CONFIG, LOG_FORMAT, list, PING, QUIET, TOKEN_FILE_MODE, VERBOSE, value } from '../options.ts'
import { Reload, type Reloadable } from '../reload.ts'
import type { Report } from '../report.ts'
import { environmentToken, readSecret, readText } from '../secrets.ts'
import { serverState } from '../state.ts'
import { StatusSocket } from '../status-socket.ts'
import { VERSION } from '../version.ts'
import { onSignals, reportFor } from '../world.ts'

interface ServeFlags {
  listen: string
  tlsCert?: string
  tlsKey?: string
  tlsSelfSigned?: boolean
  tokenFile?: string
  tokenFileMode: string
  auth: boolean
  config?: string
  auditLog?: string
  allow?: string[]
  allowReverse?: string[]
  target?: string[]
  prefix?: string
  origin?: string[]
  host?: string[]
  proxyProtocolFrom?: string[]
  sendProxyProtocol?: string[]
  maxConnections: string
  handshakeTimeout: string
  dialTimeout: string
  pingInterval: string
  grace: string
  reusePort?: boolean
  route?: string
  resumeFor: string
  quiet?: boolean
  verbose?: boolean
  logFormat?: string
}

const OPTIONS: readonly (() => Option)[] = [
  () => value('--listen <address>', 'PORT (loopback), :PORT (every interface) or HOST:PORT', 'SLUICE_LISTEN', '8443'),
  () => value('--tls-cert <file>', 'certificate chain in PEM', 'SLUICE_TLS_CERT'),
  () => value('--tls-key <file>', 'its private key in PEM', 'SLUICE_TLS_KEY'),
  () => new Option('--tls-self-signed', 'make a certificate and print the pin').env('SLUICE_TLS_SELF_SIGNED'),
  () => value('--token-file <file>', 'who may connect: one name:token or name:sha256-HEX a line', 'SLUICE_TOKEN_FILE'),
  TOKEN_FILE_MODE,
  () => new Option('--no-auth', 'ask for no token: only on loopback, behind a proxy that asks'),
  () =>
    list(
      '--allow <rule>',
      'what may be reached: HOST:PORTS or @NAME (repeatable); without any: public addresses only',
      'SLUICE_ALLOW',
    ),
  () =>
    list(
      '--allow-reverse <rule>',
      'what clients may listen on with -R: 127.0.0.1:PORTS[/udp], *:PORTS or /PATH, shared:… (repeatable); without any: nothing',
      'SLUICE_ALLOW_REVERSE',
    ),
  () =>
    list('--target <name=address>', 'name a target: web=10.0.0.5:80, reached as @web (repeatable)', 'SLUICE_TARGET'),
  () => value('--prefix <path>', 'serve below this path', 'SLUICE_PREFIX'),
  () =>
    list('--origin <origin>', 'pages of this origin may connect: https://app.example (repeatable)', 'SLUICE_ORIGIN'),
  () =>
    list(
      '--host <name>',
      'when listening on loopback, accept this Host too, as a proxy sends it (repeatable)',
      'SLUICE_HOST',
    ),
  () =>
    list(
      '--proxy-protocol-from <address>',
      'proxies here begin with the PROXY protocol, v1 or v2: 10.0.0.7 or 10.0.0.0/8 (repeatable)',
      'SLUICE_PROXY_PROTOCOL_FROM',
    ),
  () =>
    list(
      '--send-proxy-protocol <target=version>',
      'tell this target the client’s address first: db.corp:5432=v2 (repeatable)',
      'SLUICE_SEND_PROXY_PROTOCOL',
    ),
  () => value('--max-connections <n>', 'connections carried at once', 'SLUICE_MAX_CONNECTIONS', '10000'),
  () => value('--handshake-timeout <time>', 'for TLS and the request', 'SLUICE_HANDSHAKE_TIMEOUT', '10s'),
  () => value('--dial-timeout <time>', 'for the target to answer', 'SLUICE_DIAL_TIMEOUT', '10s'),
  PING,
  () => value('--resume-for <time>', 'keep a session whose WebSocket is lost this long', 'SLUICE_RESUME_FOR', '5m'),
  () => new Option('--reuse-port', 'share the port with a process that replaces this one').env('SLUICE_REUSE_PORT'),
  () => value('--route <name>', 'what joins carry in ?route=, for a balancer (default: random)', 'SLUICE_ROUTE'),
  () => value('--grace <time>', 'on SIGTERM, let what runs finish this long', 'SLUICE_GRACE', '30s'),
  () => value('--audit-log <file>', 'who reached what, by which rule: a JSON object a line', 'SLUICE_AUDIT_LOG'),
  CONFIG,
  QUIET,
  VERBOSE,
  LOG_FORMAT,
]

export function serveCommand(finish: Finish): Command {
  const command = new Command('serve').description('accept WebSockets and connect them to TCP targets')
  for (const option of OPTIONS) command.addOption(option())
  return fitHelp(command, [
    '--listen',
    '--tls-cert',
    '--tls-key',
    '--token-file',
    '--allow',
    '--allow-reverse',
    '--config',
  ])
    .addHelpText(
      'after',
      '\nExamples:\n  sluice serve --allow db.corp:5432\n  sluice serve --listen :443 --tls-cert c.pem --tls-key k.pem --token-file who',
    )
    .action(async (flags: ServeFlags, self: Command) => finish(await runServe(flags, self)))
}

async function runServe(flags: ServeFlags, command: Command): Promise<number> {
  const report = reportFor(flags)
  const listen = parseListen(flags.listen)
  const { auth, made } = readAuth(flags, listen)
  const certificate = await readTls(flags, listen)
  const audit = flags.auditLog === undefined ? undefined : new AuditLog(flags.auditLog)
  const server = new Server(serverOptions(flags, listen, auth, certificate, report, audit))
  const stop = onSignals()
  let status: StatusSocket | undefined
  let reload: Reload | undefined
  let expiry: NodeJS.Timeout | undefined
  try {
    const bound = await server.listen()
    announce(report, bound, parsePrefix(flags.prefix ?? ''), certificate, made)
    status = new StatusSocket(() => serverState(bound, server.tunnel))
    status.open()
    reload = new Reload([...reloadables(flags, server, auth), ...configuration(flags, server, command)], report)
    stop.onHangUp(() => {
      reload?.now()
      audit?.reopen()
    })
    // A token that expires ends what it let in.
    expiry = setInterval(() => auth instanceof TokenAuth && auth.expiring && server.tunnel.recheck(), 1_000)
    await stop.promise
    const { connections } = server.tunnel
    if (connections > 0)
      report.say(`stopping: ${connections} connection${connections === 1 ? '' : 's'} may finish within ${flags.grace}`)
    await Promise.race([server.close(parseDuration(flags.grace, '--grace')), stop.again])
    return stop.exitCode
  } finally {
    clearInterval(expiry)
    reload?.close()
    status?.close()
    audit?.close()
    stop.release()
  }
}

function serverOptions(
  flags: ServeFlags,
  listen: HostPort,
  auth: Auth,
  tls: ServerOptions['tls'],
  report: Report,
  audit: AuditLog | undefined,
): ServerOptions {
  return {
    listen,
    auth,
    tls,
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
    onEvent: (event) => {
      logEvent(report, event)
      audit?.write(event)
    },
  }
}

function parseListen(text: string): HostPort {
  if (/^[0-9]+$/.test(text)) return { host: '127.0.0.1', port: parsePort(text, '--listen', 0) }
  if (text.startsWith(':') || text.startsWith('*:'))
    return { host: '::', port: parsePort(text.slice(text.indexOf(':') + 1), '--listen', 0) }
  return parseHostPort(text, '--listen', 0)
}

/** Who may come in; without any credentials a random token is made, for loopback only. */
function readAuth(flags: ServeFlags, listen: HostPort): { auth: Auth; made?: string } {
  const fromEnvironment = environmentToken()
  if (!flags.auth) {
    if (flags.tokenFile === undefined && fromEnvironment === undefined) return { auth: new NoAuth() }
    throw new SluiceError('ERR_SLUICE_USAGE', '--no-auth and a token contradict each other', {
      remedy: 'Give one of them.',
    })
  }
  const entries = readTokens(flags)
  if (entries.length > 0) return { auth: new TokenAuth(entries) }
  if (!isLoopback(listen.host)) {
    throw new SluiceError(
      'ERR_SLUICE_CONFIG',
      `listening on ${formatHostPort(listen)} without credentials would open it to everybody`,
      {
        remedy: 'Give --token-file FILE (one name:token a line) or SLUICE_TOKEN, or listen on loopback: --listen 8443.',
      },
    )
  }
  const made = randomBytes(24).toString('base64url')
  return { auth: new TokenAuth([{ name: 'made', token: made }]), made }
}

/** @param least 0 when it is read again: a file from which all are gone lets nobody in */
function readTokens(flags: ServeFlags, least: 0 | 1 = 1): TokenEntry[] {
  const fromEnvironment = environmentToken()
  return [
    ...(flags.tokenFile === undefined
      ? []
      : parseTokenFile(readSecret(flags.tokenFile, '--token-file', flags.tokenFileMode), flags.tokenFile, least)),
    ...(fromEnvironment === undefined ? [] : [{ name: 'env', token: fromEnvironment }]),
  ]
}

/** What is read again when its files change, or at SIGHUP. */
function reloadables(flags: ServeFlags, server: Server, auth: Auth): Reloadable[] {
  const { tokenFile, tlsCert, tlsKey } = flags
  const things: Reloadable[] = []
  if (tokenFile !== undefined && auth instanceof TokenAuth) {
    things.push({
      what: 'token file',
      files: [tokenFile],
      apply: () => {
        const entries = readTokens(flags, 0)
        auth.replace(entries)
        const ended = server.tunnel.recheck()
        return `: ${entries.length} token${entries.length === 1 ? '' : 's'}${ended === 0 ? '' : `, ${ended} ended that are not allowed any more`}`
      },
    })
  }
  if (tlsCert !== undefined && tlsKey !== undefined) {
    things.push({
      what: 'certificate',
      files: [tlsCert, tlsKey],
      apply: () => {
        server.renewCertificate({ cert: readText(tlsCert, '--tls-cert'), key: readText(tlsKey, '--tls-key') })
        return ''
      },
    })
  }
  return things
}

/** The rules of the configuration file; what else it says holds from the next start on. */
function configuration({ config }: ServeFlags, server: Server, command: Command): Reloadable[] {
  if (config === undefined) return []
  const apply = () => {
    const section = readConfigFile(config, configurable(command)).get(command.name())?.[0] ?? {}
    const now = optionsWith(command, section) as unknown as ServeFlags
    server.tunnel.replaceRules({
      allow: (now.allow ?? []).map(parseRule),
      allowReverse: (now.allowReverse ?? []).map(parseReverseRule),
    })
    const ended = server.tunnel.recheck()
    const later = changedOptions(command, command.opts(), { ...now }).filter(
      (name) => name !== 'allow' && name !== 'allow-reverse',
    )
    const restart = later.length === 0 ? '' : `; only a restart changes ${later.join(', ')}`
    return `: its rules hold${ended === 0 ? '' : `, ${ended} ended that are not allowed any more`}${restart}`
  }
  return [{ what: 'configuration file', files: [config], apply }]
}

async function readTls(
  flags: ServeFlags,
  listen: HostPort,
): Promise<SelfSigned | { cert: string; key: string } | undefined> {
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
  if ((flags.tlsCert === undefined) !== (flags.tlsKey === undefined)) {
    throw new SluiceError('ERR_SLUICE_USAGE', '--tls-cert and --tls-key go together', { remedy: 'Give both files.' })
  }
  if (flags.tlsCert === undefined || flags.tlsKey === undefined) return undefined
  return { cert: readText(flags.tlsCert, '--tls-cert'), key: readText(flags.tlsKey, '--tls-key') }
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

function parsePrefix(text: string): string {
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

/** Says where the server listens and, if it made its own credentials, the one line to paste. */
function announce(
  report: Report,
  bound: HostPort,
  prefix: string,
  tls: ServerOptions['tls'] | SelfSigned,
  token: string | undefined,
): void {
  const anywhere = bound.host === '::' || bound.host === '0.0.0.0'
  const url = `${tls === undefined ? 'ws' : 'wss'}://${formatHostPort({ host: anywhere ? 'THIS-HOST' : bound.host, port: bound.port })}${prefix}`
  const pin = tls !== undefined && 'pin' in tls ? ` --pin ${tls.pin}` : ''
  report.say(`serving on ${url.replace('THIS-HOST', '*')}`)
  if (token !== undefined || pin !== '') {
    const secret = token === undefined ? '' : `SLUICE_TOKEN=${token} `
    report.say(`connect with: ${secret}sluice connect ${url}${pin} -L 5432:HOST:5432`)
  }
}

function logEvent(report: Report, event: TunnelEvent): void {
  if (event.type === 'refused') report.say(`${event.from}: refused with ${event.status}: ${event.message}`)
  else if (event.type === 'opened') report.detail(`${event.from} (${event.principal}): ${event.target} opened`)
  else if (event.type === 'failed')
    report.say(
      `${event.from} (${event.principal}): ${event.target} failed with ${event.code} ${event.reason}: ${event.detail}`,
    )
  else if (event.type === 'session')
    report.detail(
      `${event.from} (${event.principal}): session ${event.what}${event.detail === '' ? '' : `: ${event.detail}`}`,
    )
  else {
    const { bytesUp, bytesDown, how } = event.outcome
    report.detail(
      `${event.from} (${event.principal}): ${event.target} ended (${how}), ${bytesUp} bytes up, ${bytesDown} down`,
    )
  }
}
