import { readFileSync } from 'node:fs'
import type { Command, Option } from 'commander'
import { LineCounter, parseDocument } from 'yaml'
import { messageOf, SluiceError } from '../errors/index.ts'
import { VALUES } from './config-values.ts'
import { HELP_ALL } from './help.ts'
import { isRepeatable } from './options.ts'
import { readText } from './secrets.ts'

/** What a configuration file may hold for a command: its options by their long names, and `url` for connect. */
export type Section = Readonly<Record<string, unknown>>

/** Sections by the names of commands: one of each, or a list of them for a command that can do several things at once. */
export type Sections = ReadonlyMap<string, readonly Section[]>

/** Commands that a file may give a list of sections. */
const SEVERAL = new Set(['connect'])

/** One thing that is wrong in a file. */
export interface Problem {
  /** Where: `connect.local[1]`. */
  readonly path: string
  readonly problem: string
  readonly remedy: string
}

/** Options that make no sense in a file. */
const ONLY_FLAGS = new Set(['config', 'help', 'version'])

/** The options of a command that a file can set, by their names there. */
export function fileOptions(command: Command): Map<string, Option> {
  const options = command.options.filter(({ long, hidden }) => !hidden && long != null && long !== HELP_ALL)
  return new Map(
    options
      .map((option) => [option.long!.replace(/^--(no-)?/, ''), option] as const)
      .filter(([name]) => !ONLY_FLAGS.has(name)),
  )
}

const isSwitch = (option: Option) => !option.required && !option.optional

/**
 * Reads a configuration file, YAML or JSON.
 *
 * @throws SluiceError `ERR_SLUICE_CONFIG` that names every problem at once
 */
