import { Command } from 'commander'
import { parseDuration, parseHostPort, parseTarget } from '../../config/index.ts'
import { WAYS, type Way } from '../../link/index.ts'
import { type CheckStep, checkServer, verdictOf } from '../../node/index.ts'
import { ExitCode, exitCodeOf, type Finish } from '../exit-codes.ts'
import { fitHelp } from '../help.ts'
import { type ClientFlags, clientOptions, readClientFlags } from '../options.ts'
import { escapeControl } from '../report.ts'

interface CheckFlags extends ClientFlags {
  target?: string
  json?: boolean
  quick?: boolean
  long?: string | boolean
}

/** Longer than a minute, after which many cut what is quiet. */
const LONG = '70s'

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
    .option('--target <target>', 'also whether the server connects us there')
    .option('--quick', 'without measuring how much goes through')
    .option('--long [time]', 'also whether what is quiet or old is cut')
    .option('--json', 'as JSON, for programs')
  for (const option of clientOptions()) if (!WITHOUT.has(option.long!)) command.addOption(option)
  return fitHelp(command, ['--target', '--quick', '--long', '--json', '--token-file', '--ca', '--proxy'])
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
  const long = flags.long === true ? LONG : flags.long
  const steps: CheckStep[] = []
  const wanted = {
    target,
    rates: flags.quick !== true,
    long: typeof long === 'string' ? parseDuration(long, '--long') : undefined,
  }
  for await (const step of checkServer(options, wanted)) {
    steps.push(step)
    if (!flags.json) for (const line of stepLines(step)) process.stdout.write(`${escapeControl(line)}\n`)
  }
  const verdict = verdictOf(options, steps, settingsOf(flags))
  const failed = failureOf(steps)
  if (flags.json) {
    const shown = steps.map(({ error, ...step }) => ({ ...step, ...(error?.remedy && { remedy: error.remedy }) }))
    process.stdout.write(`${JSON.stringify({ ok: failed === undefined, verdict, steps: shown }, undefined, 2)}\n`)
  } else {
    process.stdout.write(`\n${escapeControl(verdict)}\n`)
  }
  return failed === undefined ? ExitCode.ok : exitCodeOf(failed.error)
}

/** What decides the exit code: the last failure, where nothing after it worked; a kind of carrier may fail if another does not. */
function failureOf(steps: readonly CheckStep[]): CheckStep | undefined {
  const carried = steps.some(({ name, ok }) => name === 'user' && ok)
  return steps.findLast(({ name, ok }) => !ok && !(carried && WAYS.includes(name as Way)))
}

/** Those of the flags without which `connect` would not get through either, as they would be typed. */
function settingsOf(flags: CheckFlags): string {
  const given: readonly [string, string | undefined][] = [
    ['--token-file', flags.tokenFile],
    ['--login-file', flags.loginFile],
    ['--cert', flags.cert],
    ['--key', flags.key],
    ['--ca', flags.ca],
    ['--pin', flags.pin],
    ['--proxy', flags.proxy],
    ['--proxy-auth-file', flags.proxyAuthFile],
    ['--proxy-auth-command', flags.proxyAuthCommand && `'${flags.proxyAuthCommand}'`],
    ['--header-file', flags.headerFile],
    ['--sni', flags.sni],
    ...(flags.header ?? []).map((header) => ['-H', `"${header}"`] as [string, string]),
  ]
  return given.flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`])).join(' ')
}

/** A step for people. */
function stepLines({ name, ok, took, text, warnings, error }: CheckStep): string[] {
  return [
    `${ok ? 'ok  ' : 'FAIL'} ${name.padEnd(10)}${text} (${took.toFixed(0)} ms)`,
    ...warnings.map((warning) => `     ${''.padEnd(10)}note: ${warning}`),
    ...(error?.remedy === undefined ? [] : [`     ${''.padEnd(10)}${error.remedy}`]),
  ]
}
