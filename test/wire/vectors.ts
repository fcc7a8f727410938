import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Frame } from '#src/wire/index.js'
import { ROOT } from '../helpers/need.js'

/** A frame as vectors write it: bytes as hexadecimal. */
export type FrameJson = Record<string, unknown>

export interface FrameVector {
  readonly name: string
  readonly hex: string
  readonly frame: FrameJson
  /** What follows the header of OPEN, DATA and DATA_NEXT, as hexadecimal. */
  readonly data?: string
  /** The bytes are not what an encoder writes for this frame. */
  readonly decodeOnly?: boolean
}

export interface RefusalVector {
  readonly name: string
  readonly hex: string
  readonly error: string
  /** The longest message allowed; default 524288. */
  readonly maxMessage?: number
}

export interface VarintVector {
  readonly name: string
  readonly hex: string
  readonly value?: number
  readonly error?: string
}

/** A message of one side, or something that happens. */
export type ConversationStep =
  | { readonly from: 'client' | 'server'; readonly carrier: number; readonly hex: string; readonly lost?: boolean }
  | { readonly event: string }

export interface Conversation {
  readonly name: string
  readonly note: string
  readonly messages: readonly ConversationStep[]
}

export function load<T>(file: string): T {
  return JSON.parse(readFileSync(join(ROOT, 'spec', 'vectors', file), 'utf8')) as T
}

export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
export const fromHex = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'))

const BYTES = new Set(['nonce', 'sessionId', 'secret', 'proof', 'opaque', 'payload'])

export function frameToJson(frame: Frame): FrameJson {
  return Object.fromEntries(
    Object.entries(frame).map(([key, value]) => [key, BYTES.has(key) ? toHex(value as Uint8Array) : value]),
  )
}

export function frameFromJson(json: FrameJson): Frame {
  return Object.fromEntries(
    Object.entries(json).map(([key, value]) => [key, BYTES.has(key) ? fromHex(value as string) : value]),
  ) as unknown as Frame
}
