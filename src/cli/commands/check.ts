import { Command } from 'commander'
import { parseHostPort, parseTarget } from '../../config/index.ts'
import { type CheckStep, checkServer, verdictOf } from '../../node/index.ts'
import { ExitCode, exitCodeOf, type Finish } from '../exit-codes.ts'
import { fitHelp } from '../help.ts'
import { type ClientFlags, clientOptions, readClientFlags } from '../options.ts'
import { escapeControl } from '../report.ts'

interface CheckFlags extends ClientFlags {
  target?: string
  json?: boolean
}

/** What has no meaning for a look at the way. */
const WITHOUT = new Set([
  '--url-template',
  '--plain',
  '--half-close-timeout',
  '--ping-interval',
  '--quiet',
  '--verbose',
  '--log-format',
])

export function checkCommand(finish: Finish): Command {
  const command = new Command('check')
    .description('what is in the way to a server: name, proxy, TCP, TLS, HTTP, WebSocket, and what else gets through')
    .argument('<url>', 'the server, as for connect')
    .option('--target <target>', 'also whether the server connects us there: HOST:PORT or @NAME')
    .option('--json', 'the same as JSON, for programs')
  for (const option of clientOptions()) if (!WITHOUT.has(option.long!)) command.addOption(option)
  return fitHelp(command, ['--target', '--json', '--token-file', '--ca', '--pin', '--proxy', '--transport'])
    .addHelpText(
      'after',
      '\nThe exit code is 0 if all is well, otherwise that of what failed.\n\nExample:\n  sluice check wss://tunnel.example --target db:5432',
    )
    .action(async (url: string, flags: CheckFlags) => finish(await runCheck(url, flags)))
}

async function runCheck(urlText: string, flags: CheckFlags): Promise<number> {
  const options = readClientFlags(urlText, { ...flags, halfCloseTimeout: '30s' })
  const target =
    flags.target === undefined ? undefined : parseTarget(flags.target, (text) => parseHostPort(text, '--target'))
  const steps: CheckStep[] = []
  for await (const step of checkServer(options, target)) {
    steps.push(step)
    if (!flags.json) for (const line of stepLines(step)) process.stdout.write(`${escapeControl(line)}\n`)
  }
  const last = steps.at(-1)!
  const verdict = verdictOf(options, steps)
  if (flags.json) {
    const shown = steps.map(({ error, ...step }) => ({ ...step, ...(error?.remedy && { remedy: error.remedy }) }))
    process.stdout.write(`${JSON.stringify({ ok: last.ok, verdict, steps: shown }, undefined, 2)}\n`)
  } else {
    process.stdout.write(`\n${escapeControl(verdict)}\n`)
  }
  return last.ok ? ExitCode.ok : exitCodeOf(last.error)
}

/** A step for people. */
function stepLines({ name, ok, took, text, warnings, error }: CheckStep): string[] {
  return [
    `${ok ? 'ok  ' : 'FAIL'} ${name.padEnd(10)}${text} (${took.toFixed(0)} ms)`,
    ...warnings.map((warning) => `     ${''.padEnd(10)}note: ${warning}`),
    ...(error?.remedy === undefined ? [] : [`     ${''.padEnd(10)}${error.remedy}`]),
  ]
}
