import { X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'
import { messageOf, SluiceError } from '../errors/index.ts'

/** A certificate chain and its key, in PEM. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

/** What is wanted of TLS: 1.2 with forward secrecy and AEAD alone, or 1.3 (RFC 9325 §3.1.1, §4.2). */
export const TLS_DEFAULTS: { readonly minVersion: 'TLSv1.2'; readonly ciphers: string } = {
  minVersion: 'TLSv1.2',
  ciphers: CIPHERS,
}

/** The certificates of a server, chosen by the name that a client asks for (SNI, RFC 6066 §3). */
export class Certificates {
  readonly #clientCa: string | undefined
  /** What a CA is shown that asks whether a name is ours (RFC 8737), while it asks. */
  readonly #challenges = new Map<string, SecureContext>()
  #all: readonly { readonly x509: X509Certificate; readonly context: SecureContext }[] = []

  /** @throws SluiceError as {@link replace} */
  constructor(certificates: readonly Certificate[], clientCa?: string) {
    this.#clientCa = clientCa
    this.replace(certificates)
  }

  /**
   * From now on these are the certificates; the first is for clients that ask for none of the names.
   *
   * @throws SluiceError `ERR_SLUICE_CONFIG` for one that cannot be used, or is not valid now; then nothing has changed
   */
  replace(certificates: readonly Certificate[]): void {
    const all = certificates.map((certificate) => ({
      x509: checked(certificate),
      context: contextOf(certificate, this.#clientCa),
    }))
    // OpenSSL keeps the default's certificate of another kind of key beside the one that SNI has chosen, and may show that.
    const [kind, other] = new Set(all.map(({ x509 }) => x509.publicKey.asymmetricKeyType))
    if (other !== undefined) {
      throw new SluiceError('ERR_SLUICE_CONFIG', `the certificates have keys of several kinds: ${kind}, ${other}`, {
        remedy: 'Give certificates of one kind, all RSA or all EC.',
      })
    }
    this.#all = all
  }

  /** Shows this to whoever asks for the name, until it is taken away by undefined. */
  challenge(name: string, certificate: Certificate | undefined): void {
    if (certificate === undefined) this.#challenges.delete(name.toLowerCase())
    else this.#challenges.set(name.toLowerCase(), contextOf(certificate, undefined))
  }

  /** The one for this name. */
  find(name: string): SecureContext | undefined {
    const challenge = this.#challenges.get(name.toLowerCase())
    if (challenge !== undefined) return challenge
    return (this.#all.find(({ x509 }) => x509.checkHost(name) !== undefined) ?? this.#all[0])?.context
  }
}

function contextOf({ cert, key }: Certificate, ca: string | undefined): SecureContext {
  try {
    return createSecureContext({ cert, key, ...TLS_DEFAULTS, ...(ca === undefined ? {} : { ca }) })
  } catch (cause) {
    throw badCertificate(cause)
  }
}

function checked({ cert }: Certificate): X509Certificate {
  let x509: X509Certificate
  try {
    x509 = new X509Certificate(cert)
  } catch (cause) {
    throw badCertificate(cause)
  }
  const now = Date.now()
  const whose = x509.subjectAltName ?? x509.subject
  if (Date.parse(x509.validTo) < now) {
    throw new SluiceError('ERR_SLUICE_CONFIG', `the certificate of ${whose} has expired: ${x509.validTo}`, {
      remedy: 'Renew it; a running server takes the new file by itself.',
    })
  }
  if (Date.parse(x509.validFrom) > now) {
    throw new SluiceError('ERR_SLUICE_CONFIG', `the certificate of ${whose} is not valid before ${x509.validFrom}`, {
      remedy: 'Check the clock.',
    })
  }
  return x509
}

function badCertificate(cause: unknown): SluiceError {
  return new SluiceError('ERR_SLUICE_CONFIG', `the certificate or its key cannot be used: ${messageOf(cause)}`, {
    cause,
    remedy: 'Both must be PEM, and the key must be that of the certificate.',
  })
}
