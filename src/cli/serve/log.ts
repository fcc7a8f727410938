import { formatHostPort, type HostPort } from '../../config/index.ts'
import type { SelfSigned, ServerOptions, TunnelEvent } from '../../server/index.ts'
import type { Report } from '../report.ts'

/** Says where the server listens and, if it made its own credentials, the one line to paste. */
export function announce(
  report: Report,
  bound: HostPort,
  prefix: string,
  tls: ServerOptions['tls'] | SelfSigned,
  token: string | undefined,
): void {
  const anywhere = bound.host === '::' || bound.host === '0.0.0.0'
  const url = `${tls === undefined ? 'ws' : 'wss'}://${formatHostPort({ host: anywhere ? 'THIS-HOST' : bound.host, port: bound.port })}${prefix}`
  const pin = tls !== undefined && 'pin' in tls ? ` --pin ${tls.pin}` : ''
  report.say(`serving on ${url.replace('THIS-HOST', '*')}`)
  if (token !== undefined || pin !== '') {
    const secret = token === undefined ? '' : `SLUICE_TOKEN=${token} `
    report.say(`connect with: ${secret}sluice connect ${url}${pin} -L 5432:HOST:5432`)
  }
}

export function logEvent(report: Report, event: TunnelEvent): void {
  if (event.type === 'refused') report.say(`${event.from}: refused with ${event.status}: ${event.message}`)
  else if (event.type === 'opened') report.detail(`${event.from} (${event.principal}): ${event.target} opened`)
  else if (event.type === 'failed')
    report.say(
      `${event.from} (${event.principal}): ${event.target} failed with ${event.code} ${event.reason}: ${event.detail}`,
    )
  else if (event.type === 'session')
    report.detail(
      `${event.from} (${event.principal}): session ${event.what}${event.detail === '' ? '' : `: ${event.detail}`}`,
    )
  else {
    const { bytesUp, bytesDown, how } = event.outcome
    report.detail(
      `${event.from} (${event.principal}): ${event.target} ended (${how}), ${bytesUp} bytes up, ${bytesDown} down`,
    )
  }
}
