import { Option } from 'commander'
import {
  environmentProxy,
  type ProxyUrl,
  parseClientToken,
  parseDuration,
  parseHost,
  parseProxyUrl,
  parseServerUrl,
  parseTemplate,
  type ServerUrl,
} from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { WAYS, type Way } from '../link/index.ts'
import { CookieJar, type PlainTunnelOptions, parsePin, type TunnelClientOptions } from '../node/index.ts'
import { checkField } from '../websocket/index.ts'
import { environmentToken, readLogin, readSecret, readText } from './secrets.ts'

/** Options that may be given several times. */
const repeatable = new WeakSet<Option>()

/** Whether an option takes a list. */
export function isRepeatable(option: Option): boolean {
  return repeatable.has(option)
}

function repeated(option: Option): Option {
  repeatable.add(option)
  return option
}

/** A repeatable option: each occurrence adds one; in the environment they are separated by white space. */
export function list(flags: string, description: string, env: string): Option {
  return repeated(new Option(flags, description))
    .env(env)
    .argParser((text: string, before: string[] | undefined) => [
      ...(before ?? []),
      // `RULE for NAME` is one.
      ...text.split(/(?<!\sfor)\s+(?!for\s)/).filter((part) => part !== ''),
    ])
}

/** As {@link list}, for values in which white space may stand. */
export function lines(flags: string, description: string, env: string): Option {
  return repeated(new Option(flags, description))
    .env(env)
    .argParser((text: string, before: string[] | undefined) => [
      ...(before ?? []),
      ...text.split('\n').filter((part) => part !== ''),
    ])
}

export function value(flags: string, description: string, env: string, preset?: string): Option {
  const option = new Option(flags, description).env(env)
  return preset === undefined ? option : option.default(preset)
}

export const TOKEN_FILE: () => Option = () =>
  value('--token-file <file>', 'the token, in a file that only you can read', 'SLUICE_TOKEN_FILE')
export const TOKEN_FILE_MODE: () => Option = () =>
  new Option('--token-file-mode <mode>', 'owner: refuse a token file that others can read; any: accept it')
    .choices(['owner', 'any'])
    .default('owner')
    .env('SLUICE_TOKEN_FILE_MODE')
export const PING: () => Option = () =>
  value('--ping-interval <time>', 'ping what is silent this long; 0 turns it off', 'SLUICE_PING_INTERVAL', '25s')
export const CONFIG: () => Option = () =>
  value('--config <file>', 'a file in YAML or JSON that says what flags do not', 'SLUICE_CONFIG')
export const QUIET: () => Option = () => new Option('-q, --quiet', 'say only what goes wrong')
export const VERBOSE: () => Option = () => new Option('-v, --verbose', 'say more')
export const LOG_FORMAT: () => Option = () =>
  new Option('--log-format <format>', 'text for people, json: an object in each line; auto: text in a terminal')
    .choices(['auto', 'text', 'json'])
    .default('auto')
    .env('SLUICE_LOG_FORMAT')

