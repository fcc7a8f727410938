import { Command } from 'commander'
import { type Forward, formatServerUrl, parseDuration, parseForwards, plainTarget } from '../../config/index.ts'
import { messageOf, SluiceError } from '../../errors/index.ts'
import type { ClientLinkEvents } from '../../link/index.ts'
import {
  FINAL_ERRORS,
  Heartbeat,
  lacksSessions,
  PathMemory,
  type PlainTunnelOptions,
  probeServer,
  SessionTunnel,
  type SessionTunnelEvents,
  WAY_NAMES,
} from '../../node/index.ts'
import type { ProxyCredentials } from '../../proxy/index.ts'
import type { Finish } from '../exit-codes.ts'
import { type Forwards, plainPair, startForwards, startPlain } from '../forwards.ts'
import {
  type ClientFlags,
  CONFIG,
  clientOptions,
  list,
  type ReadClientFlags,
  readClientFlags,
  value,
} from '../options.ts'
import type { Report } from '../report.ts'
import { readLogin } from '../secrets.ts'
import { clientState } from '../state.ts'
import { pathsFile, StatusSocket } from '../status-socket.ts'
import { formatBytes } from '../units.ts'
import { onSignals, reportFor, type Stop } from '../world.ts'

const FIRST_DELAY = 250
const MOST_DELAY = 30_000

export function connectCommand(finish: Finish): Command {
  const command = new Command('connect')
    .description('listen here, and carry what comes through a WebSocket to targets on the other side')
    .argument('[url]', 'the server: wss://host[:port][/prefix], ws://…, or host[:port]')
    .addOption(
      list(
        '-L, --local <spec>',
        'listen here: [BIND:]PORT:HOST:PORT[/udp], PORT:@NAME, /PATH:… (repeatable)',
        'SLUICE_LOCAL',
      ),
    )
    .addOption(
      list(
        '-R, --reverse <spec>',
        'listen on the server: [BIND:]PORT:HOST:PORT[/udp], /PATH:…, or socks (repeatable)',
        'SLUICE_REVERSE',
      ),
    )
    .addOption(
      list(
        '-D, --dynamic <spec>',
        '[BIND:]PORT that speaks SOCKS5, SOCKS4a and HTTP proxy (repeatable)',
        'SLUICE_DYNAMIC',
      ),
    )
    .addOption(
      value('--dynamic-auth-file <file>', 'USER:PASSWORD that -D asks for, in a file', 'SLUICE_DYNAMIC_AUTH_FILE'),
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
    .addOption(CONFIG())
    .option('--no-retry', 'give up if the first contact fails, whatever the reason')
    .addHelpText(
      'after',
      '\nExamples:\n  sluice connect wss://tunnel.example -L 5432:db:5432\n  psql -h 127.0.0.1 -p 5432\n  sluice connect wss://tunnel.example -D 1080 -R 2222:localhost:22 -L 53:1.1.1.1:53/udp\n  sluice connect ws://noVNC:6080 -L 5900:vnc:5900 --url-template /websockify',
    )
    .action(async (url: string | undefined, flags: ConnectFlags) => finish(await runConnect(url ?? flags.url, flags)))
}

interface ConnectFlags extends ClientFlags {
  /** From a configuration file. */
  url?: string
  local?: string[]
  reverse?: string[]
  dynamic?: string[]
  dynamicAuthFile?: string
  carriers: string
  retry: boolean
}

interface Connecting {
  readonly options: ReadClientFlags
  readonly forwards: readonly Forward[]
  readonly report: Report
  readonly stop: Stop
  readonly retry: boolean
  readonly carriers: number | 'auto'
  readonly credentials: ProxyCredentials | undefined
}

async function runConnect(urlText: string | undefined, flags: ConnectFlags): Promise<number> {
  if (urlText === undefined) {
    throw new SluiceError('ERR_SLUICE_USAGE', 'the URL of the server is missing', {
      remedy: 'sluice connect wss://tunnel.example -L 5432:db:5432, or url: in the file that --config names.',
    })
  }
  const report = reportFor(flags)
  const connecting = readFlags(urlText, flags, report)
  const { stop, options } = connecting
  try {
    const plain = flags.plain || options.template !== undefined
    return await (plain ? runPlain(connecting) : runSession(connecting))
  } finally {
    stop.release()
  }
}

/** Reads everything that was given, before anything is done. */
function readFlags(urlText: string, flags: ConnectFlags, report: Report): Connecting {
  const forwards = [
    ...(flags.local ?? []).flatMap((spec) => parseForwards('-L', spec)),
    ...(flags.reverse ?? []).flatMap((spec) => parseForwards('-R', spec)),
    ...(flags.dynamic ?? []).flatMap((spec) => parseForwards('-D', spec)),
  ]
  if (forwards.length === 0) {
    throw new SluiceError('ERR_SLUICE_USAGE', 'there is nothing to forward', {
      remedy: 'Give -L, -R or -D: sluice connect URL -L 5432:db:5432.',
    })
  }
  const options = {
    ...readClientFlags(urlText, flags),
    heartbeat: new Heartbeat(parseDuration(flags.pingInterval, '--ping-interval')),
  }
  const carriers = parseCarriers(flags.carriers)
  const credentials =
    flags.dynamicAuthFile === undefined
      ? undefined
      : readLogin(flags.dynamicAuthFile, '--dynamic-auth-file', flags.tokenFileMode)
  return { options, forwards, report, stop: onSignals(), retry: flags.retry, carriers, credentials }
}

async function runPlain(connecting: Connecting): Promise<number> {
  const { options, forwards, stop } = connecting
  const pairs = forwards.map(plainPair)
  await firstContact(connecting, async () => {
    for (const { target } of pairs) await probeServer(options, target)
  })
  if (stop.received !== undefined) return stop.exitCode
  const running = await startPlain(connecting, pairs)
  await stop.promise
  running.close()
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
  let running: Forwards
  try {
    if (stop.received === undefined) await Promise.race([askPolicy(forwards, options), stop.promise])
    if (stop.received !== undefined) return stop.exitCode
    running = await startForwards(connecting, tunnel)
  } catch (error) {
    await tunnel.close()
    throw error
  }
  stop.onHangUp(() => tunnel.retryNow())
  const status = new StatusSocket(() => clientState(options.url, tunnel, running.states(), paths.known))
  status.open()
  const failure = await Promise.race([stop.promise, failed])
  status.close()
  running.close()
  await Promise.race([tunnel.close(), stop.again])
  if (failure !== undefined) throw failure
  return stop.exitCode
}

/** Whether the server would let us to these targets, as far as it can tell without resolving names: better known now than at the first use. */
async function askPolicy(forwards: readonly Forward[], options: PlainTunnelOptions): Promise<void> {
  for (const { direction, listen, target: asked } of forwards) {
    const target = direction === 'local' && listen.kind !== 'udp' ? plainTarget(asked) : undefined
    if (target === undefined) continue
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
    way: (way, why) =>
      report.say(
        `${why === undefined ? '' : `WebSocket does not get through (${why}): `}the session goes ${WAY_NAMES[way]}`,
      ),
    leaving: () => report.say('the server shuts down: its connections may finish, new ones go to a new session'),
  }
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
