import { formatTarget, type ServerUrl, type Target } from '../../config/index.ts'
import { SluiceError } from '../../errors/index.ts'
import type { ClientLink, ClientLinkEvents, Way } from '../../link/index.ts'
import type { SessionOptions } from '../../session/index.ts'
import type { Target as WireTarget } from '../../wire/index.ts'
import { OPEN_TIMEOUT } from '../open.ts'
import { openFailure } from '../splice-failure.ts'
import { clientLink, type TunnelClientOptions } from '../tunnel-client.ts'
import type { Found } from './found.ts'
import { explain } from './upgrade.ts'

/** How a session travels, for people. */
export const WAY_NAMES: Readonly<Record<Way, string>> = {
  websocket: 'over WebSocket',
  http2: 'over HTTP/2',
  stream: 'over HTTP, with answers that are streamed',
  poll: 'over HTTP, with long polling',
  turns: 'over HTTP, one request at a time',
}

/** The target of the server's own that tells of the path and of us (spec/sluice-1.md §6). */
export const CHECK_TARGET: WireTarget = { kind: 'NAMED', name: 'sluice-check' }

/** How many round trips are measured; the shortest is told. */
const ROUND_TRIPS = 3

/** A session by one kind of carrier, for the time of a few round trips. @param ways all kinds that are tried */
export async function checkSession(options: TunnelClientOptions, way: Way, ways: readonly Way[]): Promise<Found> {
  try {
    return await withSession({ ...options, transport: way }, async (link) => {
      const times: number[] = []
      for (let i = 0; i < ROUND_TRIPS; i++) times.push(await roundTrip(link))
      const best = Math.min(...times)
      return {
        text: `a session ${WAY_NAMES[way]}, round trip ${best.toFixed(1)} ms`,
        facts: { roundTrip: best, roundTrips: times },
        // What is worse than this is tried only where more than one request at a time fails.
        obstacle: way === 'turns' && ways.length > 1 ? 'one-request-at-a-time' : undefined,
      }
    })
  } catch (error) {
    throw way === 'websocket' ? explain(error, dropped(options.url, options.timeout ?? OPEN_TIMEOUT)) : error
  }
}

/** What a session of a check is watched for. */
export interface SessionWatch {
  readonly events?: ClientLinkEvents
  readonly liveness?: SessionOptions['liveness']
  readonly carriers?: number
  /** How long it may take, in milliseconds, beyond the time for connecting. */
  readonly limit?: number
}

/** Does something with a session that ends with it. */
export async function withSession<T>(
  options: TunnelClientOptions,
  act: (link: ClientLink) => Promise<T>,
  { events, liveness, carriers = 1, limit = 0 }: SessionWatch = {},
): Promise<T> {
  const link = clientLink({
    ...options,
    carriers,
    ...(events === undefined ? {} : { events }),
    ...(liveness === undefined ? {} : { session: { liveness } }),
  })
  const connecting = options.timeout ?? OPEN_TIMEOUT
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(dropped(options.url, connecting)), 2 * connecting + limit)
  })
  try {
    return await Promise.race([link.connect().then(() => act(link)), late])
  } finally {
    clearTimeout(timer)
    link.abort('the check is over')
  }
}

function dropped(url: ServerUrl, limit: number): SluiceError {
  return new SluiceError(
    'ERR_SLUICE_TIMEOUT',
    `${url.authority} switched to WebSocket, but nothing comes through within ${limit / 1000} s`,
    {
      remedy:
        'Something on the way answers for the server and drops what is in the WebSocket; over TLS (wss://) it cannot.',
    },
  )
}

/** From asking for a target to the answer, whatever it is: one round trip through everything. */
export function roundTrip(link: ClientLink): Promise<number> {
  const started = performance.now()
  const took = () => performance.now() - started
  return openOnce(link, CHECK_TARGET, '@sluice-check').then(took, took)
}

/** Opens a stream and ends it; resolves with the address that the server connected to. */
function openOnce(link: ClientLink, target: WireTarget, name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const stream = link.open(target, {
      data: () => {},
      ended: () => {},
      opened: (address) => {
        stream.abort()
        resolve(address)
      },
      failed: (code, text) => reject(openFailure(code, text, name)),
      reset: (_, text) => reject(new SluiceError('ERR_SLUICE_CLOSED', `the stream to ${name} was reset: ${text}`)),
    })
  })
}

export async function checkTarget(options: TunnelClientOptions, target: Target): Promise<Found> {
  const wire: WireTarget = 'named' in target ? { kind: 'NAMED', name: target.named } : { kind: 'TCP', ...target }
  const address = await withSession(options, (link) => openOnce(link, wire, formatTarget(target)))
  return { text: `the server connects us to ${formatTarget(target)} (${address})`, facts: { address } }
}
