import { formatProxyUrl, formatServerUrl } from '../../config/index.ts'
import { WAYS, type Way } from '../../link/index.ts'
import type { TunnelClientOptions } from '../tunnel-client.ts'
import type { CheckName, CheckStep } from './check.ts'
import type { ObstacleName } from './found.ts'
import { WAY_NAMES } from './session.ts'

/**
 * All in a sentence, once every step is known.
 *
 * @param flags what must be given to `connect` as it was to the check, as it would be typed
 */
export function verdictOf({ url, proxy }: TunnelClientOptions, steps: readonly CheckStep[], flags = ''): string {
  const where = `${formatServerUrl(url)}${proxy === undefined ? '' : ` through ${formatProxyUrl(proxy)}`}`
  const last = steps.at(-1)!
  const works = steps.find((step): step is CheckStep & { name: Way } => step.ok && isWay(step.name))
  if (works === undefined) {
    return `${where} does not work: ${isWay(last.name) ? NOTHING_THROUGH : IN_THE_WAY[last.name as keyof typeof IN_THE_WAY]}`
  }
  const failed = steps.find(({ name, ok }) => !ok && !isWay(name))
  if (failed !== undefined) return `${where} does not do all: ${IN_THE_WAY[failed.name as keyof typeof IN_THE_WAY]}`
  const found = [...new Set(steps.flatMap(({ obstacle }) => obstacle ?? []))].map((name) => OBSTACLES[name])
  const command = `sluice connect ${formatServerUrl(url)}${flags === '' ? '' : ` ${flags}`} -L PORT:HOST:PORT`
  const detour = steps.some(({ name, ok }) => name === 'websocket' && !ok)
  const way =
    works.name === 'websocket'
      ? ''
      : ` ${detour ? 'finds its way by itself, and goes' : 'goes'} ${WAY_NAMES[works.name]}`
  return `${where} works${found.length === 0 ? '' : `, though ${inWords(found)}`}: ${command}${way}`
}

function isWay(name: CheckName): name is Way {
  return WAYS.includes(name as Way)
}

function inWords(parts: readonly string[]): string {
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`
}

const NOTHING_THROUGH = 'plain HTTP gets through, and neither WebSocket nor requests that carry a session do'

const IN_THE_WAY = {
  name: 'its name is not known here',
  proxy: 'the proxy is in the way',
  tcp: 'it cannot be reached',
  tls: 'TLS is in the way',
  http: 'what answers there is not a sluice that lets us in',
  target: 'the server is fine, the target is not',
  bodies: 'requests are cut off',
  user: 'the session is cut off',
  rate: 'the session is cut off while much is moved',
  several: 'several connections at once are cut off',
  idle: 'the session is cut off when it is quiet',
  age: 'the session is cut off after a time',
} as const

const OBSTACLES: Readonly<Record<ObstacleName, string>> = {
  'dead-address': 'one of its addresses never answers',
  'upgrade-removed': 'something removes Upgrade from requests, so that there is no WebSocket',
  'upgrade-refused': 'something refuses WebSocket',
  'websocket-reset': 'connections that ask for a WebSocket are reset',
  'websocket-dropped': 'what is in a WebSocket is dropped',
  'requests-kept-back': 'requests are kept back until they are whole',
  'answers-kept-back': 'answers are kept back until they are whole',
  'one-request-at-a-time': 'only one request is let through at a time',
  'cut-by-size': 'connections are cut when much has gone through them',
  'cut-when-idle': 'connections are cut when they are quiet',
  'cut-by-age': 'connections are cut when they are old',
  'slow-connections': 'each connection is slowed',
  'slow-line': 'the line is slow',
}
