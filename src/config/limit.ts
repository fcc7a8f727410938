import { usage } from './address.ts'
import { parseDuration } from './duration.ts'
import { parseWho } from './rule.ts'

/** How much somebody may use; what is not said is not limited beyond the server's own limits. Times in ms, rates in bytes a second. */
export interface LimitTerms {
  /** Sessions at once, Wisp connections included. */
  readonly sessions?: number
  /** Connections at once, in every mode. */
  readonly streams?: number
  /** How long a session lasts. */
  readonly time?: number
  /** Bytes of all connections together, both ways, since the server began. */
  readonly bytes?: number
  /** Of all connections together, both ways. */
  readonly rate?: number
  /** The same of each connection. */
  readonly streamTime?: number
  readonly streamBytes?: number
  readonly streamRate?: number
}

/** A line of limits, and whom it is for. */
export interface Limit extends LimitTerms {
  /** As it was written. */
  readonly text: string
  /** As for a rule: names and `group:NAME`; undefined for everybody. */
  readonly who: readonly string[] | undefined
}

const EXAMPLE = 'Write it like: sessions=2 streams=100 time=8h stream-rate=1M for ann,group:dba'

const TERMS: Readonly<Record<string, (text: string, what: string) => LimitTerms>> = {
  sessions: (text, what) => ({ sessions: parseNumber(text, what) }),
  streams: (text, what) => ({ streams: parseNumber(text, what) }),
  time: (text, what) => ({ time: parseDuration(text, what) }),
  bytes: (text, what) => ({ bytes: parseBytes(text, what) }),
  rate: (text, what) => ({ rate: parseBytes(text, what) }),
  'stream-time': (text, what) => ({ streamTime: parseDuration(text, what) }),
  'stream-bytes': (text, what) => ({ streamBytes: parseBytes(text, what) }),
  'stream-rate': (text, what) => ({ streamRate: parseBytes(text, what) }),
}

/**
 * LIMIT = TERM *(" " TERM) [" for " WHO *("," WHO)]; see docs/rules.md.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseLimit(text: string): Limit {
  const what = `limit ${JSON.stringify(text)}`
  const [terms = '', names, ...more] = text.split(/\s+for\s+/)
  if (more.length > 0) throw usage(`${what} says "for" twice`, EXAMPLE)
  const limit = { text, who: names === undefined ? undefined : parseWho(names, what) }
  const read: LimitTerms[] = terms
    .trim()
    .split(/\s+/)
    .map((term) => {
      const [name = '', value = ''] = term.split('=', 2)
      const parse = TERMS[name]
      if (parse !== undefined) return parse(value, `${what}, ${name}`)
      throw usage(
        `${what}: ${JSON.stringify(term)} is not one of ${Object.keys(TERMS).join(', ')} with = and a value`,
        EXAMPLE,
      )
    })
  return Object.assign(limit, ...read) as Limit
}

function parseNumber(text: string, what: string): number {
  if (/^(0|[1-9][0-9]{0,8})$/.test(text)) return Number(text)
  throw usage(`${what}: ${JSON.stringify(text)} is not a number`, EXAMPLE)
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }

/** Bytes like `1500`, `64K`, `10M`, `1.5G`, in powers of 1024. */
function parseBytes(text: string, what: string): number {
  const [, value, unit = ''] = /^([0-9]+(?:\.[0-9]+)?)([KMGT]?)(?:i?B)?$/.exec(text) ?? []
  if (value !== undefined && Number(value) > 0) return Math.ceil(Number(value) * UNITS[unit]!)
  throw usage(`${what}: ${JSON.stringify(text)} is not a number of bytes like 1500, 64K, 10M or 1.5G`, EXAMPLE)
}
