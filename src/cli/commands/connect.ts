import { Command } from 'commander'
import {
  formatHostPort,
  formatServerUrl,
  formatTarget,
  type HostPort,
  type LocalForward,
  parseDuration,
  parseLocalForward,
} from '../../config/index.ts'
import { messageOf, SluiceError } from '../../errors/index.ts'
import type { ClientLinkEvents } from '../../link/index.ts'
import {
  FINAL_ERRORS,
  Heartbeat,
  lacksSessions,
  PathMemory,
  PlainForward,
  type PlainTunnelOptions,
  probeServer,
  SessionForward,
  SessionTunnel,
  type SessionTunnelEvents,
} from '../../node/index.ts'
import type { Finish } from '../exit-codes.ts'
import { type ClientFlags, clientOptions, list, readClientFlags, value } from '../options.ts'
import type { Report } from '../report.ts'
import { clientState, type ForwardState } from '../state.ts'
import { pathsFile, StatusSocket } from '../status-socket.ts'
import { formatBytes } from '../units.ts'
import { onSignals, reportFor, type Stop } from '../world.ts'

const FIRST_DELAY = 250
const MOST_DELAY = 30_000

export function connectCommand(finish: Finish): Command {
  const command = new Command('connect')
    .description('listen here, and carry what comes through a WebSocket to targets on the other side')
    .argument('<url>', 'the server: wss://host[:port][/prefix], ws://…, or host[:port]')
    .addOption(
      list(
        '-L, --local <spec>',
        '[BIND:]PORT:HOST:HOSTPORT or [BIND:]PORT:@NAME (repeatable)',
        'SLUICE_LOCAL',
      ).makeOptionMandatory(),
    )
  for (const option of clientOptions()) command.addOption(option)
  return command
    .addOption(
      value(
        '--carriers <n>',
        'WebSockets for each session: 1 to 8, or auto: more while they help',
        'SLUICE_CARRIERS',
        'auto',
      ),
    )
    .option('--no-retry', 'give up if the first contact fails, whatever the reason')
    .addHelpText(
      'after',
      '\nExamples:\n  sluice connect wss://tunnel.example -L 5432:db:5432\n  psql -h 127.0.0.1 -p 5432\n  sluice connect ws://noVNC:6080 -L 5900:vnc:5900 --url-template /websockify',
    )
    .action(async (url: string, flags: ConnectFlags) => finish(await runConnect(url, flags)))
}

type ConnectFlags = ClientFlags & { local: string[]; carriers: string; retry: boolean }

/** A local forward that is being listened on, in whichever mode. */
interface Forward {
  readonly connections: number
  listen(): Promise<HostPort>
  close(): void
}

interface Running {
  readonly forward: Forward
  readonly bound: HostPort
}

interface Connecting {
  readonly options: PlainTunnelOptions
  readonly forwards: readonly LocalForward[]
  readonly report: Report
  readonly stop: Stop
  readonly retry: boolean
  readonly carriers: number | 'auto'
}

async function runConnect(urlText: string, flags: ConnectFlags): Promise<number> {
  const report = reportFor(flags)
  const forwards = flags.local.map(parseLocalForward)
  const options = {
    ...readClientFlags(urlText, flags),
    heartbeat: new Heartbeat(parseDuration(flags.pingInterval, '--ping-interval')),
  }
  const stop = onSignals()
  const connecting = { options, forwards, report, stop, retry: flags.retry, carriers: parseCarriers(flags.carriers) }
  try {
    const plain = flags.plain || options.template !== undefined
    return await (plain ? runPlain(connecting) : runSession(connecting))
  } finally {
    stop.release()
  }
}

async function runPlain(connecting: Connecting): Promise<number> {
  const { options, forwards, stop, report } = connecting
  await firstContact(connecting, async () => {
    for (const { target } of forwards) await probeServer(options, target)
  })
  if (stop.received !== undefined) return stop.exitCode
  const running = await listenAll(connecting, (forward) => new PlainForward(forward, options, plainEvents(report)))
  await stop.promise
  for (const { forward } of running) forward.close()
  return stop.exitCode
}

async function runSession(connecting: Connecting): Promise<number> {
  const { options, report, stop, forwards, carriers } = connecting
  const paths = new PathMemory(pathsFile())
  let fail: (error: SluiceError) => void = () => {}
  const failed = new Promise<SluiceError>((resolve) => (fail = resolve))
  const tunnel = new SessionTunnel(
    { ...options, carriers, paths, events: linkEvents(report) },
    tunnelEvents(report, (error) => fail(error)),
  )
  try {
    await firstContact(connecting, () => tunnel.connect())
  } catch (error) {
    if (!lacksSessions(error)) throw error
    report.say(`the server has no sessions (${messageOf(error)}): each connection gets a WebSocket of its own`)
    return runPlain(connecting)
  }
  try {
    if (stop.received === undefined) await Promise.race([askPolicy(forwards, options), stop.promise])
  } catch (error) {
    await tunnel.close()
    throw error
  }
  if (stop.received !== undefined) return stop.exitCode
  stop.onHangUp(() => tunnel.retryNow())
  const running = await listenAll(connecting, (forward) => new SessionForward(forward, tunnel, sessionEvents(report)))
  const status = new StatusSocket(() => clientState(options.url, tunnel, forwardStates(forwards, running), paths.known))
  status.open()
  const failure = await Promise.race([stop.promise, failed])
  status.close()
  for (const { forward } of running) forward.close()
  await Promise.race([tunnel.close(), stop.again])
  if (failure !== undefined) throw failure
  return stop.exitCode
}

