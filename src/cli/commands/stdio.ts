import { Command } from 'commander'
import {
  formatTarget,
  forwardTarget,
  parseDuration,
  parseHostPort,
  parseTarget,
  type Target,
} from '../../config/index.ts'
import type { SluiceError } from '../../errors/index.ts'
import type { ClientLink } from '../../link/index.ts'
import {
  clientLink,
  failureOf,
  Heartbeat,
  lacksSessions,
  PathMemory,
  type PlainTunnelOptions,
  plainConnection,
  Splice,
  type SpliceOutcome,
  StdioStream,
  spliceFailure,
  type TunnelClientOptions,
  wireTarget,
} from '../../node/index.ts'
import { ExitCode, exitCodeOf, type Finish } from '../exit-codes.ts'
import { fitHelp } from '../help.ts'
import { type ClientFlags, clientOptions, readClientFlags } from '../options.ts'
import { pathsFile } from '../status-socket.ts'
import { reportFor } from '../world.ts'

/** How long the last message may take to leave, in milliseconds. */
const FAREWELL = 200

export function stdioCommand(finish: Finish): Command {
  const command = new Command('stdio')
    .description("carry standard input and output to one target, for ssh's ProxyCommand")
    .argument('<url>', 'the server, as for connect')
    .argument('<target>', 'HOST:PORT or @NAME')
  for (const option of clientOptions()) command.addOption(option)
  return fitHelp(command, ['--token-file', '--ca', '--pin', '--proxy', '--transport'])
    .addHelpText('after', "\nExample:\n  ssh -o ProxyCommand='sluice stdio wss://tunnel.example %h:%p' user@db")
    .action(async (url: string, target: string, flags: ClientFlags) => finish(await runStdio(url, target, flags)))
}

async function runStdio(urlText: string, targetText: string, flags: ClientFlags): Promise<number> {
  const report = reportFor(flags)
  const target = parseTarget(targetText, (text) => parseHostPort(text, 'target'))
  const options = {
    ...readClientFlags(urlText, flags),
    heartbeat: new Heartbeat(parseDuration(flags.pingInterval, '--ping-interval')),
    paths: new PathMemory(pathsFile()),
    // What is still typed after the far end is over has nowhere to go.
    lingerTimeout: 0,
  }
  const failure = await carry(target, options, flags.plain === true || options.template !== undefined)
  if (failure === undefined) return ExitCode.ok
  report.problem(failure)
  return exitCodeOf(failure)
}

async function carry(
  target: Target,
  options: PlainTunnelOptions & TunnelClientOptions,
  plain: boolean,
): Promise<SluiceError | undefined> {
  if (!plain) {
    const link = clientLink(options)
    try {
      await link.connect()
      return await Promise.race([carryStream(link, target), endOnSignal(link)])
    } catch (error) {
      if (!lacksSessions(error)) throw error
    }
  }
  return failureOf(await plainConnection(new StdioStream(), target, options), target)
}

/** ssh ends its ProxyCommand with SIGHUP. The server must hear of it: it would wait for us to come back. */
function endOnSignal(link: ClientLink): Promise<undefined> {
  return new Promise((resolve) => {
    for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        link.abort(`ended by ${signal}`)
        setTimeout(() => resolve(undefined), FAREWELL)
      })
    }
  })
}

async function carryStream(link: ClientLink, target: Target): Promise<SluiceError | undefined> {
  const local = new StdioStream()
  const outcome = await new Promise<SpliceOutcome>((resolve) => {
    const splice = new Splice(local, link, resolve)
    const stream = link.open(wireTarget(forwardTarget(target)), splice)
    splice.endLocalWithStream = true
    splice.start(stream)
  })
  await link.close()
  return spliceFailure(outcome, formatTarget(target))
}
