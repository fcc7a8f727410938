import type { Command, Option } from 'commander'

/** Shells that completions can be had for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** A completion script for a shell, made from the commands as they are defined. */
export function completionScript(shell: Shell, program: Command): string {
  return { bash, zsh, fish }[shell](program)
}

const flagsOf = (option: Option) => [option.short, option.long].filter((flag): flag is string => flag != null)
const takesFile = (option: Option) => /<file>/.test(option.flags)

function bash(program: Command): string {
  const cases = program.commands.map((command) => {
    const flags = command.options.filter(({ hidden }) => !hidden).flatMap(flagsOf)
    const values = command.options
      .filter(({ argChoices }) => argChoices !== undefined)
      .map(
        (option) =>
          `${flagsOf(option).join('|')}) COMPREPLY=($(compgen -W '${option.argChoices!.join(' ')}' -- "$word")); return ;;`,
      )
    const files = command.options.filter(takesFile).flatMap(flagsOf)
    if (files.length > 0) values.push(`${files.join('|')}) COMPREPLY=($(compgen -f -- "$word")); return ;;`)
    return `    ${command.name()})
      case "$before" in
        ${values.join('\n        ')}
      esac
      COMPREPLY=($(compgen -W '${[...flags, ...choicesOf(command)].join(' ')}' -- "$word")) ;;`
  })
  return `# bash completion of sluice: eval "$(sluice completions bash)"
_sluice() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${program.commands.map((command) => command.name()).join(' ')} --help --version' -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
}
complete -F _sluice sluice
`
}

function choicesOf(command: Command): readonly string[] {
  return command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? [])
}

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

function zsh(program: Command): string {
  const describe = (text: string) => text.replace(/[[\]:]/g, ' ').replaceAll("'", '’')
  const cases = program.commands.map((command) => {
    const options = command.options
      .filter(({ hidden }) => !hidden)
      .flatMap((option) =>
        flagsOf(option).map((flag) => {
          const action = takesFile(option)
            ? ':file:_files'
            : option.argChoices
              ? `:value:(${option.argChoices.join(' ')})`
              : ':value:'
          return quote(`*${flag}[${describe(option.description)}]${option.required ? action : ''}`)
        }),
      )
    const words = choicesOf(command).length > 0 ? [quote(`1:value:(${choicesOf(command).join(' ')})`)] : []
    return `    ${command.name()}) _arguments ${[...options, ...words].join(' \\\n      ')} ;;`
  })
  const commands = program.commands.map((command) => quote(`${command.name()}:${describe(command.description())}`))
  return `#compdef sluice
# zsh completion of sluice: source <(sluice completions zsh)
_sluice() {
  if (( CURRENT == 2 )); then
    local -a commands=(${commands.join(' ')})
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
compdef _sluice sluice
`
}

function fish(program: Command): string {
  const names = program.commands.map((command) => command.name())
  const lines = program.commands.flatMap((command) => [
    `complete -c sluice -n 'not __fish_seen_subcommand_from ${names.join(' ')}' -f -a ${command.name()} -d ${quote(command.description())}`,
    ...(choicesOf(command).length > 0
      ? [
          `complete -c sluice -n '__fish_seen_subcommand_from ${command.name()}' -f -a '${choicesOf(command).join(' ')}'`,
        ]
      : []),
    ...command.options
      .filter(({ hidden }) => !hidden)
      .map((option) => {
        const short = option.short ? ` -s ${option.short.slice(1)}` : ''
        const long = option.long ? ` -l ${option.long.slice(2)}` : ''
        const choices = option.argChoices ? ` -a '${option.argChoices.join(' ')}'` : ''
        const value = option.required ? (takesFile(option) ? ' -r' : ' -x') : ''
        return `complete -c sluice -n '__fish_seen_subcommand_from ${command.name()}'${short}${long}${value}${choices} -d ${quote(option.description)}`
      }),
  ])
  return `# fish completion of sluice: sluice completions fish | source\n${lines.join('\n')}\n`
}
