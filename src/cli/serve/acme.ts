import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Authorization, Client } from 'acme-client'
import type { HostPort } from '../../config/index.ts'
import { messageOf, SluiceError } from '../../errors/index.ts'
import { bindError } from '../../node/index.ts'
import type { Certificate, Server } from '../../server/index.ts'
import type { Report } from '../report.ts'

/** A certificate is renewed when this part of its life is over. */
const RENEW_AT = 2 / 3
/** After a failure it is tried again so much later, in milliseconds. */
const RETRY = 60 * 60_000
/** Timers cannot wait longer, in milliseconds. */
const LONGEST = 24 * 60 * 60_000
const PATH = '/.well-known/acme-challenge/'

export interface AcmeOptions {
  readonly domains: readonly string[]
  readonly email: string | undefined
  /** The URL of the CA's directory; undefined is Let’s Encrypt. */
  readonly directory: string | undefined
  /** Where keys and certificates are kept. */
  readonly folder: string
  /** Where challenges over HTTP are answered; undefined is by TLS, on the server's own port. */
  readonly http: HostPort | undefined
}

/** Gets certificates of a CA that speaks ACME (RFC 8555), by http-01 or tls-alpn-01 (RFC 8737), and renews them. */
export class Acme {
  readonly #options: AcmeOptions
  readonly #report: Report
  /** What is asked for at the well-known path, by token. */
  readonly #answers = new Map<string, string>()
  #http: http.Server | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: AcmeOptions, report: Report) {
    this.#options = options
    this.#report = report
  }

  /** The certificate that is kept, if it is good for these names and a while. */
  get kept(): Certificate | undefined {
    const [cert, key] = [this.#file('certificate.pem'), this.#file('certificate.key')]
    if (!existsSync(cert) || !existsSync(key)) return undefined
    const certificate = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
    const x509 = new X509Certificate(certificate.cert)
    const named = this.#options.domains.every((domain) => x509.checkHost(domain) !== undefined)
    return named && Date.parse(x509.validTo) > Date.now() ? certificate : undefined
  }

  /** Begins to answer challenges over HTTP, if they come that way. @throws SluiceError `ERR_SLUICE_CONFIG` */
  listen(): Promise<HostPort | undefined> {
    const at = this.#options.http
    if (at === undefined) return Promise.resolve(undefined)
    const server = http.createServer({ requestTimeout: 5_000 }, (request, response) => {
      request.resume()
      const { url = '' } = request
      const answer = url.startsWith(PATH) ? this.#answers.get(url.slice(PATH.length)) : undefined
      response.writeHead(answer === undefined ? 404 : 200, { 'Content-Type': 'text/plain' })
      response.end(answer)
    })
    this.#http = server
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(error, at.host, at.port)))
      server.listen(at, () => {
        const { address, port } = server.address() as AddressInfo
        resolve({ host: address, port })
      })
    })
  }

  /** Has the server use what is kept, and gets what is not; from then on it is renewed in time. */
  start(server: Server): void {
    const { kept } = this
    if (kept === undefined) void this.#renew(server)
    else this.#wait(server, kept)
  }

  #wait(server: Server, { cert }: Certificate): void {
    const { validFrom, validTo } = new X509Certificate(cert)
    const [from, to] = [Date.parse(validFrom), Date.parse(validTo)]
    const left = from + (to - from) * RENEW_AT - Date.now()
    const act = () => (left > LONGEST ? this.#wait(server, { cert, key: '' }) : void this.#renew(server))
    this.#timer = setTimeout(act, Math.max(0, Math.min(left, LONGEST))).unref()
  }

  async #renew(server: Server): Promise<void> {
    const { domains } = this.#options
    try {
      const certificate = await this.#order(server)
      server.renewCertificate(certificate)
      this.#keep('certificate.key', certificate.key)
      this.#keep('certificate.pem', certificate.cert)
      this.#report.say(
        `a certificate for ${domains.join(', ')} is there, good until ${new X509Certificate(certificate.cert).validTo}`,
      )
      this.#wait(server, certificate)
    } catch (error) {
      const known = error instanceof SluiceError
      this.#report.problem(
        known
          ? error
          : new SluiceError('ERR_SLUICE_CONFIG', `no certificate for ${domains.join(', ')}: ${messageOf(error)}`, {
              cause: error,
              remedy:
                'The CA must reach this server by these names: on port 80 with --acme-http :80, otherwise on 443.',
            }),
      )
      this.#timer = setTimeout(() => void this.#renew(server), RETRY).unref()
    }
  }

  async #order(server: Server): Promise<Certificate> {
    const { domains, email } = this.#options
    const acme = await load()
    const client: Client = new acme.Client({
      directoryUrl: this.#options.directory ?? acme.directory.letsencrypt.production,
      accountKey: await this.#accountKey(),
    })
    const [key, csr] = await acme.crypto.createCsr(
      { commonName: domains[0]!, altNames: [...domains] },
      await acme.crypto.createPrivateEcdsaKey(),
    )
    const kind = this.#options.http === undefined ? 'tls-alpn-01' : 'http-01'
    const nameOf = (authorization: Authorization) => authorization.identifier.value
    const cert = await client.auto({
      csr,
      ...(email === undefined ? {} : { email }),
      // Whoever names a domain for it agrees: docs/operations.md says so.
      termsOfServiceAgreed: true,
      challengePriority: [kind],
      skipChallengeVerification: true,
      challengeCreateFn: async (authorization, { token }, keyAuthorization) => {
        if (kind === 'http-01') return void this.#answers.set(token, keyAuthorization)
        // Of the kind of key that the certificate beside it has: see Certificates.
        const ecdsa = await acme.crypto.createPrivateEcdsaKey()
        const [challengeKey, challengeCert] = await acme.crypto.createAlpnCertificate(
          authorization,
          keyAuthorization,
          ecdsa,
        )
        server.presentChallenge(nameOf(authorization), { cert: String(challengeCert), key: String(challengeKey) })
      },
      challengeRemoveFn: async (authorization, { token }) => {
        this.#answers.delete(token)
        server.presentChallenge(nameOf(authorization), undefined)
      },
    })
    return { cert, key: String(key) }
  }

  async #accountKey(): Promise<Buffer> {
    const file = this.#file('account.key')
    if (existsSync(file)) return readFileSync(file)
    const key = await (await load()).crypto.createPrivateEcdsaKey()
    this.#keep('account.key', String(key))
    return key
  }

  #file(name: string): string {
    return join(this.#options.folder, name)
  }

  /** Whole or not at all, and for its owner only. */
  #keep(name: string, text: string): void {
    mkdirSync(this.#options.folder, { recursive: true, mode: 0o700 })
    const file = this.#file(name)
    writeFileSync(`${file}.new`, text, { mode: 0o600 })
    renameSync(`${file}.new`, file)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#http?.close()
    this.#http?.closeAllConnections()
  }
}

/** The library is installed by whoever wants it: it brings many others. @throws SluiceError `ERR_SLUICE_CONFIG` */
async function load(): Promise<typeof import('acme-client')> {
  try {
    const loaded = (await import('acme-client')) as typeof import('acme-client') & {
      default?: typeof import('acme-client')
    }
    return loaded.default ?? loaded
  } catch (cause) {
    throw new SluiceError('ERR_SLUICE_CONFIG', '--acme-domain needs the package acme-client, which is not installed', {
      cause,
      remedy: 'npm install acme-client (with -g where sluice was installed so), or give --tls-cert and --tls-key.',
    })
  }
}
