import { lookup } from 'node:dns/promises'
import net from 'node:net'

/** All addresses of a host; an address is its own. */
export type Resolver = (host: string) => Promise<string[]>

/** The system's resolver (getaddrinfo), each answer once, in its order. */
export const systemResolver: Resolver = async (host) => {
  if (net.isIP(host) !== 0) return [host]
  const answers = await lookup(host, { all: true, verbatim: true })
  return [...new Set(answers.map(({ address }) => address))]
}
