import { X509Certificate } from 'node:crypto'
import net from 'node:net'
import { pinOf } from '../node/index.ts'

/** A certificate made on the spot, and the pin by which a client knows it. */
export interface SelfSigned {
  readonly cert: string
  readonly key: string
  readonly pin: string
}

/** A self-signed certificate for these names and addresses, valid for a year. The library is loaded only here. */
export async function selfSigned(names: readonly string[]): Promise<SelfSigned> {
  const { generate } = await import('selfsigned')
  const altNames = names.map((name) =>
    net.isIP(name) ? { type: 7 as const, ip: name } : { type: 2 as const, value: name },
  )
  const made = await generate([{ name: 'commonName', value: names[0] ?? 'localhost' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notAfterDate: new Date(Date.now() + 365 * 86_400_000),
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames },
    ],
  })
  return { cert: made.cert, key: made.private, pin: pinOf(new X509Certificate(made.cert)) }
}
