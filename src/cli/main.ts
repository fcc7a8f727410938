#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { checkCommand } from './commands/check.ts'
import { completionsCommand } from './commands/completions.ts'
import { configCommand } from './commands/config.ts'
import { connectCommand } from './commands/connect.ts'
import { serveCommand } from './commands/serve.ts'
import { statusCommand } from './commands/status.ts'
import { stdioCommand } from './commands/stdio.ts'
import { applySection, readConfigFile } from './config-file.ts'
import { ExitCode, exitCodeOf } from './exit-codes.ts'
import { Report } from './report.ts'
import { VERSION } from './version.ts'

const COMMANDS = [serveCommand, connectCommand, stdioCommand, checkCommand, statusCommand, completionsCommand]

/** Runs one command line; resolves with the exit code. */
async function run(argv: string[]): Promise<number> {
  let code: number = ExitCode.ok
  const program = new Command('sluice')
    .description('A TCP connection inside a WebSocket.')
    .version(VERSION, '-V, --version')
    .exitOverride()
    .showHelpAfterError('(--help says what there is)')
    .configureOutput({ writeErr: (text) => void process.stderr.write(text.replace(/^error: /, 'sluice: ')) })
  for (const make of COMMANDS) {
    program.addCommand(make((result) => (code = result)).copyInheritedSettings(program))
  }
  const configurable = () => program.commands.filter(({ options }) => options.some(({ long }) => long === '--config'))
  program.addCommand(configCommand((result) => (code = result), configurable).copyInheritedSettings(program))
  program.hook('preAction', (_, command) => {
    const { config } = command.opts<{ config?: string }>()
    const section = config === undefined ? undefined : readConfigFile(config, configurable()).get(command.name())
    if (section === undefined) return
    applySection(command, section)
    if (section.url !== undefined) command.setOptionValueWithSource('url', section.url, 'config')
  })
  try {
    await program.parseAsync(argv, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    code = error.exitCode === 0 ? ExitCode.ok : ExitCode.usage
  }
  return code
}

try {
  process.exit(await run(process.argv.slice(2)))
} catch (error) {
  new Report('normal').problem(error)
  process.exit(exitCodeOf(error))
}
