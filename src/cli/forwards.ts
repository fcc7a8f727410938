import {
  type Forward,
  formatEndpoint,
  formatServerUrl,
  formatTarget,
  plainTarget,
  type Target,
} from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import type { ClientLink } from '../link/index.ts'
import {
  PlainForward,
  type PlainTunnelOptions,
  ReverseForward,
  SessionForward,
  type SessionForwardEvents,
  type SessionTunnel,
  type StreamEndpoint,
  UdpForward,
} from '../node/index.ts'
import type { ProxyCredentials } from '../proxy/index.ts'
import { OpenError } from '../wire/index.ts'
import type { Report } from './report.ts'
import type { ForwardState } from './state.ts'

/** Forwards that run. */
export interface Forwards {
  states(): ForwardState[]
  close(): void
}

export interface ForwardsContext {
  readonly forwards: readonly Forward[]
  readonly options: PlainTunnelOptions
  readonly report: Report
  readonly credentials: ProxyCredentials | undefined
}

interface Running {
  readonly connections: number
  close(): void
}

/** What was started, to be shown and to be ended together. */
class Started implements Forwards {
  readonly #all: { readonly forward: Forward; readonly running: Running; listen(): string }[] = []

  add(forward: Forward, running: Running, listen: () => string): void {
    this.#all.push({ forward, running, listen })
  }

  states(): ForwardState[] {
    return this.#all.map(({ forward, running, listen }) => ({
      listen: forward.direction === 'local' ? listen() : `server ${listen()}`,
      target: formatEndpoint(forward.target),
      connections: running.connections,
    }))
  }

  close(): void {
    for (const { running } of this.#all) running.close()
  }
}

/** Starts every forward on a tunnel; none is left running if one cannot be. */
export async function startForwards(context: ForwardsContext, tunnel: SessionTunnel): Promise<Forwards> {
  const { forwards, options, report, credentials } = context
  const started = new Started()
  const events = forwardEvents(report)
  const through = formatServerUrl(options.url)
  const reverses: ReverseForward[] = []
  try {
    for (const forward of forwards) {
      if (forward.direction === 'reverse') {
        const reverse = await startReverse(forward, tunnel, report)
        reverses.push(reverse)
        started.add(forward, reverse, () => reverse.address ?? 'waiting')
        continue
      }
      const local = isUdp(forward)
        ? new UdpForward(forward, tunnel, events)
        : new SessionForward(forward as Forward & { listen: StreamEndpoint }, tunnel, events, { credentials })
      const bound = formatEndpoint(await local.listen())
      started.add(forward, local, () => bound)
      const what = forward.target.kind === 'dynamic' ? 'SOCKS and HTTP proxy' : formatEndpoint(forward.target)
      report.say(`listening on ${bound} for ${what} through ${through}`)
    }
  } catch (error) {
    started.close()
    throw error
  }
  tunnel.use((link) => {
    link.onOpened = (stream) => {
      const reverse = reverses.find((candidate) => candidate.owns(link, stream))
      if (reverse === undefined) stream.refuse(OpenError.NOT_ALLOWED, 'there is no such listener')
      else reverse.accept(link, stream)
    }
  })
  return started
}

function isUdp({ listen }: Forward): boolean {
  return listen.kind === 'udp'
}

/** Resolves once the server listens; a server that does not at the start ends it all, later it is only told. */
function startReverse(forward: Forward, tunnel: SessionTunnel, report: Report): Promise<ReverseForward> {
  return new Promise((resolve, reject) => {
    let begun = false
    const target = forward.target.kind === 'dynamic' ? 'SOCKS and HTTP proxy from here' : formatEndpoint(forward.target)
    const reverse = new ReverseForward(forward, {
      ...forwardEvents(report),
      listening: (address) => {
        report.say(`the server listens on ${address} for ${target}`)
        begun = true
        resolve(reverse)
      },
      refused: (error) => {
        if (begun) report.problem(error)
        else {
          reverse.close()
          reject(error)
        }
      },
    })
    tunnel.use((link: ClientLink) => reverse.attach(link))
  })
}

/** What plain mode can carry of a forward. @throws SluiceError `ERR_SLUICE_USAGE` */
export function plainPair(forward: Forward): { forward: Forward; bind: StreamEndpoint; target: Target } {
  const { direction, listen } = forward
  const target = plainTarget(forward.target)
  if (direction === 'local' && listen.kind !== 'udp' && target !== undefined) {
    return { forward, bind: listen as StreamEndpoint, target }
  }
  throw new SluiceError('ERR_SLUICE_USAGE', 'plain mode carries -L to TCP targets and names only', {
    remedy: 'For -R, -D, UDP and unix sockets the server must be sluice, and --plain must not be given.',
  })
}

export async function startPlain(
  { options, report }: ForwardsContext,
  pairs: readonly ReturnType<typeof plainPair>[],
): Promise<Forwards> {
  const started = new Started()
  const { opened, failed } = forwardEvents(report)
  const events = {
    opened: (target: Target) => opened(formatTarget(target)),
    failed: (target: Target, error: SluiceError) => failed(formatTarget(target), error),
    finished: (target: Target, { bytesUp, bytesDown }: { bytesUp: number; bytesDown: number }) =>
      report.detail(ended(formatTarget(target), bytesUp, bytesDown)),
  }
  try {
    for (const { forward, bind, target } of pairs) {
      const plain = new PlainForward(bind, target, options, events)
      const bound = formatEndpoint(await plain.listen())
      started.add(forward, plain, () => bound)
      report.say(`listening on ${bound} for ${formatTarget(target)} through ${formatServerUrl(options.url)}`)
    }
  } catch (error) {
    started.close()
    throw error
  }
  return started
}

function forwardEvents(report: Report): Required<SessionForwardEvents> {
  return {
    opened: (target) => report.detail(`${target}: opened`),
    finished: (target, { sent, received }) => report.detail(ended(target, sent, received)),
    failed: (target, { code, message, remedy }) =>
      report.problem(
        new SluiceError(code, `connection to ${target}: ${message}`, remedy === undefined ? {} : { remedy }),
      ),
  }
}

function ended(target: string, up: number, down: number): string {
  return `${target}: ended, ${up} bytes up, ${down} down`
}
