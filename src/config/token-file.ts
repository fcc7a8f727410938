import { messageOf } from '../errors/index.ts'
import { usage } from './address.ts'
import { parseReverseRule, parseRule, type ReverseRule, type Rule } from './rule.ts'

/** A line of a server's token file: a name, and a token, the SHA-256 of one in hexadecimal, or the hash of a password. */
export interface TokenEntry {
  readonly name: string
  readonly token?: string
  readonly sha256?: string
  /** A PHC string of scrypt: `$scrypt$ln=17,r=8,p=1$SALT$KEY`. */
  readonly password?: string
  /** From when on it is worth nothing: a time of ISO 8601, in UTC; undefined for never. */
  readonly expires?: string
  /** What it may reach, in place of the server's rules; undefined: what those say. */
  readonly allow?: readonly Rule[]
  /** What it may have listened on, in place of the server's rules. */
  readonly allowReverse?: readonly ReverseRule[]
}

/** RFC 6750 §2.1. In a subprotocol, where browsers put it, `/` and `=` are not allowed. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/
const NAME = /^[A-Za-z0-9_.@-]{1,64}$/

/** The least length of a token in characters: 16 random bytes in base64. */
export const MIN_TOKEN = 22

/** The lines that say something, with their numbers. */
function lines(text: string): { line: string; number: number }[] {
  return text
    .split(/\r?\n/)
    .map((line, index) => ({ line: line.trim(), number: index + 1 }))
    .filter(({ line }) => line !== '' && !line.startsWith('#'))
}

/**
 * Checks a token; what it is must not be in the message.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function checkToken(token: string, what: string): string {
  if (!TOKEN.test(token))
    throw usage(
      `${what}: the token has a character that is not allowed (allowed: A-Z a-z 0-9 . _ ~ + / - and = at the end)`,
    )
  if (token.length < MIN_TOKEN) {
    throw usage(
      `${what}: the token is only ${token.length} characters long (at least ${MIN_TOKEN})`,
      'Make one with: openssl rand -hex 24',
    )
  }
  return token
}

/**
 * A server's token file: one `name:token`, `name:sha256-HEX` or `name:$scrypt$…` a line, `#` comments. There may follow, after spaces: `expires=2027-01-31` (the
 * end of that day) or `expires=2027-01-31T12:00:00Z`, and any number of `allow=RULE` and `allow-reverse=RULE`.
 *
 * @param least 0 where a file in which nobody stands means that nobody may come in
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseTokenFile(text: string, file: string, least: 0 | 1 = 1): TokenEntry[] {
  const entries = lines(text).map(({ line, number }): TokenEntry => {
    const what = `${file}, line ${number}`
    const colon = line.indexOf(':')
    const name = line.slice(0, colon)
    const [value = '', ...more] = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
    if (colon < 1 || !NAME.test(name)) throw usage(`${what} is not name:token or name:sha256-HEX`)
    const terms = parseTerms(more, what)
    if (value.startsWith('$')) return { name, password: checkHash(value, what), ...terms }
    if (!value.startsWith('sha256-')) return { name, token: checkToken(value, what), ...terms }
    const sha256 = value.slice('sha256-'.length).toLowerCase()
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw usage(`${what}: sha256- must be followed by 64 hexadecimal digits`)
    return { name, sha256, ...terms }
  })
  if (entries.length < least)
    throw usage(`${file} has no token in it`, 'Write one line: name:token. Make a token with: openssl rand -hex 24')
  const twice = entries.find((entry, index) => entries.findIndex(({ name }) => name === entry.name) !== index)
  if (twice !== undefined) throw usage(`${file}: the name "${twice.name}" stands there twice`)
  return entries
}

/** @throws SluiceError `ERR_SLUICE_USAGE` for costs that would be no protection, or take too much */
function checkHash(text: string, what: string): string {
  const [, ln, r, p] =
    /^\$scrypt\$ln=(\d\d),r=(\d),p=(\d)\$[A-Za-z0-9+/]{22,86}\$[A-Za-z0-9+/]{43,86}$/.exec(text) ?? []
  const memory = 2 ** Number(ln) * Number(r) * 128
  if (memory >= 2 ** 24 && memory <= 2 ** 28 && Number(p) >= 1) return text
  throw usage(
    `${what}: the hash of the password is not $scrypt$ln=17,r=8,p=1$SALT$KEY, with 16 to 256 MiB of memory`,
    'Make it with: sluice token new NAME --password-file FILE',
  )
}

