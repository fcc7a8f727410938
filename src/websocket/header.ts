import type { FrameOpcode } from './opcode.ts'

const FIN = 0x80
const MASKED = 0x80
const TWO_TO_32 = 2 ** 32

/** How many bytes the header of a frame takes (RFC 6455 §5.2). */
export function headerLength(payloadLength: number, masked: boolean): number {
  return (payloadLength < 126 ? 2 : payloadLength < 65536 ? 4 : 10) + (masked ? 4 : 0)
}

/**
 * Writes a frame header so that it ends right before `end`, where the payload starts.
 *
 * @param key the masking key, or undefined for an unmasked frame (a server's)
 * @returns where the header starts
 */
export function writeHeaderBefore(
  target: Uint8Array,
  end: number,
  opcode: FrameOpcode,
  fin: boolean,
  payloadLength: number,
  key: Uint8Array | undefined,
): number {
  const start = end - headerLength(payloadLength, key !== undefined)
  const maskBit = key === undefined ? 0 : MASKED
  let at = start
  target[at++] = (fin ? FIN : 0) | opcode
  if (payloadLength < 126) {
    target[at++] = maskBit | payloadLength
  } else if (payloadLength < 65536) {
    target[at++] = maskBit | 126
    target[at++] = payloadLength >>> 8
    target[at++] = payloadLength & 0xff
  } else {
    target[at++] = maskBit | 127
    const high = Math.floor(payloadLength / TWO_TO_32)
    for (let shift = 24; shift >= 0; shift -= 8) target[at++] = (high >>> shift) & 0xff
    for (let shift = 24; shift >= 0; shift -= 8) target[at++] = (payloadLength >>> shift) & 0xff
  }
  if (key !== undefined) {
    for (let i = 0; i < 4; i++) target[at++] = key[i]!
  }
  return start
}
