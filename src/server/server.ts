import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { HostPort } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { bindError, TCP_OPTIONS } from '../node/index.ts'
import { NoAuth } from './auth/auth.ts'
import { type Certificate, Certificates, TLS_DEFAULTS } from './certificates.ts'
import { ACME_PROTOCOL, Http2Side } from './http/http2.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { ProxiedClients } from './proxied.ts'
import { plainText, respond, respondRaw } from './respond.ts'
import { Tunnel, type TunnelOptions } from './tunnel.ts'

export interface ServerOptions extends TunnelOptions {
  readonly listen: HostPort
  /** Share the port with other processes that ask for it too (SO_REUSEPORT; Node 22.12 or newer). Default false. */
  readonly reusePort?: boolean
  /** Addresses and networks of proxies that say by the PROXY protocol whose each connection is. */
  readonly proxiesFrom?: readonly string[]
  /** Certificate and key in PEM, or several, chosen by SNI; without them the server speaks plain HTTP. */
  readonly tls?: Certificate | readonly Certificate[] | undefined
  /** A CA in PEM whose certificates clients may present; see `CertificateAuth`. */
  readonly clientCa?: string | undefined
}

/** Connections of carriers over HTTP are kept between requests, in milliseconds. */
const KEEP_ALIVE = 65_000

const NOTHING = plainText(404, 'there is nothing here')

const LOOPBACK = /^(127\.[0-9.]+|::1|localhost)$/i

/** Whether an address is reached from this machine only. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host)
}

/** A tunnel on an HTTP or HTTPS server of its own. */
export class Server {
  readonly tunnel: Tunnel
  readonly #http: http.Server | https.Server
  readonly #http2: Http2Side | undefined
  readonly #certificates: Certificates | undefined
  readonly #listen: HostPort
  readonly #reusePort: boolean
  readonly #clientCa: string | undefined

  /**
   * @throws SluiceError `ERR_SLUICE_CONFIG` for a certificate that cannot be used, or for listening beyond loopback without
   * credentials; `ERR_SLUICE_USAGE` for a rule that cannot be read
   */
  constructor(options: ServerOptions) {
    const loopback = isLoopback(options.listen.host)
    if (!loopback && options.auth instanceof NoAuth) {
      throw new SluiceError(
        'ERR_SLUICE_CONFIG',
        `listening on ${options.listen.host} without credentials would open it to everybody`,
        {
          remedy: 'Give --token-file FILE or SLUICE_TOKEN, or listen on 127.0.0.1.',
        },
      )
    }
    this.#listen = options.listen
    this.#clientCa = options.clientCa
    this.#reusePort = options.reusePort ?? false
    if (this.#reusePort && !canReusePort()) {
      throw new SluiceError('ERR_SLUICE_CONFIG', `Node ${process.versions.node} cannot share a port`, {
        remedy: 'Use Node 22.12 or newer for --reuse-port, or a balancer in front.',
      })
    }
    const { handshakeTimeout } = { ...DEFAULT_LIMITS, ...options.limits }
    const proxied = new ProxiedClients(options.proxiesFrom ?? [], handshakeTimeout, (from, message) =>
      options.onEvent?.({ type: 'refused', from, status: 400, message }),
    )
    const clientOf = (socket: Socket) => proxied.clientOf(socket)
    this.tunnel = new Tunnel({ checkHost: loopback, clientOf, ...options })
    const { headerBytes, sockets } = this.tunnel.limits
    const common = {
      maxHeaderSize: headerBytes,
      headersTimeout: handshakeTimeout,
      // Bodies of carriers take as long as they take; whoever is refused is not listened to.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE,
      connectionsCheckingInterval: Math.min(1_000, handshakeTimeout / 2),
      ...TCP_OPTIONS,
    }
    const { tls, clientCa } = options
    this.#certificates = tls === undefined ? undefined : new Certificates(listOf(tls), clientCa)
    this.#http =
      tls === undefined || this.#certificates === undefined
        ? http.createServer(common)
        : secureServer({ ...common, ...listOf(tls)[0], handshakeTimeout }, this.#certificates, clientCa)
    if (options.proxiesFrom !== undefined) proxied.guard(this.#http)
    this.#http.maxConnections = sockets
    const onRequest = (request: IncomingMessage, response: ServerResponse) => {
      if (!this.tunnel.handleRequest(request, response)) respond(request, response, NOTHING)
    }
    this.#http.on('request', onRequest)
    if (this.#http instanceof https.Server) this.#http2 = new Http2Side(this.#http, headerBytes, onRequest)
    this.#http.on('upgrade', (request, socket, head) => {
      if (!this.tunnel.handleUpgrade(request, socket, head)) respondRaw(socket, NOTHING)
    })
  }

  /**
   * Binds; resolves with the address in use.
   *
   * @throws SluiceError `ERR_SLUICE_CONFIG` if it cannot be bound
   */
  listen(): Promise<HostPort> {
    const { host, port } = this.#listen
    return new Promise((resolve, reject) => {
      this.#http.once('error', (error: NodeJS.ErrnoException) => reject(bindError(error, host, port)))
      const share = this.#reusePort ? { reusePort: true } : {}
      this.#http.listen({ host, port, backlog: 4096, ...share }, () => {
        const address = this.#http.address() as AddressInfo
        resolve({ host: address.address, port: address.port })
      })
    })
  }

  /**
   * New connections get these certificates; those that run keep theirs.
   *
   * @throws SluiceError `ERR_SLUICE_CONFIG` if one cannot be used; then the old ones stay
   */
  renewCertificate(tls: Certificate | readonly Certificate[]): void {
    if (!(this.#http instanceof https.Server) || this.#certificates === undefined)
      throw new SluiceError('ERR_SLUICE_MISUSE', 'this server has no TLS')
    this.#certificates.replace(listOf(tls))
    const ca = this.#clientCa === undefined ? {} : { ca: this.#clientCa }
    // For clients that name nobody.
    this.#http.setSecureContext({ ...listOf(tls)[0], ...TLS_DEFAULTS, ...ca })
  }

  /** For a CA that asks by tls-alpn-01 (RFC 8737) whether a name is ours; undefined ends it. */
  presentChallenge(name: string, certificate: Certificate | undefined): void {
    this.#certificates?.challenge(name, certificate)
  }

  /** Stops accepting, finishes what runs within `grace` milliseconds, then ends it. */
  async close(grace = 30_000): Promise<void> {
    const close = () => new Promise<void>((resolve) => this.#http.close(() => resolve()))
    // On a port of its own the next process can begin; on a shared one, sessions that live on here must find their way back.
    const early = this.#reusePort ? undefined : close()
    this.#http.closeIdleConnections()
    this.#http2?.close()
    await this.tunnel.drain(grace)
    const closed = early ?? close()
    this.#http.closeAllConnections()
    this.#http2?.destroy()
    await closed
  }
}

function canReusePort(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 12)
}

function listOf(tls: Certificate | readonly Certificate[]): readonly Certificate[] {
  return 'cert' in tls ? [tls] : tls
}

function secureServer(options: https.ServerOptions, certificates: Certificates, clientCa?: string): https.Server {
  return https.createServer({
    ...options,
    ...TLS_DEFAULTS,
    ALPNProtocols: ['h2', 'http/1.1', ACME_PROTOCOL],
    SNICallback: (name, done) => done(null, certificates.find(name)),
    // Who has none is asked for something else: whether one is needed the gate says, not TLS.
    ...(clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: false }),
  })
}
