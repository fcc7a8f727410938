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

/** Lines a second about requests that were refused; of more than these only the number is told. */
const REFUSALS = 10

/** Says what happens at a server. Whoever floods it does not flood the log too; the audit log has every one. */
export class EventLog {
  readonly #report: Report
  #refusals = 0
  #timer: NodeJS.Timeout | undefined

  constructor(report: Report) {
    this.#report = report
  }

  readonly take = (event: TunnelEvent): void => {
    if (event.type === 'refused') this.#refused(event)
    else logEvent(this.#report, event)
  }

  #refused({ from, status, message }: Extract<TunnelEvent, { type: 'refused' }>): void {
    if (++this.#refusals <= REFUSALS) this.#report.say(`${from}: refused with ${status}: ${message}`)
    this.#timer ??= setTimeout(() => this.flush(), 1_000).unref()
  }

  /** Tells of those that were not told of. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const more = this.#refusals - REFUSALS
    this.#refusals = 0
    if (more > 0) this.#report.say(`${more} more request${more === 1 ? ' was' : 's were'} refused within a second`)
  }
}

function logEvent(report: Report, event: Exclude<TunnelEvent, { type: 'refused' }>): void {
  if (event.type === 'opened') report.detail(`${event.from} (${event.principal}): ${event.target} opened`)
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
