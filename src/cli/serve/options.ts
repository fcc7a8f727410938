import { Option } from 'commander'
import { CERTIFICATE_NAMES, type CertificateName } from '../../server/index.ts'
import { CONFIG, LOG_FORMAT, lines, list, PING, QUIET, TOKEN_FILE_MODE, VERBOSE, value } from '../options.ts'

/** What commander hands over for {@link SERVE_OPTIONS}. */
export interface ServeFlags {
  listen: string
  tlsCert?: string[]
  tlsKey?: string[]
  tlsSelfSigned?: boolean
  acmeDomain?: string[]
  acmeEmail?: string
  acmeDirectory?: string
  acmeFolder?: string
  acmeHttp?: string
  tokenFile?: string
  tokenFileMode: string
  auth: boolean
  clientCa?: string
  clientName: CertificateName
  jwtKeys?: string
  jwtIssuer?: string
  jwtAudience?: string
  jwtNameClaim: string
  jwtGroupsClaim: string
  trustedProxy?: string[]
  userHeader?: string
  limit?: string[]
  site?: string
  resolver?: string[]
  metricsListen?: string
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

export const SERVE_OPTIONS: readonly (() => Option)[] = [
  () => value('--listen <address>', 'PORT (loopback), :PORT (every interface) or HOST:PORT', 'SLUICE_LISTEN', '8443'),
  () => lines('--tls-cert <file>', 'certificate chain in PEM; several are chosen by SNI', 'SLUICE_TLS_CERT'),
  () => lines('--tls-key <file>', 'its private key in PEM, one for each certificate', 'SLUICE_TLS_KEY'),
  () => new Option('--tls-self-signed', 'make a certificate and print the pin').env('SLUICE_TLS_SELF_SIGNED'),
  () =>
    list(
      '--acme-domain <name>',
      'get a certificate for this name by ACME, agreeing to the CA’s terms (repeatable; needs the package acme-client)',
      'SLUICE_ACME_DOMAIN',
    ),
  () => value('--acme-email <address>', 'whom the CA may write to', 'SLUICE_ACME_EMAIL'),
  () => value('--acme-directory <url>', 'the CA; without it Let’s Encrypt', 'SLUICE_ACME_DIRECTORY'),
  () => value('--acme-folder <folder>', 'where its keys and certificates are kept', 'SLUICE_ACME_FOLDER'),
  () =>
    value(
      '--acme-http <address>',
      'answer the CA over HTTP here, as :80; without it over TLS, on the server’s own port, which it must reach as 443',
      'SLUICE_ACME_HTTP',
    ),
  () => value('--token-file <file>', 'who may connect; sluice token makes its lines', 'SLUICE_TOKEN_FILE'),
  TOKEN_FILE_MODE,
  () => value('--client-ca <file>', 'let in who has a certificate of this CA (PEM), as cert:NAME', 'SLUICE_CLIENT_CA'),
  () =>
    new Option('--client-name <kind>', 'what of a client’s certificate is its name: the common name, or an alternative')
      .choices(CERTIFICATE_NAMES)
      .default('cn')
      .env('SLUICE_CLIENT_NAME'),
  () =>
    value(
      '--jwt-keys <keys>',
      'let in who has a JWT by one of these keys, as jwt:NAME: a JWKS, URL or file',
      'SLUICE_JWT_KEYS',
    ),
  () => value('--jwt-issuer <issuer>', 'its iss must be this', 'SLUICE_JWT_ISSUER'),
  () => value('--jwt-audience <audience>', 'its aud must have this', 'SLUICE_JWT_AUDIENCE'),
  () => value('--jwt-name-claim <claim>', 'the claim that is the name', 'SLUICE_JWT_NAME_CLAIM', 'sub'),
  () => value('--jwt-groups-claim <claim>', 'the claim with a list of groups', 'SLUICE_JWT_GROUPS_CLAIM', 'groups'),
  () =>
    list(
      '--trusted-proxy <address>',
      'believe X-Forwarded-For of proxies here: 10.0.0.7 or 10.0.0.0/8 (repeatable)',
      'SLUICE_TRUSTED_PROXY',
    ),
  () =>
    value(
      '--user-header <name>',
      'let in whom a trusted proxy names in this header, as proxy:NAME; it must remove what clients send',
      'SLUICE_USER_HEADER',
    ),
  () => new Option('--no-auth', 'ask for no token: only on loopback, behind a proxy that asks'),
  () =>
    list(
      '--allow <rule>',
      'what may be reached: [!]HOST:PORTS or @NAME [for WHO], first match (repeatable); without any: public addresses only',
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
  () =>
    lines(
      '--limit <terms>',
      'how much each may use: "sessions=2 streams=100 time=8h stream-rate=1M for ann" (repeatable)',
      'SLUICE_LIMIT',
    ),
  () =>
    list('--resolver <address>', 'ask this DNS server, not the system: 10.0.0.53[:53] (repeatable)', 'SLUICE_RESOLVER'),
  () =>
    value(
      '--site <site>',
      'what whoever is not let in sees: a folder, or the URL of a web server; nothing tells of sluice',
      'SLUICE_SITE',
    ),
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
  () =>
    value('--metrics-listen <address>', 'serve /metrics for Prometheus here, to whoever asks', 'SLUICE_METRICS_LISTEN'),
  CONFIG,
  QUIET,
  VERBOSE,
  LOG_FORMAT,
]
