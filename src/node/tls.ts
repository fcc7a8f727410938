import { createHash, timingSafeEqual, type X509Certificate } from 'node:crypto'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { SluiceError } from '../errors/index.ts'

/** How a client verifies the server. Nothing turns verification off: a pin or a CA of one's own takes its place. */
export interface TlsTrust {
  /** Certificates in PEM that are trusted instead of the system's. */
  readonly ca?: string | undefined
  /** `sha256/BASE64` of the server's public key (SubjectPublicKeyInfo, RFC 7469 §2.4); then no CA is asked. */
  readonly pin?: string | undefined
  /** What we show if the server asks who we are: a chain and its key, in PEM. */
  readonly certificate?: { readonly cert: string; readonly key: string } | undefined
}

const PIN = /^sha256\/([A-Za-z0-9+/]{43}=)$/

/** The pin of a certificate's public key. */
export function pinOf(certificate: X509Certificate): string {
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' })
  return `sha256/${createHash('sha256').update(spki).digest('base64')}`
}

/**
 * Checks the form of a pin.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parsePin(text: string): string {
  if (!PIN.test(text)) {
    throw new SluiceError(
      'ERR_SLUICE_USAGE',
      `pin ${JSON.stringify(text)} is not sha256/ followed by 44 characters of base64`,
      {
        remedy: 'Copy it from the line that "sluice serve --tls-self-signed" prints.',
      },
    )
  }
  return text
}

/** The options for tls.connect() that follow from the trust. */
export function trustOptions({ ca, pin, certificate }: TlsTrust): ConnectionOptions {
  // With a pin the key is compared after the handshake and before a byte is sent: see checkPeer.
  return {
    minVersion: 'TLSv1.2',
    ...(ca === undefined ? {} : { ca }),
    ...certificate,
    ...(pin === undefined ? {} : { rejectUnauthorized: false }),
  }
}

/**
 * After the TLS handshake, before anything is sent: compares the pin, if there is one.
 *
 * @throws SluiceError `ERR_SLUICE_TLS`
 */
export function checkPeer(socket: TLSSocket, { pin }: TlsTrust): void {
  if (pin !== undefined) checkPin(socket.getPeerX509Certificate(), pin)
}

/** @throws SluiceError `ERR_SLUICE_TLS` */
export function checkPin(certificate: X509Certificate | undefined, pin: string): void {
  const got = certificate === undefined ? 'none' : pinOf(certificate)
  if (got.length === pin.length && timingSafeEqual(Buffer.from(got), Buffer.from(pin))) return
  throw new SluiceError('ERR_SLUICE_TLS', `the server's key is not the pinned one: got ${got}, expected ${pin}`, {
    remedy: 'If the server has a new key, take its pin from the server itself, never from this message alone.',
  })
}

const CERTIFICATE_ERRORS = /^(CERT_|ERR_TLS_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|INVALID_CA)/

/** A connection error in words of TLS, if that is what it is. */
export function tlsError(error: NodeJS.ErrnoException): SluiceError | undefined {
  // An abort's code is a number.
  const code = String(error.code ?? '')
  if (!CERTIFICATE_ERRORS.test(code) && !code.startsWith('ERR_SSL')) return undefined
  if (code.startsWith('ERR_SSL_WRONG_VERSION') || code.startsWith('ERR_SSL_PACKET')) {
    return new SluiceError('ERR_SLUICE_TLS', `the server does not speak TLS here (${code})`, {
      cause: error,
      remedy: 'If it has no TLS, use ws:// instead of wss://.',
    })
  }
  return new SluiceError(
    'ERR_SLUICE_TLS',
    `the server's certificate is not trusted: ${error.message.split(';')[0]} (${code})`,
    {
      cause: error,
      remedy: 'For a private certificate give --ca FILE, or --pin sha256/… as the server printed it.',
    },
  )
}
