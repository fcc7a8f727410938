import { createHash, timingSafeEqual } from 'node:crypto'
import type { TokenEntry } from '../config/index.ts'
import { fieldList, fieldValues, type HeaderFields } from '../websocket/index.ts'

/** Whom the server takes a request to be from. */
export interface Principal {
  readonly name: string
}

/** Decides who is asking; undefined is a refusal. Called once for each request, before its target is looked at. */
export interface Auth {
  authenticate(fields: HeaderFields): Principal | undefined
}

/** The subprotocol by which browsers, which cannot set headers, present a token. It is never echoed. */
export const BEARER_PROTOCOL = 'authorization.bearer.'

/** The token of a request: from `Authorization: Bearer` (RFC 6750 §2.1), or from the subprotocol. */
function presentedToken(fields: HeaderFields): string | undefined {
  const header = fieldValues(fields, 'authorization')
  if (header.length > 1) return undefined
  if (header.length === 1) return /^Bearer +(\S+)$/i.exec(header[0]!)?.[1]
  const offered = fieldList(fields, 'sec-websocket-protocol').filter((name) => name.startsWith(BEARER_PROTOCOL))
  return offered.length === 1 ? offered[0]!.slice(BEARER_PROTOCOL.length) : undefined
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Bearer tokens, kept as hashes and compared in constant time, all of them on every try. */
export class TokenAuth implements Auth {
  readonly #entries: readonly { readonly name: string; readonly hash: Buffer }[]

  constructor(entries: readonly TokenEntry[]) {
    this.#entries = entries.map(({ name, token, sha256: hex }) => ({
      name,
      hash: hex === undefined ? sha256(token ?? '') : Buffer.from(hex, 'hex'),
    }))
  }

  authenticate(fields: HeaderFields): Principal | undefined {
    const token = presentedToken(fields)
    const hash = sha256(token ?? '')
    let found: Principal | undefined
    for (const entry of this.#entries) {
      if (timingSafeEqual(entry.hash, hash)) found = { name: entry.name }
    }
    return token === undefined ? undefined : found
  }
}

/** Lets everybody in: for loopback behind a proxy that has asked already. */
export class NoAuth implements Auth {
  authenticate(): Principal {
    return { name: 'anyone' }
  }
}
