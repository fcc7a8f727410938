import { Command, Option } from 'commander'
import { formatHostPort, isFor, parseHostPort, parseRule, parseTokenFile, type Rule } from '../../config/index.ts'
import { CODES, messageOf, SluiceError } from '../../errors/index.ts'
import { Policy, type Protocol, systemResolver, type Verdict } from '../../server/index.ts'
import { readConfigFile } from '../config-file.ts'
import { ExitCode, type Finish } from '../exit-codes.ts'
import { escapeControl } from '../report.ts'
import { readSecret } from '../secrets.ts'

interface ExplainFlags {
  group?: string[]
  config?: string
  tokenFile?: string
  allow?: string[]
}

/** @param configurable the commands that a file can have a section for */
export function policyCommand(finish: Finish, configurable: () => readonly Command[]): Command {
  const explain = new Command('explain')
    .description('which rule decides whether somebody may reach a target, and why; names are resolved here')
    .argument('<name>', 'who: a name in the token file, or jwt:NAME, cert:NAME, proxy:NAME')
    .argument('<target>', 'HOST:PORT, HOST:PORT/udp, @NAME or /PATH')
    .addOption(new Option('--token-file <file>', 'the file that serve reads'))
    .addOption(new Option('--group <name>', 'a group that it is in (repeatable)').argParser(add))
    .addOption(new Option('--allow <rule>', 'as serve has it (repeatable)').argParser(add))
    .addOption(new Option('--config <file>', 'the file that serve reads: its rules and token file'))
    .addHelpText(
      'after',
      '\nThe exit code is 0 if it is allowed, 6 if not.\n\nExample:\n  sluice policy explain ann db.corp:5432 --config sluice.yaml',
    )
    .action(async (name: string, target: string, flags: ExplainFlags) =>
      finish(await runExplain(name, target, flags, configurable())),
    )
  return new Command('policy').description('what the rules of a server say').addCommand(explain)
}

const add = (text: string, before: string[] | undefined) => [...(before ?? []), text]

async function runExplain(
  name: string,
  target: string,
  flags: ExplainFlags,
  commands: readonly Command[],
): Promise<number> {
  const { whose, rules, open } = rulesFor(name, flags, commands)
  const say = (text: string) => void process.stdout.write(`${escapeControl(text)}\n`)
  const none = open ? ', of which there are none: public addresses only' : ', of which none is: nothing'
  say(`rules: ${whose}${rules.length === 0 ? none : ''}`)
  for (const { text } of rules) say(`  ${text}`)
  const allowed = await explain(new Policy(rules, open), target, say)
  say(`${name} ${allowed ? 'may reach' : 'may not reach'} ${target}`)
  return allowed ? ExitCode.ok : CODES.ERR_SLUICE_POLICY.exit
}

/** The rules that hold for somebody: the token's own, or else the server's. */
function rulesFor(
  name: string,
  flags: ExplainFlags,
  commands: readonly Command[],
): { readonly whose: string; readonly rules: readonly Rule[]; readonly open: boolean } {
  const section = flags.config === undefined ? {} : (readConfigFile(flags.config, commands).get('serve')?.[0] ?? {})
  const file = flags.tokenFile ?? (section['token-file'] as string | undefined)
  const said = flags.allow ?? (section.allow as string[] | undefined) ?? []
  // As in a server: whoever names targets and gives no rule means these.
  const named = ((section.target as string[] | undefined) ?? []).map((text) => `@${text.split('=')[0]}`)
  const all = (said.length > 0 ? said : named).map(parseRule)
  const entries = file === undefined ? [] : parseTokenFile(readSecret(file, '--token-file', 'owner'), file)
  const entry = entries.find((one) => one.name === name)
  // A name with a colon is vouched for by somebody else than the file.
  if (file !== undefined && entry === undefined && !name.includes(':')) {
    throw new SluiceError('ERR_SLUICE_USAGE', `${file} has no token of the name "${name}"`, {
      remedy: 'sluice token list says which there are.',
    })
  }
  if (entry?.allow !== undefined) return { whose: `those of ${name}`, rules: entry.allow, open: false }
  const rules = all.filter(({ who }) => isFor(who, { name, groups: flags.group ?? [] }))
  const whose = rules.length < all.length ? `those of the server that are for ${name}` : 'of the server'
  return { whose: entry === undefined ? whose : `${whose}: ${name} has none of its own`, rules, open: all.length === 0 }
}

/** Asks as the server does: before the name is resolved, and for each address. */
async function explain(policy: Policy, text: string, say: (text: string) => void): Promise<boolean> {
  const told = (what: string, { allowed, why }: Verdict) => {
    say(`${what}: ${allowed ? 'yes' : 'no'}, ${why}`)
    return allowed
  }
  if (text.startsWith('@')) return told(text, policy.checkNamed(text.slice(1)))
  if (text.startsWith('/')) return told(text, policy.checkPath(text))
  const protocol: Protocol = text.endsWith('/udp') ? 'udp' : 'tcp'
  const target = parseHostPort(text.replace(/\/(udp|tcp)$/, ''), 'target')
  const verdict = policy.checkTarget(target, protocol)
  if (!verdict.allowed) return told(formatHostPort(target), verdict)
  let addresses: string[]
  try {
    addresses = await systemResolver(target.host)
  } catch (cause) {
    throw new SluiceError('ERR_SLUICE_UNREACHABLE', `the name ${target.host} cannot be resolved: ${messageOf(cause)}`, {
      cause,
    })
  }
  return addresses.map((address) => told(address, policy.checkAddress(target, address, protocol))).includes(true)
}
