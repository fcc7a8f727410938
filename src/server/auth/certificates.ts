import type { PeerCertificate } from 'node:tls'
import type { Asking, Auth, Principal } from './auth.ts'

/** What of a certificate is the name of its holder: the subject's common name, or the first of a kind of subject alternative names. */
export const CERTIFICATE_NAMES = ['cn', 'email', 'dns', 'uri'] as const
export type CertificateName = (typeof CERTIFICATE_NAMES)[number]

/** Client certificates (RFC 8446 §4.3.2) that the server's CA of clients has signed; TLS itself has checked them. */
export class CertificateAuth implements Auth {
  readonly #by: CertificateName
  readonly #now: () => number
  readonly #expires = new WeakMap<Principal, number>()

  readonly expiring = true

  constructor(by: CertificateName = 'cn', now: () => number = Date.now) {
    this.#by = by
    this.#now = now
  }

  authenticate({ certificate }: Asking): Principal | undefined {
    const name = certificate === undefined ? undefined : nameOf(certificate, this.#by)
    if (certificate === undefined || name === undefined) return undefined
    const expires = Date.parse(certificate.valid_to)
    if (this.#now() >= expires) return undefined
    const { OU: units = [] } = certificate.subject as { OU?: string | string[] }
    const principal = { name: `cert:${name}`, groups: typeof units === 'string' ? [units] : units }
    this.#expires.set(principal, expires)
    return principal
  }

  still(principal: Principal): boolean {
    return this.#now() < (this.#expires.get(principal) ?? 0)
  }
}

function nameOf({ subject, subjectaltname = '' }: PeerCertificate, by: CertificateName): string | undefined {
  if (by === 'cn') {
    const { CN } = subject as { CN?: string | string[] }
    // Of several none is more the holder's than another.
    return typeof CN === 'string' && CN !== '' ? CN : undefined
  }
  const kind = { email: 'email', dns: 'DNS', uri: 'URI' }[by]
  // A name with a comma or a quote is written quoted there (CVE-2021-44532): such are not taken.
  const names = subjectaltname.split(', ').filter((part) => part.startsWith(`${kind}:`))
  return names[0] !== undefined && !names[0].includes('"') ? names[0].slice(kind.length + 1) : undefined
}
