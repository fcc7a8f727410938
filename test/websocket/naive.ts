/**
 * A second decoder, written for clearness alone: it wants all bytes at once, copies everything, and knows nothing of the
 * first. What both say must agree.
 */
export type NaiveEvent = { message: number; hex: string } | { control: number; hex: string } | { refused: number }

export function naiveDecode(bytes: Uint8Array, fromClient: boolean): { events: NaiveEvent[]; rest: number } {
  const events: NaiveEvent[] = []
  let at = 0
  let open: { opcode: number; parts: Buffer[] } | undefined
  for (;;) {
    const frame = readFrame(bytes, at)
    const problem = at < bytes.length ? check(bytes, at, fromClient, open !== undefined) : undefined
    if (problem !== undefined) return { events: [...events, { refused: problem }], rest: 0 }
    if (frame === undefined) return { events, rest: bytes.length - at }
    at = frame.next
    if (frame.opcode >= 8) {
      events.push({ control: frame.opcode, hex: frame.payload.toString('hex') })
      continue
    }
    open ??= { opcode: frame.opcode, parts: [] }
    open.parts.push(frame.payload)
    if (!frame.fin) continue
    events.push({ message: open.opcode, hex: Buffer.concat(open.parts).toString('hex') })
    open = undefined
  }
}

/** The close code for a frame that starts wrongly, as soon as enough of it is there. */
function check(bytes: Uint8Array, at: number, fromClient: boolean, inMessage: boolean): number | undefined {
  const first = bytes[at]!
  const opcode = first & 15
  if ((first & 0x70) !== 0) return 1002
  if (![0, 1, 2, 8, 9, 10].includes(opcode)) return 1002
  if (opcode >= 8 && (first & 0x80) === 0) return 1002
  if (opcode === 0 && !inMessage) return 1002
  if ((opcode === 1 || opcode === 2) && inMessage) return 1002
  if (at + 1 >= bytes.length) return undefined
  const second = bytes[at + 1]!
  if (((second & 0x80) !== 0) !== fromClient) return 1002
  if (opcode >= 8 && (second & 0x7f) > 125) return 1002
  const header = 2 + ((second & 0x7f) === 126 ? 2 : (second & 0x7f) === 127 ? 8 : 0) + (fromClient ? 4 : 0)
  if (bytes.length - at < header) return undefined
  const view = Buffer.from(bytes)
  if ((second & 0x7f) === 126 && view.readUInt16BE(at + 2) < 126) return 1002
  if ((second & 0x7f) === 127) {
    const length = view.readBigUInt64BE(at + 2)
    if (length < 65536n || length >> 63n === 1n) return 1002
    if (length > BigInt(Number.MAX_SAFE_INTEGER)) return 1009
  }
  return undefined
}

function readFrame(
  bytes: Uint8Array,
  at: number,
): { opcode: number; fin: boolean; payload: Buffer; next: number } | undefined {
  const view = Buffer.from(bytes.slice(at))
  if (view.length < 2) return undefined
  let length = BigInt(view[1]! & 0x7f)
  let header = 2
  if (length === 126n) {
    if (view.length < 4) return undefined
    length = BigInt(view.readUInt16BE(2))
    header = 4
  } else if (length === 127n) {
    if (view.length < 10) return undefined
    length = view.readBigUInt64BE(2)
    header = 10
  }
  const masked = (view[1]! & 0x80) !== 0
  const start = header + (masked ? 4 : 0)
  if (BigInt(view.length) < BigInt(start) + length) return undefined
  const payload = Buffer.from(view.subarray(start, start + Number(length)))
  if (masked) for (let i = 0; i < payload.length; i++) payload[i]! ^= view[header + (i % 4)]!
  return { opcode: view[0]! & 15, fin: (view[0]! & 0x80) !== 0, payload, next: at + start + Number(length) }
}
