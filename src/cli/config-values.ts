import {
  formatForward,
  parseDuration,
  parseForwards,
  parseLimit,
  parseReverseRule,
  parseRule,
  parseServerUrl,
  type SpecOption,
} from '../config/index.ts'
import { parsePin } from '../node/index.ts'

const forwards = (option: SpecOption) => (text: string) => parseForwards(option, text).map(formatForward)
const as =
  (parse: (text: string) => unknown) =>
  (text: string): string[] => {
    parse(text)
    return [text]
  }
const duration = as((text) => parseDuration(text, 'the time'))

/**
 * What values of these options must be, and their canonical form; more than one where a range of ports is several forwards.
 * Each throws a SluiceError that says the remedy.
 */
export const VALUES: Readonly<Record<string, (text: string) => string[]>> = {
  url: as(parseServerUrl),
  local: forwards('-L'),
  reverse: forwards('-R'),
  dynamic: forwards('-D'),
  allow: as(parseRule),
  'allow-reverse': as(parseReverseRule),
  limit: as(parseLimit),
  pin: as(parsePin),
  timeout: duration,
  'half-close-timeout': duration,
  'handshake-timeout': duration,
  'dial-timeout': duration,
  'ping-interval': duration,
  'resume-for': duration,
  grace: duration,
}
