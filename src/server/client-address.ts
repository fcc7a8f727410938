import { isIP } from 'node:net'
import type { HostPort } from '../config/index.ts'
import { type Networks, plainAddress } from './networks.ts'

/**
 * Whose a request is: the address nearest to us in `X-Forwarded-For` that is not a trusted proxy's, where the request comes
 * from one. What stands before it a client can have written.
 *
 * @param field the field's values, joined by commas as they come
 */
export function forwardedFor(peer: HostPort, field: string | string[] | undefined, trusted: Networks): HostPort {
  if (field === undefined || !trusted.has(peer.host)) return peer
  let client = peer
  for (const part of [field].flat().join(',').split(',').reverse()) {
    const address = addressIn(part.trim())
    if (address === undefined) break
    client = { host: address, port: 0 }
    if (!trusted.has(address)) break
  }
  return client
}

/** `192.0.2.7`, `192.0.2.7:1234`, `2001:db8::7` or `[2001:db8::7]:1234`. */
function addressIn(text: string): string | undefined {
  const bare = /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1] ?? text
  return isIP(bare) === 0 ? undefined : plainAddress(bare)
}
