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
  PlainForward,
  type PlainTunnelOptions,
  probeServer,
  SessionForward,
  SessionTunnel,
  type SessionTunnelEvents,
} from '../../node/index.ts'
import type { Finish } from '../exit-codes.ts'
import { type ClientFlags, clientOptions, list, readClientFlags } from '../options.ts'
import type { Report } from '../report.ts'
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
    .option('--no-retry', 'give up if the first contact fails, whatever the reason')
    .addHelpText(
      'after',
      '\nExamples:\n  sluice connect wss://tunnel.example -L 5432:db:5432\n  psql -h 127.0.0.1 -p 5432\n  sluice connect ws://noVNC:6080 -L 5900:vnc:5900 --url-template /websockify',
    )
    .action(async (url: string, flags: ConnectFlags) => finish(await runConnect(url, flags)))
}

type ConnectFlags = ClientFlags & { local: string[]; retry: boolean }

/** A local forward that is being listened on, in whichever mode. */
interface Forward {
  listen(): Promise<HostPort>
  close(): void
}

interface Connecting {
  readonly options: PlainTunnelOptions
  readonly forwards: readonly LocalForward[]
  readonly report: Report
  readonly stop: Stop
  readonly retry: boolean
}

async function runConnect(urlText: string, flags: ConnectFlags): Promise<number> {
  const report = reportFor(flags)
  const forwards = flags.local.map(parseLocalForward)
  const options = {
    ...readClientFlags(urlText, flags),
    heartbeat: new Heartbeat(parseDuration(flags.pingInterval, '--ping-interval')),
  }
  const stop = onSignals()
  const connecting = { options, forwards, report, stop, retry: flags.retry }
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
  for (const forward of running) forward.close()
  return stop.exitCode
}

async function runSession(connecting: Connecting): Promise<number> {
  const { options, report, stop, forwards } = connecting
  let fail: (error: SluiceError) => void = () => {}
  const failed = new Promise<SluiceError>((resolve) => (fail = resolve))
  const tunnel = new SessionTunnel(
    { ...options, events: linkEvents(report) },
    tunnelEvents(report, (error) => fail(error)),
  )
  try {
    await firstContact(connecting, () => tunnel.connect())
  } catch (error) {
    if (!lacksSessions(error)) throw error
    report.say(`the server has no sessions (${messageOf(error)}): each connection gets a WebSocket of its own`)
    return runPlain(connecting)
  }
  if (stop.received === undefined) await Promise.race([askPolicy(forwards, options), stop.promise])
  if (stop.received !== undefined) return stop.exitCode
  stop.onHangUp(() => tunnel.retryNow())
  const running = await listenAll(connecting, (forward) => new SessionForward(forward, tunnel, sessionEvents(report)))
  const failure = await Promise.race([stop.promise, failed])
  for (const forward of running) forward.close()
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
      report.say(left > 0 ? `lost a WebSocket (${why}), ${left} left` : `connection lost (${why}): coming back`),
    retrying: (why, delay) => report.say(`${why}; trying again in ${(delay / 1000).toFixed(1)} s`),
    resumed: (after, resent) =>
      report.say(`resumed after ${(after / 1000).toFixed(1)} s, ${formatBytes(resent)} sent again`),
  }
}

function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`
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
): Promise<Forward[]> {
  const running: Forward[] = []
  for (const forward of forwards) {
    const one = make(forward)
    running.push(one)
    try {
      const bound = await one.listen()
      report.say(
        `listening on ${formatHostPort(bound)} for ${formatTarget(forward.target)} through ${formatServerUrl(options.url)}`,
      )
    } catch (error) {
      for (const other of running) other.close()
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
