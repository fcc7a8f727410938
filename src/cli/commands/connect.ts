import { Command } from 'commander'
import { parseDuration, parseForwards } from '../../config/index.ts'
import { SluiceError } from '../../errors/index.ts'
import { Heartbeat } from '../../node/index.ts'
import type { ClientSettings } from '../client.ts'
import { Clients } from '../clients.ts'
import { configurable, optionsWith, readConfigFile, type Section } from '../config-file.ts'
import { Display } from '../display.ts'
import type { Finish } from '../exit-codes.ts'
import { plainPair } from '../forwards.ts'
import { fitHelp } from '../help.ts'
import { type ClientFlags, CONFIG, clientOptions, list, readClientFlags, value } from '../options.ts'
import { Reload } from '../reload.ts'
import { readLogin } from '../secrets.ts'
import { StatusSocket } from '../status-socket.ts'
import { onSignals, reportFor } from '../world.ts'

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
  command
    .addOption(
      value(
        '--carriers <n>',
        'WebSockets for each session: 1 to 8, or auto: more while they help',
        'SLUICE_CARRIERS',
        'auto',
      ),
    )
    .addOption(
      list('--fallback <url>', 'another server to try when the first does not answer (repeatable)', 'SLUICE_FALLBACK'),
    )
    .addOption(CONFIG())
    .option('--no-retry', 'give up if the first contact fails, whatever the reason')
  return fitHelp(command, ['--local', '--reverse', '--dynamic', '--token-file', '--proxy', '--config'])
    .addHelpText(
      'after',
      '\nExamples:\n  sluice connect wss://tunnel.example -L 5432:db:5432\n  psql -h 127.0.0.1 -p 5432\n  sluice connect wss://tunnel.example -D 1080 -R 2222:localhost:22\n  sluice connect wss://tunnel.example -L 53:1.1.1.1:53/udp\n  sluice connect ws://noVNC:6080 -L 5900:vnc:5900 --url-template /websockify',
    )
    .action(async (url: string | undefined, _: unknown, self: Command) => finish(await runConnect(url, self)))
}

interface ConnectFlags extends ClientFlags {
  /** From a configuration file. */
  url?: string
  local?: string[]
  reverse?: string[]
  dynamic?: string[]
  dynamicAuthFile?: string
  carriers: string
  fallback?: string[]
  retry: boolean
}

async function runConnect(url: string | undefined, command: Command): Promise<number> {
  const { config, ...flags } = command.opts<ConnectFlags & { config?: string }>()
  const read = () => readSections(url, config, command).map(readSettings)
  // All of it is read before anything is done.
  const settings = read()
  const stop = onSignals()
  const display = Display.on(process.stderr, flags)
  const write = display?.write
  const report = reportFor(flags, undefined, write)
  const several = settings.length > 1
  const clients = new Clients(stop, ({ options, logs }) =>
    reportFor(logs, several ? options.url.authority : undefined, write),
  )
  const status = new StatusSocket(() => clients.states)
  const reload =
    config === undefined
      ? undefined
      : new Reload([{ what: 'configuration file', files: [config], apply: () => clients.replace(read()) }], report)
  try {
    status.open()
    stop.onHangUp(() => {
      clients.retryNow()
      reload?.now()
    })
    display?.show(() => clients.states)
    await clients.run(settings)
    return stop.exitCode
  } finally {
    display?.close()
    reload?.close()
    status.close()
    stop.release()
  }
}

/** What was given, once for each server: a file can name several. */
function readSections(url: string | undefined, config: string | undefined, command: Command): ConnectFlags[] {
  const sections = config === undefined ? undefined : readConfigFile(config, configurable(command)).get('connect')
  const [first = {}, ...others]: readonly Section[] = sections ?? []
  if (url !== undefined && others.length > 0) {
    throw new SluiceError('ERR_SLUICE_USAGE', `${config} names several servers, and ${url} is one more`, {
      remedy: 'Leave the URL out, or write it into the file.',
    })
  }
  return [first, ...others].map((section) => {
    const flags = optionsWith(command, section) as unknown as ConnectFlags
    const at = url ?? section.url
    return at === undefined ? flags : { ...flags, url: String(at) }
  })
}

/** Reads everything that was given. */
function readSettings(flags: ConnectFlags): ClientSettings {
  const { url, local = [], reverse = [], dynamic = [], ...rest } = flags
  if (url === undefined) {
    throw new SluiceError('ERR_SLUICE_USAGE', 'the URL of the server is missing', {
      remedy: 'sluice connect wss://tunnel.example -L 5432:db:5432, or url: in the file that --config names.',
    })
  }
  const forwards = [
    ...local.flatMap((spec) => parseForwards('-L', spec)),
    ...reverse.flatMap((spec) => parseForwards('-R', spec)),
    ...dynamic.flatMap((spec) => parseForwards('-D', spec)),
  ]
  if (forwards.length === 0) {
    throw new SluiceError('ERR_SLUICE_USAGE', 'there is nothing to forward', {
      remedy: 'Give -L, -R or -D: sluice connect URL -L 5432:db:5432.',
    })
  }
  const heartbeat = new Heartbeat(parseDuration(flags.pingInterval, '--ping-interval'))
  const options = { ...readClientFlags(url, flags), heartbeat }
  const fallbacks = (flags.fallback ?? []).map((other) => ({ ...readClientFlags(other, flags), heartbeat }))
  const plain = flags.plain === true || options.template !== undefined
  if (plain && fallbacks.length > 0) {
    throw new SluiceError('ERR_SLUICE_USAGE', '--fallback needs sessions, which plain mode has not', {
      remedy: 'Leave --plain and --url-template out, or --fallback.',
    })
  }
  if (plain) forwards.forEach(plainPair)
  return {
    identity: JSON.stringify({ url, ...rest }),
    options,
    fallbacks,
    forwards,
    logs: flags,
    retry: flags.retry,
    carriers: parseCarriers(flags.carriers),
    credentials:
      flags.dynamicAuthFile === undefined
        ? undefined
        : readLogin(flags.dynamicAuthFile, '--dynamic-auth-file', flags.tokenFileMode),
    plain,
  }
}

function parseCarriers(text: string): number | 'auto' {
  if (text === 'auto') return text
  if (/^[1-8]$/.test(text)) return Number(text)
  throw new SluiceError('ERR_SLUICE_USAGE', `--carriers ${JSON.stringify(text)} is not a number from 1 to 8, nor auto`)
}
