import { type Command, Help, Option } from 'commander'

/** The flag that asks for what {@link fitHelp} leaves out. */
export const HELP_ALL = '--help-all'

/**
 * Makes `--help` fit a screen (24 lines of 80 columns, test/cli/cli.test.ts): these options with their defaults, and the
 * examples; `--help-all` shows every option, its choices and its variable.
 *
 * @param everyday the options that most need, as they are typed: `--local`
 */
export function fitHelp(command: Command, everyday: readonly string[]): Command {
  let all = false
  let short = false
  const missing = everyday.filter((name) => !command.options.some(({ long }) => long === name))
  if (missing.length > 0) throw new RangeError(`${command.name()} has no ${missing.join(', ')}`)
  command.addOption(new Option(HELP_ALL, `all ${command.options.length} options, with their variables`))
  command.on(`option:${HELP_ALL.slice(2)}`, () => {
    all = true
    command.help()
  })
  const shown = new Set([...everyday, HELP_ALL])
  const shape: Partial<Help> = {
    // What is visible is also what a mistyped option is compared with: the short form is for printing alone.
    formatHelp: (self, helper) => {
      short = !all
      try {
        return Help.prototype.formatHelp.call(helper, self, helper)
      } finally {
        short = false
      }
    },
    visibleArguments: (self) => (short ? [] : [...self.registeredArguments]),
    visibleOptions: (self) =>
      self.options.filter(({ long, hidden }) => !hidden && (short ? shown.has(long ?? '') : long !== HELP_ALL || !all)),
    optionDescription: (option) => {
      const { description, defaultValue, argChoices, envVar } = option
      const facts = [
        ...(!short && argChoices !== undefined ? [`one of ${argChoices.join(', ')}`] : []),
        ...(typeof defaultValue === 'string' ? [`default ${defaultValue}`] : []),
        ...(!short && envVar !== undefined ? [envVar] : []),
      ]
      return facts.length === 0 ? description : `${description} (${facts.join('; ')})`
    },
  }
  // Not `configureHelp`: what it sets is lost where a command takes over the settings of its program.
  command.createHelp = () => Object.assign(new Help(), shape)
  return command
}
