/** Frame opcodes (RFC 6455 §5.2). */
export const Opcode = {
  continuation: 0x0,
  text: 0x1,
  binary: 0x2,
  close: 0x8,
  ping: 0x9,
  pong: 0xa,
} as const

/** The opcode of a message's first frame. */
export type MessageOpcode = typeof Opcode.text | typeof Opcode.binary

/** The opcodes that may begin a frame of our own. */
export type FrameOpcode = (typeof Opcode)[keyof typeof Opcode]

/** The most payload that a control frame may have, in bytes (RFC 6455 §5.5). */
export const MAX_CONTROL_PAYLOAD = 125

/** The longest frame header: 2 bytes, 8 of extended length, 4 of masking key. */
export const MAX_HEADER = 14