/** The options by which a client reaches a server. */
export function clientOptions(): Option[] {
  return [
    TOKEN_FILE(),
    TOKEN_FILE_MODE(),
    value('--login-file <file>', 'USER:PASSWORD in place of a token, in a file', 'SLUICE_LOGIN_FILE'),
    value('--cert <file>', 'a certificate to show to the server, in PEM', 'SLUICE_CERT'),
    value('--key <file>', 'its private key, in PEM', 'SLUICE_KEY'),
    value('--ca <file>', 'trust the certificates in this PEM file instead of the system’s', 'SLUICE_CA'),
    value('--pin <pin>', 'trust this key and no other: sha256/BASE64, as the server prints it', 'SLUICE_PIN'),
    value(
      '--proxy <url>',
      'http://, https:// or socks5:// proxy to the server, or pac+URL of a file; none: no proxy',
      'SLUICE_PROXY',
    ),
    value('--proxy-auth-file <file>', 'USER:PASSWORD for that proxy, in a file', 'SLUICE_PROXY_AUTH_FILE'),
    value(
      '--proxy-auth-command <command>',
      'a command that answers that proxy, for NTLM or Negotiate: a line for each line',
      'SLUICE_PROXY_AUTH_COMMAND',
    ),
    lines('-H, --header <header>', 'send this header too, or Host: "Name: value" (repeatable)', 'SLUICE_HEADER'),
    value('--header-file <file>', 'more of them, one a line, read again for each connection', 'SLUICE_HEADER_FILE'),
    value('--sni <name>', 'the name that TLS asks for and verifies, in place of the URL’s', 'SLUICE_SNI'),
    value(
      '--url-template <path>',
      'for a server that is not sluice: its path, with {host}, {port}, {address}',
      'SLUICE_URL_TEMPLATE',
    ),
    value('--timeout <time>', 'to connect and be let in', 'SLUICE_TIMEOUT', '10s'),
    value(
      '--half-close-timeout <time>',
      'after a local end of stream, go on receiving this long in silence',
      'SLUICE_HALF_CLOSE_TIMEOUT',
      '30s',
    ),
    PING(),
    new Option('--mask-always', 'random masking keys over TLS too').env('SLUICE_MASK_ALWAYS'),
    new Option(
      '--transport <kind>',
      'how a session travels; auto: the best that gets through (WebSocket, or requests over HTTP)',
    )
      .choices(['auto', ...WAYS])
      .default('auto')
      .env('SLUICE_TRANSPORT'),
    new Option('--plain', 'one WebSocket for each TCP connection, and no session').env('SLUICE_PLAIN'),
    QUIET(),
    VERBOSE(),
    LOG_FORMAT(),
  ]
}

/** What commander hands over for {@link clientOptions}. */
export interface ClientFlags {
  tokenFile?: string
  tokenFileMode: string
  loginFile?: string
  cert?: string
  key?: string
  ca?: string
  pin?: string
  proxy?: string
  proxyAuthFile?: string
  proxyAuthCommand?: string
  header?: string[]
  headerFile?: string
  sni?: string
  urlTemplate?: string
  timeout: string
  halfCloseTimeout: string
  pingInterval: string
  maskAlways?: boolean
  transport: Way | 'auto'
  plain?: boolean
  quiet?: boolean
  verbose?: boolean
  logFormat?: string
}

/** What {@link readClientFlags} makes of them. */
export type ReadClientFlags = PlainTunnelOptions & Pick<TunnelClientOptions, 'url' | 'transport'>

/** Reads the flags, all of them before anything is done. */
export function readClientFlags(urlText: string, flags: ClientFlags): ReadClientFlags {
  const url = parseServerUrl(urlText)
  const proxy = readProxy(url, flags)
  if (!url.secure && ((flags.ca !== undefined && !proxy?.secure) || flags.pin !== undefined)) {
    throw new SluiceError(
      'ERR_SLUICE_USAGE',
      `${flags.pin === undefined ? '--ca' : '--pin'} needs TLS, and ${urlText} has none`,
      { remedy: 'Use wss://.' },
    )
  }
  return {
    url,
    ...readCredentials(url, flags),
    ca: flags.ca === undefined ? undefined : readText(flags.ca, '--ca'),
    pin: flags.pin === undefined ? undefined : parsePin(flags.pin),
    proxy,
    fields: readHeaders(flags),
    cookies: new CookieJar(),
    servername: flags.sni === undefined ? undefined : parseHost(flags.sni, '--sni'),
    template: flags.urlTemplate === undefined ? undefined : parseTemplate(flags.urlTemplate),
    timeout: parseDuration(flags.timeout, '--timeout'),
    halfCloseTimeout: parseDuration(flags.halfCloseTimeout, '--half-close-timeout'),
    maskAlways: flags.maskAlways ?? false,
    transport: flags.transport,
  }
}

