import { formatHostPort, type ServerUrl, targetPath } from '../../config/index.ts'
import { CREDENTIALS_REMEDY, SluiceError } from '../../errors/index.ts'
import { fieldValues, type HeaderFields } from '../../websocket/index.ts'
import { probe } from '../open.ts'
import type { TunnelClientOptions } from '../tunnel-client.ts'
import type { Found } from './found.ts'

/** A clock that is off by more than this makes certificates and tokens look expired. */
const CLOCK_OFF = 60_000

/** What answers HTTP there. A sluice server says 426 to what it would let in, 403 with the reason to what it would not, and 401. */
export async function checkHttp(options: TunnelClientOptions): Promise<Found> {
  const { url } = options
  const sent = Date.now()
  const asked = { host: '127.0.0.1', port: 9 }
  const { status, reason, fields, reasonLine } = await probe(url, targetPath(url, asked), options)
  const first = (name: string) => fieldValues(fields, name)[0]
  const server = first('server')
  const date = first('date')
  const facts = {
    status,
    server,
    via: first('via'),
    clockOffset: date === undefined ? undefined : Date.parse(date) - sent,
  }
  const who = server === undefined ? '' : ` (${server})`
  if (status === 401) {
    throw new SluiceError('ERR_SLUICE_AUTH', `the server does not accept the credentials: 401${who}`, {
      status,
      remedy: CREDENTIALS_REMEDY,
    })
  }
  if (status !== 426 && status !== 403) throw notSluice(url, status, reason, fields)
  const warnings =
    facts.clockOffset !== undefined && Math.abs(facts.clockOffset) > CLOCK_OFF
      ? [`the clocks differ by ${Math.round(facts.clockOffset / 1000)} s: certificates and tokens may look expired`]
      : []
  // Others say 403 too: only the reason tells that a rule said no, after the credentials were accepted.
  const known = status === 426 || reasonLine === `${formatHostPort(asked)} is not allowed`
  const text = known
    ? `sluice answers, and accepts the credentials${who}`
    : `the answer is 403${reasonLine === undefined ? '' : `: ${reasonLine}`}${who}; whether it is sluice's, the next step tells`
  return { text, warnings, facts }
}

function notSluice(url: ServerUrl, status: number, reason: string, fields: HeaderFields): SluiceError {
  const answer = `${status}${reason === '' ? '' : ` ${reason}`}`
  const front =
    fieldValues(fields, 'cf-ray').length > 0 ? 'Cloudflare' : (fieldValues(fields, 'server')[0] ?? 'a web server')
  if (status === 502 || status === 503 || status === 504) {
    return new SluiceError('ERR_SLUICE_UNREACHABLE', `${front} is there, but not the sluice behind it: ${answer}`, {
      status,
      remedy: 'Is sluice serve running, and at the address that the reverse proxy has for it?',
    })
  }
  const redirect = fieldValues(fields, 'location')[0]
  const remedy =
    redirect === undefined
      ? `Is ${url.prefix === '' ? 'a path missing in the URL' : `the path ${url.prefix}`} the one that leads to sluice, with all below it?`
      : `It points to ${redirect}: use that, or it is the sign-in page of a network that lets nothing through yet.`
  return new SluiceError('ERR_SLUICE_REFUSED', `${front} answers ${answer}, which sluice would not`, { status, remedy })
}
