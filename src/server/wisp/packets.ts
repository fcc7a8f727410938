/** Packets of Wisp v1 (all integers little-endian): a type, a stream id, a payload; one packet is one WebSocket message. */
export const WispType = { connect: 1, data: 2, continue: 3, close: 4 } as const

/** Why a stream was closed. */
export const WispClose = {
  unspecified: 0x01,
  voluntary: 0x02,
  network: 0x03,
  badInfo: 0x41,
  unreachable: 0x42,
  timeout: 0x43,
  refused: 0x44,
  idle: 0x47,
  blocked: 0x48,
  throttled: 0x49,
} as const

/** What a client may send. */
export type WispPacket =
  | {
      readonly type: 'connect'
      readonly stream: number
      readonly udp: boolean
      readonly host: string
      readonly port: number
    }
  | { readonly type: 'data'; readonly stream: number; readonly payload: Uint8Array }
  | { readonly type: 'close'; readonly stream: number; readonly reason: number }

const HEADER = 5

/** Reads a client's packet; undefined for one that is cut, of another type, or not for clients to send. */
export function parseWispPacket(bytes: Uint8Array): WispPacket | undefined {
  if (bytes.length < HEADER) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const stream = view.getUint32(1, true)
  const payload = bytes.subarray(HEADER)
  switch (bytes[0]) {
    case WispType.connect: {
      const kind = payload[0]
      if (payload.length < 4 || (kind !== 1 && kind !== 2) || stream === 0) return undefined
      const host = Buffer.from(payload.subarray(3)).toString('utf8')
      return { type: 'connect', stream, udp: kind === 2, host, port: view.getUint16(HEADER + 1, true) }
    }
    case WispType.data:
      return { type: 'data', stream, payload }
    case WispType.close:
      return payload.length === 1 ? { type: 'close', stream, reason: payload[0]! } : undefined
    default:
      return undefined
  }
}

export function dataHeader(stream: number): Buffer {
  const head = Buffer.alloc(HEADER)
  head[0] = WispType.data
  head.writeUInt32LE(stream, 1)
  return head
}

export function continuePacket(stream: number, packets: number): Buffer {
  const packet = Buffer.alloc(HEADER + 4)
  packet[0] = WispType.continue
  packet.writeUInt32LE(stream, 1)
  packet.writeUInt32LE(packets, HEADER)
  return packet
}

export function closePacket(stream: number, reason: number): Buffer {
  const packet = Buffer.alloc(HEADER + 1)
  packet[0] = WispType.close
  packet.writeUInt32LE(stream, 1)
  packet[HEADER] = reason
  return packet
}
