import { Command } from 'commander'
import { stringify } from 'yaml'
import { fileSchema, readConfigFile } from '../config-file.ts'
import { ExitCode, type Finish } from '../exit-codes.ts'

/** @param configurable the commands that a file can have a section for */
export function configCommand(finish: Finish, configurable: () => readonly Command[]): Command {
  const check = new Command('check')
    .description('find every problem of a configuration file at once; print what it says in canonical form')
    .argument('<file>', 'YAML or JSON')
    .action((file: string) => {
      const sections = readConfigFile(file, configurable())
      const plain = [...sections].map(([name, all]) => [name, all.length === 1 ? all[0] : all] as const)
      process.stdout.write(stringify(Object.fromEntries(plain)))
      finish(ExitCode.ok)
    })
  const schema = new Command('schema')
    .description('print the JSON Schema of configuration files, for editors')
    .action(() => {
      process.stdout.write(`${JSON.stringify(fileSchema(configurable()), undefined, 2)}\n`)
      finish(ExitCode.ok)
    })
  return new Command('config')
    .description('check a configuration file, or print its schema')
    .addCommand(check)
    .addCommand(schema)
    .addHelpText('after', '\nExamples:\n  sluice config check sluice.yaml\n  sluice connect --config sluice.yaml')
}
