import { Command } from 'commander'
import { parseDuration, parseHostPort, parseTarget } from '../../config/index.ts'
import { failureOf, Heartbeat, plainConnection, StdioStream } from '../../node/index.ts'
import { ExitCode, exitCodeOf, type Finish } from '../exit-codes.ts'
import { type ClientFlags, clientOptions, readClientFlags } from '../options.ts'
import { reportFor } from '../world.ts'

export function stdioCommand(finish: Finish): Command {
  const command = new Command('stdio')
    .description("carry standard input and output to one target, for ssh's ProxyCommand")
    .argument('<url>', 'the server, as for connect')
    .argument('<target>', 'HOST:PORT or @NAME')
  for (const option of clientOptions()) command.addOption(option)
  return command
    .addHelpText('after', "\nExample:\n  ssh -o ProxyCommand='sluice stdio wss://tunnel.example %h:%p' user@db")
    .action(async (url: string, target: string, flags: ClientFlags) => finish(await runStdio(url, target, flags)))
}

async function runStdio(urlText: string, targetText: string, flags: ClientFlags): Promise<number> {
  const report = reportFor(flags)
  const target = parseTarget(targetText, (text) => parseHostPort(text, 'target'))
  const options = {
    ...readClientFlags(urlText, flags),
    heartbeat: new Heartbeat(parseDuration(flags.pingInterval, '--ping-interval')),
    // What is still typed after the far end is over has nowhere to go.
    lingerTimeout: 0,
  }
  const failure = failureOf(await plainConnection(new StdioStream(), target, options), target)
  if (failure === undefined) return ExitCode.ok
  report.problem(failure)
  return exitCodeOf(failure)
}
