import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv4 } from 'node:net'

/** Answers by name, in turn, the last one for good: a list of addresses. */
export type Zone = Readonly<Record<string, readonly (readonly string[])[]>>

/** A DNS server (RFC 1035) that can say something else the second time. */
export interface DnsServer {
  /** `127.0.0.1:PORT`, for --resolver. */
  readonly address: string
  /** How often each name was asked for, whichever the type. */
  readonly asked: Map<string, number>
  close(): void
}

const TYPE = { A: 1, AAAA: 28 }

export async function dnsServer(zone: Zone): Promise<DnsServer> {
  const socket = createSocket('udp4')
  const asked = new Map<string, number>()
  /** Of A queries alone: a resolver asks for both kinds at once. */
  const turns = new Map<string, number>()
  socket.on('message', (query, from) => {
    const { name, type, end } = questionOf(query)
    asked.set(name, (asked.get(name) ?? 0) + 1)
    const turn = turns.get(name) ?? 0
    if (type === TYPE.A) turns.set(name, turn + 1)
    const answers = zone[name]?.[Math.min(turn, zone[name].length - 1)]
    const records = (answers ?? []).flatMap((text) => recordOf(text, type))
    const head = Buffer.from(query.subarray(0, 12))
    head.writeUInt16BE(answers === undefined ? 0x8183 : 0x8180, 2)
    head.writeUInt16BE(records.length, 6)
    head.writeUInt32BE(0, 8)
    socket.send(Buffer.concat([head, query.subarray(12, end), ...records]), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return { address: `127.0.0.1:${socket.address().port}`, asked, close: () => socket.close() }
}

function questionOf(query: Buffer): { readonly name: string; readonly type: number; readonly end: number } {
  const labels: string[] = []
  let at = 12
  for (let length = query[at]!; length > 0; length = query[at]!) {
    labels.push(query.subarray(at + 1, at + 1 + length).toString('latin1'))
    at += 1 + length
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 }
}

/** Of the name that was asked for, with no time to live. */
function recordOf(address: string, type: number): Buffer[] {
  const four = isIPv4(address)
  if (type !== (four ? TYPE.A : TYPE.AAAA)) return []
  const data = four ? Buffer.from(address.split('.').map(Number)) : bytesOf(address)
  const head = Buffer.from('c00c0000000100000000', 'hex')
  head.writeUInt16BE(type, 2)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(data.length)
  return [Buffer.concat([head, length, data])]
}

function bytesOf(address: string): Buffer {
  const [before = '', after] = address.split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const [first, last] = [groups(before), groups(after ?? '')]
  const all = [...first, ...Array(8 - first.length - last.length).fill('0'), ...last]
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex')
}
