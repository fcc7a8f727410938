import { Command, Help } from 'commander'
import { checkCommand } from './commands/check.ts'
import { completionsCommand } from './commands/completions.ts'
import { configCommand } from './commands/config.ts'
import { connectCommand } from './commands/connect.ts'
import { policyCommand } from './commands/policy.ts'
import { serveCommand } from './commands/serve.ts'
import { statusCommand } from './commands/status.ts'
import { stdioCommand } from './commands/stdio.ts'
import { tokenCommand } from './commands/token.ts'
import { applySection, readConfigFile } from './config-file.ts'
import type { Finish } from './exit-codes.ts'
import { VERSION } from './version.ts'

const COMMANDS = [
  serveCommand,
  connectCommand,
  stdioCommand,
  checkCommand,
  statusCommand,
  tokenCommand,
  completionsCommand,
]

/** The command line as it is defined: what runs it, its help, the reference and the man page come from this. */
export function buildProgram(finish: Finish): Command {
  const program = new Command('sluice')
    .description('A TCP connection inside a WebSocket.')
    .version(VERSION, '-V, --version')
    .exitOverride()
    .showHelpAfterError('(--help says what there is)')
    .configureOutput({ writeErr: (text) => void process.stderr.write(text.replace(/^error: /, 'sluice: ')) })
  program.createHelp = () => Object.assign(new Help(), { subcommandTerm: (command: Command) => command.name() })
  for (const make of COMMANDS) program.addCommand(make(finish).copyInheritedSettings(program))
  const configurable = () => program.commands.filter(({ options }) => options.some(({ long }) => long === '--config'))
  program.addCommand(configCommand(finish, configurable).copyInheritedSettings(program))
  program.addCommand(policyCommand(finish, configurable).copyInheritedSettings(program))
  program.hook('preAction', (_, command) => {
    const { config } = command.opts<{ config?: string }>()
    const sections = config === undefined ? [] : (readConfigFile(config, configurable()).get(command.name()) ?? [])
    if (sections.length === 1) applySection(command, sections[0]!)
  })
  return program
}
