import { Command } from 'commander'
import {
  formatHostPort,
  formatServerUrl,
  formatTarget,
  type LocalForward,
  parseDuration,
  parseLocalForward,
} from '../../config/index.ts'
import { messageOf, SluiceError, type SluiceErrorCode } from '../../errors/index.ts'
import { type ForwardEvents, Heartbeat, PlainForward, type PlainTunnelOptions, probeServer } from '../../node/index.ts'
import type { Finish } from '../exit-codes.ts'
import { type ClientFlags, clientOptions, list, readClientFlags } from '../options.ts'
import type { Report } from '../report.ts'
import { onSignals, reportFor } from '../world.ts'

/** What no second try will mend: exit with the code. */
const FINAL = new Set<SluiceErrorCode>([
  'ERR_SLUICE_AUTH',
  'ERR_SLUICE_TLS',
  'ERR_SLUICE_POLICY',
  'ERR_SLUICE_USAGE',
  'ERR_SLUICE_CONFIG',
])
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

async function runConnect(urlText: string, flags: ConnectFlags): Promise<number> {
  const report = reportFor(flags)
  const forwards = flags.local.map(parseLocalForward)
  const options = {
    ...readClientFlags(urlText, flags),
    heartbeat: new Heartbeat(parseDuration(flags.pingInterval, '--ping-interval')),
  }
  const stop = onSignals()
  try {
    await firstContact(options, forwards, flags.retry, report, stop)
    if (stop.received !== undefined) return stop.exitCode
    const running = await listenAll(forwards, options, report)
    await stop.promise
    for (const forward of running) forward.close()
    return stop.exitCode
  } finally {
    stop.release()
  }
}

/** Tries until every target's way is open as far as can be told, or something fails that will not mend itself. */
async function firstContact(
  options: PlainTunnelOptions,
  forwards: readonly LocalForward[],
  retry: boolean,
  report: Report,
  stop: ReturnType<typeof onSignals>,
): Promise<void> {
  for (let attempt = 0; stop.received === undefined; attempt++) {
    try {
      for (const { target } of forwards) await probeServer(options, target)
      report.detail(`${formatServerUrl(options.url)} is there and lets us in`)
      return
    } catch (error) {
      if (!retry || !(error instanceof SluiceError) || FINAL.has(error.code)) throw error
      const most = Math.min(MOST_DELAY, FIRST_DELAY * 2 ** attempt)
      const delay = most / 2 + Math.random() * (most / 2)
      report.say(`${messageOf(error)}; trying again in ${(delay / 1000).toFixed(1)} s`)
      await stop.sleep(delay)
    }
  }
}

async function listenAll(
  forwards: readonly LocalForward[],
  options: PlainTunnelOptions,
  report: Report,
): Promise<PlainForward[]> {
  const events: ForwardEvents = {
    opened: (target) => report.detail(`${formatTarget(target)}: opened`),
    finished: (target, { bytesUp, bytesDown }) =>
      report.detail(`${formatTarget(target)}: ended, ${bytesUp} bytes up, ${bytesDown} down`),
    failed: (target, error) => report.problem(prefixed(target, error)),
  }
  const running: PlainForward[] = []
  for (const forward of forwards) {
    const plain = new PlainForward(forward, options, events)
    running.push(plain)
    try {
      const bound = await plain.listen()
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

function prefixed(target: LocalForward['target'], error: SluiceError): SluiceError {
  const facts = error.remedy === undefined ? {} : { remedy: error.remedy }
  return new SluiceError(error.code, `connection to ${formatTarget(target)}: ${error.message}`, facts)
}