/** Who we are. The token is read again each time that it is needed: it may have been renewed. */
function readCredentials(
  { secure }: ServerUrl,
  { tokenFile, tokenFileMode, loginFile, cert, key }: ClientFlags,
): Pick<ReadClientFlags, 'token' | 'login' | 'certificate'> {
  if (loginFile !== undefined && tokenFile !== undefined) {
    throw new SluiceError('ERR_SLUICE_USAGE', '--token-file and --login-file contradict each other', {
      remedy: 'Give one of them.',
    })
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw new SluiceError('ERR_SLUICE_USAGE', '--cert and --key go together', { remedy: 'Give both files.' })
  }
  if (cert !== undefined && !secure) {
    throw new SluiceError('ERR_SLUICE_USAGE', '--cert needs TLS', { remedy: 'Use wss://.' })
  }
  const certificate =
    cert === undefined || key === undefined
      ? {}
      : { certificate: { cert: readText(cert, '--cert'), key: readSecret(key, '--key', tokenFileMode) } }
  if (loginFile !== undefined) return { ...certificate, login: readLogin(loginFile, '--login-file', tokenFileMode) }
  if (tokenFile === undefined) return { ...certificate, token: environmentToken() }
  const read = () => parseClientToken(readSecret(tokenFile, '--token-file', tokenFileMode), tokenFile)
  let last = read()
  const token = () => {
    try {
      last = read()
    } catch {
      // It is being replaced: the last one may still do, and the server says if not.
    }
    return last
  }
  return { ...certificate, token }
}

/** The proxy on the way out: what --proxy says, or what the environment does. */
function readProxy(
  url: ServerUrl,
  { proxy, proxyAuthFile, proxyAuthCommand, tokenFileMode }: ClientFlags,
): ProxyUrl | undefined {
  if (proxy === 'none') return undefined
  if (proxyAuthFile !== undefined && proxyAuthCommand !== undefined) {
    throw new SluiceError('ERR_SLUICE_USAGE', '--proxy-auth-file and --proxy-auth-command contradict each other', {
      remedy: 'Give one of them.',
    })
  }
  const found = proxy === undefined ? environmentProxy(url, process.env) : { name: '--proxy', text: proxy }
  if (found === undefined) {
    if (proxyAuthFile === undefined && proxyAuthCommand === undefined) return undefined
    const which = proxyAuthFile === undefined ? '--proxy-auth-command' : '--proxy-auth-file'
    throw new SluiceError('ERR_SLUICE_USAGE', `${which} is given, but there is no proxy`, {
      remedy: 'Give --proxy too, or set https_proxy.',
    })
  }
  const read = parseProxyUrl(found.text, found.name)
  if (proxy !== undefined && read.credentials !== undefined) {
    throw new SluiceError('ERR_SLUICE_USAGE', '--proxy: a password does not belong where others can read it', {
      remedy: 'Put USER:PASSWORD into a file and give --proxy-auth-file FILE.',
    })
  }
  if (proxyAuthCommand !== undefined) {
    if (read.kind !== 'socks5') return { ...read, authCommand: proxyAuthCommand }
    throw new SluiceError('ERR_SLUICE_USAGE', '--proxy-auth-command is for HTTP proxies, and this is SOCKS5', {
      remedy: 'Give --proxy-auth-file.',
    })
  }
  if (proxyAuthFile === undefined) return read
  return { ...read, credentials: readLogin(proxyAuthFile, '--proxy-auth-file', tokenFileMode) }
}

/** Those of the file are read again each time; one that cannot be read leaves those that were. */
function readHeaders({ header = [], headerFile, tokenFileMode }: ClientFlags): ReadClientFlags['fields'] {
  const given = header.map(parseHeader)
  if (headerFile === undefined) return given
  const read = () =>
    readSecret(headerFile, '--header-file', tokenFileMode)
      .split(/\r?\n/)
      .filter((line) => line.trim() !== '' && !line.startsWith('#'))
      .map(parseHeader)
  let last = read()
  return () => {
    try {
      last = read()
    } catch {
      // It is being written: what was there may still do, and the gateway says if not.
    }
    return [...given, ...last]
  }
}

function parseHeader(text: string): readonly [string, string] {
  const colon = text.indexOf(':')
  if (colon < 1) throw new SluiceError('ERR_SLUICE_USAGE', `--header ${JSON.stringify(text)} is not "Name: value"`)
  const name = text.slice(0, colon)
  const content = text.slice(colon + 1).trim()
  checkField(name, content)
  return [name, content]
}
