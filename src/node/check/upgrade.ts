import { SluiceError } from '../../errors/index.ts'
import { fieldValues, type HeaderFields } from '../../websocket/index.ts'
import { RefusedUpgrade } from '../open.ts'
import { Blocked } from './found.ts'

/** What of an answer tells who gave it. */
const TELLING = ['server', 'via', 'cf-ray', 'x-amz-cf-id', 'x-served-by', 'x-cache', 'x-squid-error', 'x-powered-by']

/** Who may stand in front, by what its answers say, and what lets it pass WebSockets on. */
const FRONTS: readonly (readonly [pattern: RegExp, remedy: string])[] = [
  [
    /cf-ray|server: cloudflare/i,
    'Cloudflare is in front: turn on WebSockets for the zone (Network), and look whether what it asks passes Upgrade on.',
  ],
  [
    /x-amz-cf-id|cloudfront/i,
    'CloudFront is in front: let its behaviour forward all of Sec-WebSocket-*, with caching off, and look at what it asks.',
  ],
  [
    /awselb/i,
    'A load balancer of AWS is in front: it passes WebSocket only to target groups whose protocol version is HTTP1.',
  ],
  [
    /varnish/i,
    'Varnish is in front: it needs "return (pipe)" for requests with Upgrade, and to hand Upgrade and Connection on in vcl_pipe.',
  ],
  [
    /apache/i,
    'Apache httpd is in front: it needs mod_proxy_http with "upgrade=websocket" (2.4.47 and newer), or mod_proxy_wstunnel.',
  ],
  [/iis|arr\//i, 'IIS is in front: install its WebSocket Protocol feature, and leave it on for the site.'],
]

const ANY_FRONT =
  'Something between removes Upgrade. nginx needs "proxy_http_version 1.1", "proxy_set_header Upgrade $http_upgrade" and ' +
  '"proxy_set_header Connection upgrade"; other proxies must be told to allow WebSocket. Over wss:// what is between cannot.'

/**
 * What stands behind a handshake that failed although HTTP gets through.
 *
 * @param dropped the error for one that was answered with 101, after which nothing comes
 */
export function explain(error: unknown, dropped: SluiceError): unknown {
  if (!(error instanceof SluiceError)) return error
  const { code, message, status, cause } = error
  const options = status === undefined ? {} : { status }
  if (code === 'ERR_SLUICE_REFUSED' && status !== 101) {
    const fields = cause instanceof RefusedUpgrade ? cause.fields : []
    const told = tellingOf(fields)
    const remedy = FRONTS.find(([pattern]) => pattern.test(told))?.[1] ?? ANY_FRONT
    const text = told === '' ? message : `${message} (${told})`
    return new Blocked('upgrade-removed', new SluiceError(code, text, { remedy, ...options }), { fields })
  }
  if (code === 'ERR_SLUICE_POLICY') {
    const fields = cause instanceof RefusedUpgrade ? cause.fields : []
    const told = tellingOf(fields)
    const text = told === '' ? message : `${message} (${told})`
    const remedy = error.remedy === undefined ? {} : { remedy: error.remedy }
    return new Blocked('upgrade-refused', new SluiceError(code, text, { ...remedy, ...options }), { fields })
  }
  if (code === 'ERR_SLUICE_TIMEOUT' && (error.remedy === undefined || message === dropped.message)) {
    return new Blocked('websocket-dropped', dropped)
  }
  if (code === 'ERR_SLUICE_UNREACHABLE' || code === 'ERR_SLUICE_CLOSED') {
    const remedy =
      'Plain HTTP gets through, and WebSocket does not: something on the way forbids it. Over wss:// it cannot be seen, unless TLS is opened on the way.'
    return new Blocked('websocket-reset', new SluiceError(code, message, { remedy, ...options }))
  }
  return error
}

function tellingOf(fields: HeaderFields): string {
  return TELLING.flatMap((name) => fieldValues(fields, name).map((value) => `${name}: ${value}`)).join('; ')
}
