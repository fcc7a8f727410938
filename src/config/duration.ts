import { usage } from './address.ts'

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/**
 * A time like `30s`, `500ms`, `5m` or `1h`, in milliseconds; a bare number is seconds.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseDuration(text: string, what: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?$/.exec(text)
  const value = match === null ? Number.NaN : Number(match[1]) * UNITS[match[2] ?? 's']!
  if (!(value <= 2 ** 31 - 1)) throw usage(`${what}: ${JSON.stringify(text)} is not a time like 30s, 500ms, 5m or 1h`)
  return value
}
