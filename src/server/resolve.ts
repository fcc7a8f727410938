import { Resolver as DnsClient, lookup } from 'node:dns/promises'
import net from 'node:net'
import { messageOf, SluiceError } from '../errors/index.ts'

/** All addresses of a host; an address is its own. */
export type Resolver = (host: string) => Promise<string[]>

/** The system's resolver (getaddrinfo), each answer once, in its order. */
export const systemResolver: Resolver = async (host) => {
  if (net.isIP(host) !== 0) return [host]
  const answers = await lookup(host, { all: true, verbatim: true })
  return [...new Set(answers.map(({ address }) => address))]
}

/**
 * Asks these DNS servers, and not the system: neither its hosts file nor its search list.
 *
 * @param servers `10.0.0.53`, `10.0.0.53:5353` or `[fd00::53]:53`
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function dnsResolver(servers: readonly string[]): Resolver {
  const resolver = new DnsClient({ timeout: 3_000, tries: 2 })
  try {
    resolver.setServers([...servers])
  } catch (cause) {
    throw new SluiceError('ERR_SLUICE_USAGE', `--resolver ${servers.join(' ')}: ${messageOf(cause)}`, {
      cause,
      remedy: 'Write an address, and a port if it is not 53: 10.0.0.53, 10.0.0.53:5353, [fd00::53]:53.',
    })
  }
  return async (host) => {
    if (net.isIP(host) !== 0) return [host]
    const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
    const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
    const [first] = answers
    if (found.length === 0 && first.status === 'rejected') throw first.reason
    return [...new Set(found)]
  }
}
