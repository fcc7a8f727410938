import { Argument, Command } from 'commander'
import { completionScript, SHELLS, type Shell } from '../completions.ts'
import { ExitCode, type Finish } from '../exit-codes.ts'

export function completionsCommand(finish: Finish): Command {
  const command: Command = new Command('completions')
    .description('print a completion script for a shell')
    .addArgument(new Argument('<shell>').choices([...SHELLS]))
    .addHelpText('after', '\nExample:\n  eval "$(sluice completions bash)"')
    .action((shell: Shell) => {
      process.stdout.write(completionScript(shell, command.parent!))
      finish(ExitCode.ok)
    })
  return command
}
