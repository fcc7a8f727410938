import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { checkTokenName, formatTokenLine, parseTokenFile, withoutToken } from '../../config/index.ts'
import { SluiceError } from '../../errors/index.ts'
import { hashPassword } from '../../server/index.ts'

import { ExitCode, type Finish } from '../exit-codes.ts'
import { value } from '../options.ts'
import { escapeControl } from '../report.ts'
import { readSecret } from '../secrets.ts'

interface FileFlags {
  tokenFile?: string
}

const FILE = () =>
  value('--token-file <file>', 'the file that serve has by --token-file; made if it is not there', 'SLUICE_TOKEN_FILE')

/** What a running server does about a change: see `cli/reload.ts`. */
const SEEN = 'A running sluice serve sees the change within a second.'

export function tokenCommand(finish: Finish): Command {
  const command = new Command('token').description('who may use a server: make, list and revoke in its token file')
  command.addCommand(
    new Command('new')
      .description('make a token, print it once, and put its hash into the file; or let a password in')
      .argument('<name>', 'whom it is for; shown in logs')
      .addOption(FILE())
      .option('--expires <date>', 'until the end of this day (2027-01-31), or 2027-01-31T12:00:00Z')
      .option(
        '--password-file <file>',
        'no token: whoever logs in with the password in this file (- is standard input)',
      )
      .option('--allow <rule>', 'what it may reach, in place of what serve allows (repeatable)', add)
      .option('--allow-reverse <rule>', 'what it may have listened on, in place of what serve allows (repeatable)', add)
      .addHelpText('after', '\nExample:\n  sluice token new ann --token-file tokens --allow db.corp:5432')
      .action(async (name: string, flags: NewFlags) => finish(await makeToken(name, flags))),
  )
  command.addCommand(
    new Command('list')
      .description('whom the file lets in, and until when')
      .addOption(FILE())
      .action((flags: FileFlags) => finish(listTokens(flags))),
  )
  command.addCommand(
    new Command('revoke')
      .description('let a name in no more; what it has open ends')
      .argument('<name>')
      .addOption(FILE())
      .action((name: string, flags: FileFlags) => finish(revokeToken(name, flags))),
  )
  return command
}

interface NewFlags extends FileFlags {
  passwordFile?: string
  expires?: string
  allow?: string[]
  allowReverse?: string[]
}

const add = (text: string, before: string[] | undefined): string[] => [...(before ?? []), text]

function fileOf({ tokenFile }: FileFlags): string {
  if (tokenFile !== undefined) return tokenFile
  throw new SluiceError('ERR_SLUICE_USAGE', '--token-file is missing', { remedy: 'Give the file that serve reads.' })
}

const read = (file: string) => readSecret(file, '--token-file', 'owner')

/** Whole or not at all, and for its owner only: a server may be reading it. */
function replace(file: string, text: string): void {
  const fresh = `${file}.${process.pid}.new`
  writeFileSync(fresh, text, { mode: 0o600 })
  renameSync(fresh, file)
}

async function makeToken(name: string, flags: NewFlags): Promise<number> {
  const file = fileOf(flags)
  checkTokenName(name)
  const { passwordFile, expires, allow, allowReverse } = flags
  const token = randomBytes(24).toString('base64url')
  const credential =
    passwordFile === undefined
      ? { sha256: createHash('sha256').update(token).digest('hex') }
      : { password: await hashPassword(readPassword(passwordFile)) }
  const line = formatTokenLine({ name, ...credential, expires, allow, allowReverse })
  const before = existsSync(file) ? read(file) : ''
  const text = `${before}${before === '' || before.endsWith('\n') ? '' : '\n'}${line}\n`
  parseTokenFile(text, file)
  replace(file, text)
  if (passwordFile !== undefined) {
    process.stderr.write(
      `sluice: ${name} may use it now: sluice connect --login-file with ${name}:PASSWORD in it. ${SEEN}\n`,
    )
    return ExitCode.ok
  }
  process.stdout.write(`${token}\n`)
  process.stderr.write(
    `sluice: ${name} may use it now: SLUICE_TOKEN=… sluice connect. It is not shown again. ${SEEN}\n`,
  )
  return ExitCode.ok
}

/** The least length of a password, in characters (NIST SP 800-63B §3.1.1.2 wants 8 at least, and 15 where there is nothing else). */
const MIN_PASSWORD = 15

function readPassword(file: string): string {
  const text = file === '-' ? readFileSync(0, 'utf8') : readSecret(file, '--password-file', 'owner')
  const [password = ''] = text.split(/\r?\n/)
  if (password.length >= MIN_PASSWORD) return password
  throw new SluiceError(
    'ERR_SLUICE_USAGE',
    `the password in ${file === '-' ? 'standard input' : file} is only ${password.length} characters long (at least ${MIN_PASSWORD})`,
    { remedy: 'Use some words, or a token: sluice token new without --password-file makes one.' },
  )
}

function texts(before: string, rules: readonly { readonly text: string }[] = []): string[] {
  return rules.map(({ text }) => `${before}${text}`)
}

function listTokens(flags: FileFlags): number {
  const file = fileOf(flags)
  for (const { name, expires, token, password, allow, allowReverse } of parseTokenFile(read(file), file, 0)) {
    const until =
      expires === undefined ? 'for good' : `${Date.parse(expires) < Date.now() ? 'expired' : 'until'} ${expires}`
    const note = token === undefined ? '' : ', and stands there itself: a hash would do'
    const kind = password === undefined ? '' : ', by password'
    const rules = [...texts(', allow ', allow), ...texts(', allow-reverse ', allowReverse)].join('')
    process.stdout.write(`${escapeControl(`${name}: ${until}${kind}${rules}${note}`)}\n`)
  }
  return ExitCode.ok
}

function revokeToken(name: string, flags: FileFlags): number {
  const file = fileOf(flags)
  const text = withoutToken(read(file), name)
  if (text === undefined) throw new SluiceError('ERR_SLUICE_USAGE', `${file} has no token of the name "${name}"`)
  replace(file, text)
  process.stderr.write(`sluice: ${name} is let in no more. ${SEEN}\n`)
  return ExitCode.ok
}
