import { SluiceError } from '../errors/index.ts'
import { MAX_CONTROL_PAYLOAD } from './opcode.ts'

/** Close codes that sluice sends (RFC 6455 §7.4.1 and the IANA registry). */
export const CloseCode = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  unsupported: 1003,
  /** Never sent: stands for a Close frame without a code. */
  none: 1005,
  /** Never sent: stands for an end without a Close frame. */
  abnormal: 1006,
  invalidText: 1007,
  policy: 1008,
  tooBig: 1009,
  internal: 1011,
  tryLater: 1013,
} as const

/** Whether a Close frame may carry this code (RFC 6455 §7.4; 1012 to 1014 by the IANA registry). */
export function isSendableCloseCode(code: number): boolean {
  if (code >= 3000 && code <= 4999) return true
  return code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The payload of a Close frame. A reason that is too long for a control frame (123 bytes) is cut between characters.
 *
 * @throws SluiceError `ERR_SLUICE_MISUSE` for a code that must not be sent
 */
export function encodeClose(code: number, reason = ''): Uint8Array {
  if (!isSendableCloseCode(code)) {
    throw new SluiceError(
      'ERR_SLUICE_MISUSE',
      `close code ${code} must not be sent (allowed: 1000-1003, 1007-1014, 3000-4999)`,
    )
  }
  const room = MAX_CONTROL_PAYLOAD - 2
  let text = encoder.encode(reason)
  if (text.length > room) {
    let cut = room
    while (cut > 0 && (text[cut]! & 0xc0) === 0x80) cut--
    text = text.subarray(0, cut)
  }
  const payload = new Uint8Array(2 + text.length)
  payload[0] = code >>> 8
  payload[1] = code & 0xff
  payload.set(text, 2)
  return payload
}

/**
 * Reads the payload of a Close frame; an empty one is code 1005 (RFC 6455 §7.1.5).
 *
 * @throws SluiceError `ERR_SLUICE_PROTOCOL` or `ERR_SLUICE_INVALID_TEXT`
 */
export function decodeClose(payload: Uint8Array): { code: number; reason: string } {
  if (payload.length === 0) return { code: CloseCode.none, reason: '' }
  if (payload.length === 1) {
    throw new SluiceError(
      'ERR_SLUICE_PROTOCOL',
      'a Close frame has 1 byte of payload (allowed: 0, or a code of 2 bytes)',
      {
        closeCode: CloseCode.protocolError,
      },
    )
  }
  const code = (payload[0]! << 8) | payload[1]!
  if (!isSendableCloseCode(code)) {
    throw new SluiceError('ERR_SLUICE_PROTOCOL', `a Close frame carries code ${code}, which must not be sent`, {
      closeCode: CloseCode.protocolError,
    })
  }
  try {
    return { code, reason: decoder.decode(payload.subarray(2)) }
  } catch (cause) {
    throw new SluiceError('ERR_SLUICE_INVALID_TEXT', 'the reason of a Close frame is not UTF-8', {
      closeCode: CloseCode.invalidText,
      cause,
    })
  }
}
