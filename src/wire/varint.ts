import { malformed } from './violation.ts'

/** The largest value of a varint, stream id or offset: what a number holds exactly. */
export const MAX_VALUE: number = Number.MAX_SAFE_INTEGER

/** How many bytes a value takes (RFC 9000 §16). */
export function varintLength(value: number): 1 | 2 | 4 | 8 {
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x4000_0000 ? 4 : 8
}

/** Writes a varint in its shortest form; returns where it ends. */
export function writeVarint(into: Uint8Array, at: number, value: number): number {
  if (value < 0x40) {
    into[at] = value
    return at + 1
  }
  if (value < 0x4000) {
    into[at] = 0x40 | (value >>> 8)
    into[at + 1] = value & 0xff
    return at + 2
  }
  if (value < 0x4000_0000) {
    into[at] = 0x80 | (value >>> 24)
    into[at + 1] = (value >>> 16) & 0xff
    into[at + 2] = (value >>> 8) & 0xff
    into[at + 3] = value & 0xff
    return at + 4
  }
  const high = Math.floor(value / 0x1_0000_0000)
  into[at] = 0xc0 | (high >>> 24)
  into[at + 1] = (high >>> 16) & 0xff
  into[at + 2] = (high >>> 8) & 0xff
  into[at + 3] = high & 0xff
  into[at + 4] = (value >>> 24) & 0xff
  into[at + 5] = (value >>> 16) & 0xff
  into[at + 6] = (value >>> 8) & 0xff
  into[at + 7] = value & 0xff
  return at + 8
}

/** The length of the varint that begins with this byte. */
export function varintLengthFrom(first: number): 1 | 2 | 4 | 8 {
  return (1 << (first >>> 6)) as 1 | 2 | 4 | 8
}

/**
 * Reads the varint at `at`, all of whose bytes must be there.
 *
 * @throws Violation MALFORMED for a longer form than needed, or a value above 2^53 − 1
 */
export function readVarint(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!
  switch (first >>> 6) {
    case 0:
      return first
    case 1:
      return shortest(((first & 0x3f) << 8) | bytes[at + 1]!, 0x40)
    case 2:
      return shortest(((first & 0x3f) << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!, 0x4000)
    default: {
      const high = ((first & 0x3f) << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
      const low = bytes[at + 4]! * 0x100_0000 + ((bytes[at + 5]! << 16) | (bytes[at + 6]! << 8) | bytes[at + 7]!)
      if (high >= 0x20_0000) throw malformed('a varint is above 2^53 - 1')
      return shortest(high * 0x1_0000_0000 + low, 0x4000_0000)
    }
  }
}

function shortest(value: number, least: number): number {
  if (value < least) throw malformed(`the varint of ${value} is not in its shortest form`)
  return value
}