export function readConfigFile(file: string, commands: readonly Command[]): Sections {
  const lines = new LineCounter()
  const document = parseDocument(readText(file, '--config'), { lineCounter: lines, prettyErrors: false })
  const problems: Problem[] = document.errors.map(({ message, pos }) => ({
    path: `line ${lines.linePos(pos[0]).line}`,
    problem: message.split('\n')[0]!,
    remedy: 'See the YAML around it; indentation is by spaces.',
  }))
  const sections = new Map<string, readonly Section[]>()
  if (problems.length === 0) readSections(document.toJS({ maxAliasCount: 100 }), commands, sections, problems)
  if (problems.length === 0) return sections
  const remedy = problems.map(({ path, problem, remedy: what }) => `${path}: ${problem}. ${what}`).join('\n')
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`
  throw new SluiceError('ERR_SLUICE_CONFIG', `${file} has ${count}`, { remedy })
}

function readSections(
  root: unknown,
  commands: readonly Command[],
  into: Map<string, readonly Section[]>,
  problems: Problem[],
): void {
  const names = commands.map((command) => command.name())
  if (!isMapping(root)) {
    problems.push({ path: 'the file', problem: 'it is no mapping', remedy: `Begin with one of: ${names.join(', ')}.` })
    return
  }
  for (const [name, section] of Object.entries(root)) {
    const command = commands.find((candidate) => candidate.name() === name)
    if (command === undefined) {
      problems.push({ path: name, problem: 'there is no such section', remedy: nearest(name, names) })
    } else if (Array.isArray(section) && section.length > 0 && SEVERAL.has(name)) {
      into.set(
        name,
        section.map((one, index) => readSection(`${name}[${index}]`, one, command, problems)),
      )
    } else into.set(name, [readSection(name, section, command, problems)])
  }
}

function readSection(name: string, section: unknown, command: Command, problems: Problem[]): Section {
  if (!isMapping(section)) {
    problems.push({ path: name, problem: 'it is no mapping', remedy: 'Write options below it, each on a line.' })
    return {}
  }
  const known = fileOptions(command)
  const hasUrl = command.registeredArguments.some((argument) => argument.name() === 'url')
  const out: Record<string, unknown> = {}
  for (const [key, raw] of Object.entries(section)) {
    const path = `${name}.${key}`
    const option = known.get(key)
    if (option === undefined && !(key === 'url' && hasUrl)) {
      const names = [...known.keys(), ...(hasUrl ? ['url'] : [])]
      problems.push({ path, problem: 'there is no such option', remedy: nearest(key, names) })
      continue
    }
    const value = substitute(raw, path, problems)
    if (value === undefined) continue
    const checked = option === undefined ? text(value, path, problems) : check(option, value, path, problems)
    if (checked !== undefined) out[key] = canonical(key, checked, path, problems)
  }
  return out
}

/** `${NAME}` becomes the environment's, and a whole value `file:PATH` the first line of that file. */
function substitute(value: unknown, path: string, problems: Problem[]): unknown {
  if (Array.isArray(value)) {
    const parts = value.map((part, index) => substitute(part, `${path}[${index}]`, problems))
    return parts.includes(undefined) ? undefined : parts
  }
  if (typeof value !== 'string') return value
  let missing = false
  const filled = value.replace(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, name: string) => {
    const found = process.env[name]
    if (found === undefined) {
      missing = true
      problems.push({
        path,
        problem: `\${${name}} is not in the environment`,
        remedy: `Set ${name}, or write the value.`,
      })
    }
    return found ?? ''
  })
  if (missing) return undefined
  if (!filled.startsWith('file:')) return filled
  try {
    return readFileSync(filled.slice(5), 'utf8').split(/\r?\n/)[0]
  } catch (error) {
    problems.push({ path, problem: `${filled} cannot be read: ${(error as Error).message}`, remedy: 'Check the path.' })
    return undefined
  }
}

function check(option: Option, value: unknown, path: string, problems: Problem[]): unknown {
  const wrong = (problem: string, remedy: string) => void problems.push({ path, problem, remedy })
  if (isSwitch(option)) {
    return typeof value === 'boolean'
      ? value
      : wrong(`${JSON.stringify(value)} is neither true nor false`, 'Write true.')
  }
  if (isRepeatable(option)) {
    const list = Array.isArray(value) ? value : [value]
    const texts = list.map((part, index) => text(part, `${path}[${index}]`, problems))
    return texts.includes(undefined) ? undefined : texts
  }
  const said = text(value, path, problems)
  if (said !== undefined && option.argChoices !== undefined && !option.argChoices.includes(said)) {
    return wrong(`${JSON.stringify(said)} is not one of ${option.argChoices.join(', ')}`, 'Choose one of these.')
  }
  return said
}

/** What the command itself would refuse later is refused here, with everything else that is wrong. */
function canonical(name: string, value: unknown, path: string, problems: Problem[]): unknown {
  const read = VALUES[name]
  if (read === undefined) return value
  const one = (text: string, where: string): string[] => {
    try {
      return read(text)
    } catch (error) {
      const remedy = error instanceof SluiceError ? error.remedy : undefined
      problems.push({ path: where, problem: messageOf(error), remedy: remedy ?? 'See the documentation.' })
      return []
    }
  }
  if (!Array.isArray(value)) return one(String(value), path)[0]
  return value.flatMap((part, index) => one(String(part), `${path}[${index}]`))
}

function text(value: unknown, path: string, problems: Problem[]): string | undefined {
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  problems.push({
    path,
    problem: `${JSON.stringify(value)} is no text`,
    remedy: 'Write one value; in quotes if in doubt.',
  })
  return undefined
}

function isMapping(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The name that was probably meant, or all of them. */
function nearest(name: string, names: readonly string[]): string {
  const best = names.map((candidate) => [distance(name, candidate), candidate] as const).sort(([a], [b]) => a - b)[0]
  if (best !== undefined && best[0] <= Math.max(2, name.length / 3)) return `Did you mean ${best[1]}?`
  return `There are: ${[...names].sort().join(', ')}.`
}

/** How many letters differ (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + change))
    }
    row = next
  }
  return row[b.length]!
}

/** The commands beside this one that a file can have a section for. */
export function configurable(command: Command): Command[] {
  return (command.parent?.commands ?? []).filter(({ options }) => options.some(({ long }) => long === '--config'))
}

/** Gives a command what its section says, where neither a flag nor the environment said it already. */
export function applySection(command: Command, section: Section): void {
  for (const [name, option] of fileOptions(command)) {
    const value = section[name]
    if (value === undefined) continue
    const key = option.attributeName()
    const source = command.getOptionValueSource(key)
    if (source === undefined || source === 'default') {
      command.setOptionValueWithSource(key, value, 'config')
    }
  }
}

/** The options of a command as a section of its file has them, by their attributes: flags and the environment go before it. */
export function optionsWith(command: Command, section: Section): Record<string, unknown> {
  const values: Record<string, unknown> = { ...command.opts() }
  for (const [name, option] of fileOptions(command)) {
    const key = option.attributeName()
    const source = command.getOptionValueSource(key)
    // What the file said when the command started, and says no more, has its default again.
    if (source === 'config') values[key] = section[name] ?? option.defaultValue
    else if (source === undefined || source === 'default') values[key] = section[name] ?? values[key]
  }
  return values
}

/** The long names of options that have other values in one than in the other. */
export function changedOptions(
  command: Command,
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): string[] {
  const differs = (option: Option) =>
    JSON.stringify(before[option.attributeName()]) !== JSON.stringify(after[option.attributeName()])
  return [...fileOptions(command)].filter(([, option]) => differs(option)).map(([name]) => name)
}

/** A JSON Schema (2020-12) of the file, for editors, made from the options. */
export function fileSchema(commands: readonly Command[]): object {
  const one = (option: Option): object => {
    if (isSwitch(option)) return { type: 'boolean', description: option.description }
    const single = option.argChoices ? { enum: option.argChoices } : { type: ['string', 'number'] }
    if (!isRepeatable(option)) return { ...single, description: option.description }
    return { description: option.description, anyOf: [single, { type: 'array', items: single }] }
  }
  const sections = commands.map((command) => {
    const options = [...fileOptions(command)].map(([name, option]) => [name, one(option)] as const)
    const url = command.registeredArguments.some((argument) => argument.name() === 'url')
      ? [['url', { type: 'string', description: 'the server' }] as const]
      : []
    const properties = Object.fromEntries([...url, ...options])
    const section = { type: 'object', additionalProperties: false, properties }
    const several = { anyOf: [section, { type: 'array', minItems: 1, items: section }] }
    return [command.name(), SEVERAL.has(command.name()) ? several : section] as const
  })
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Configuration of sluice',
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(sections),
  }
}