/** Whether the server would let us to these targets, as far as it can tell without resolving names: better known now than at the first use. */
async function askPolicy(forwards: readonly LocalForward[], options: PlainTunnelOptions): Promise<void> {
  for (const { target } of forwards) {
    try {
      await probeServer(options, target)
    } catch (error) {
      if (error instanceof SluiceError && error.code === 'ERR_SLUICE_POLICY') throw error
      // Whatever else is said of plain mode does not matter to a session.
    }
  }
}

function tunnelEvents(report: Report, fail: (error: SluiceError) => void): SessionTunnelEvents {
  return {
    gone: (error) => report.say(`${messageOf(error)}; its connections are reset, and a new session is begun`),
    retrying: (error, delay) => report.say(`${messageOf(error)}; trying again in ${(delay / 1000).toFixed(1)} s`),
    renewed: () => report.say('a new session is there'),
    failed: fail,
  }
}

function linkEvents(report: Report): ClientLinkEvents {
  return {
    lost: (why, left) =>
      left > 0
        ? report.detail(`lost a WebSocket (${why}), ${left} left`)
        : report.say(`connection lost (${why}): coming back`),
    retrying: (why, delay) => report.say(`${why}; trying again in ${(delay / 1000).toFixed(1)} s`),
    resumed: ({ after, resent, streams }) =>
      report.say(
        `resumed after ${(after / 1000).toFixed(1)} s, ${formatBytes(resent)} sent again, ${streams} stream${streams === 1 ? '' : 's'} kept`,
      ),
    carriers: (count) => report.detail(`WebSockets of the session: ${count}`),
    leaving: () => report.say('the server shuts down: its connections may finish, new ones go to a new session'),
  }
}

function forwardStates(forwards: readonly LocalForward[], running: readonly Running[]): ForwardState[] {
  return running.map(({ forward, bound }, index) => ({
    listen: formatHostPort(bound),
    target: formatTarget(forwards[index]!.target),
    connections: forward.connections,
  }))
}

function parseCarriers(text: string): number | 'auto' {
  if (text === 'auto') return text
  if (/^[1-8]$/.test(text)) return Number(text)
  throw new SluiceError('ERR_SLUICE_USAGE', `--carriers ${JSON.stringify(text)} is not a number from 1 to 8, nor auto`)
}

/** Tries until the way is open, or something fails that will not mend itself. */
async function firstContact<T>({ options, report, stop, retry }: Connecting, contact: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      const result = await contact()
      report.detail(`${formatServerUrl(options.url)} is there and lets us in`)
      return result
    } catch (error) {
      if (stop.received !== undefined) return undefined as T
      const final = error instanceof SluiceError && (FINAL_ERRORS.has(error.code) || lacksSessions(error))
      if (!retry || !(error instanceof SluiceError) || final) throw error
      const most = Math.min(MOST_DELAY, FIRST_DELAY * 2 ** attempt)
      const delay = most / 2 + Math.random() * (most / 2)
      report.say(`${messageOf(error)}; trying again in ${(delay / 1000).toFixed(1)} s`)
      await stop.sleep(delay)
    }
  }
}

async function listenAll(
  { forwards, options, report }: Connecting,
  make: (forward: LocalForward) => Forward,
): Promise<Running[]> {
  const running: Running[] = []
  for (const forward of forwards) {
    const one = make(forward)
    try {
      const bound = await one.listen()
      running.push({ forward: one, bound })
      report.say(
        `listening on ${formatHostPort(bound)} for ${formatTarget(forward.target)} through ${formatServerUrl(options.url)}`,
      )
    } catch (error) {
      for (const other of running) other.forward.close()
      throw error
    }
  }
  return running
}

type Target = LocalForward['target']

function plainEvents(report: Report) {
  return {
    opened: (target: Target) => report.detail(`${formatTarget(target)}: opened`),
    finished: (target: Target, { bytesUp, bytesDown }: { bytesUp: number; bytesDown: number }) =>
      report.detail(`${formatTarget(target)}: ended, ${bytesUp} bytes up, ${bytesDown} down`),
    failed: (target: Target, error: SluiceError) => report.problem(prefixed(target, error)),
  }
}

function sessionEvents(report: Report) {
  const { opened, finished, failed } = plainEvents(report)
  return {
    opened,
    failed,
    finished: (target: Target, { sent, received }: { sent: number; received: number }) =>
      finished(target, { bytesUp: sent, bytesDown: received }),
  }
}

function prefixed(target: Target, error: SluiceError): SluiceError {
  const facts = error.remedy === undefined ? {} : { remedy: error.remedy }
  return new SluiceError(error.code, `connection to ${formatTarget(target)}: ${error.message}`, facts)
}