const EXPIRES = /^expires=(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))(T(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?Z)?$/

/** Whether a year, month and day, each in its range, are a day of the calendar. */
function isDay(text: string): boolean {
  const [year = 0, month = 0, day = 0] = text.split('-').map(Number)
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
  return day <= (month === 2 ? (leap ? 29 : 28) : [4, 6, 9, 11].includes(month) ? 30 : 31)
}

/** What follows a token: until when it is good, and for what. */
function parseTerms(words: readonly string[], what: string): Pick<TokenEntry, 'expires' | 'allow' | 'allowReverse'> {
  const terms: { expires?: string; allow?: Rule[]; allowReverse?: ReverseRule[] } = {}
  for (const word of words) {
    const [, name, value = ''] = /^([a-z-]+)=(.*)$/.exec(word) ?? []
    if (name === 'expires' && terms.expires === undefined) terms.expires = parseExpiry(word, what)
    else if (name === 'allow') (terms.allow ??= []).push(parseTermRule(parseRule, value, what))
    else if (name === 'allow-reverse') (terms.allowReverse ??= []).push(parseTermRule(parseReverseRule, value, what))
    else throw usage(`${what}: ${JSON.stringify(word)} after the token is not ${TERMS}`)
  }
  return terms
}

const TERMS = 'expires=2027-01-31, expires=2027-01-31T12:00:00Z (one of them, once), allow=RULE or allow-reverse=RULE'

function parseExpiry(word: string, what: string): string {
  const match = EXPIRES.exec(word)
  if (match === null || !isDay(match[1]!))
    throw usage(`${what}: ${JSON.stringify(word)} after the token is not ${TERMS}`)
  return `${match[1]}${match[2] ?? 'T23:59:59.999Z'}`
}

function parseTermRule<T>(parse: (text: string) => T, text: string, what: string): T {
  try {
    return parse(text)
  } catch (error) {
    throw usage(`${what}: ${messageOf(error)}`)
  }
}

/** @throws SluiceError `ERR_SLUICE_USAGE` */
export function checkTokenName(name: string): string {
  if (NAME.test(name)) return name
  throw usage(`the name ${JSON.stringify(name)} is not 1 to 64 of A-Z a-z 0-9 _ . @ -`)
}

/** The line for a token file that lets a token, or a password, in without showing it. */
export function formatTokenLine(entry: TokenLine): string {
  const { name, sha256, password, expires, allow = [], allowReverse = [] } = entry
  const terms = [
    ...(expires === undefined ? [] : [`expires=${expires}`]),
    ...allow.map((rule) => `allow=${rule}`),
    ...allowReverse.map((rule) => `allow-reverse=${rule}`),
  ]
  return [`${name}:${password ?? `sha256-${sha256}`}`, ...terms].join(' ')
}

/** What {@link formatTokenLine} writes, rules as they are written. */
export interface TokenLine {
  readonly name: string
  readonly sha256?: string
  readonly password?: string
  readonly expires?: string | undefined
  readonly allow?: readonly string[] | undefined
  readonly allowReverse?: readonly string[] | undefined
}

/** A token file without the line of this name; undefined if it has none. */
export function withoutToken(text: string, name: string): string | undefined {
  const all = text.split(/(?<=\n)/)
  const rest = all.filter((line) => !line.trimStart().startsWith(`${name}:`))
  return rest.length === all.length ? undefined : rest.join('')
}

/**
 * A client's token: the first line of its file, `name:` before it allowed.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseClientToken(text: string, file: string): string {
  const first = lines(text)[0]
  if (first === undefined) throw usage(`${file} is empty: its first line must be the token`)
  const token = first.line
    .replace(/^[A-Za-z0-9_.@-]{1,64}:/, '')
    .replace(/(?:\s+(?:expires|allow|allow-reverse)=\S+)+$/, '')
  if (token.startsWith('sha256-') || token.startsWith('$scrypt$'))
    throw usage(`${file} has only a hash: a client needs the token itself`)
  return checkToken(token, `${file}, line ${first.number}`)
}
