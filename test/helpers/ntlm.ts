import { createHmac, randomBytes } from 'node:crypto'
import type net from 'node:net'
import { connectTo } from './net.js'

const NEGOTIATE = 'NTLMSSP\0'
/** Unicode, request target, NTLM, always sign, target is a domain, extended security, target information. */
const FLAGS = 0x00898205 | 0x00010000

function challengeMessage(server: Buffer): Buffer {
  const domain = Buffer.from('CORP', 'utf16le')
  const pair = (id: number, value: Buffer) => {
    const head = Buffer.alloc(4)
    head.writeUInt16LE(id, 0)
    head.writeUInt16LE(value.length, 2)
    return Buffer.concat([head, value])
  }
  const info = Buffer.concat([pair(2, domain), pair(1, Buffer.from('PROXY', 'utf16le')), pair(0, Buffer.alloc(0))])
  const message = Buffer.alloc(56)
  message.write(NEGOTIATE, 0, 'latin1')
  message.writeUInt32LE(2, 8)
  message.writeUInt16LE(domain.length, 12)
  message.writeUInt16LE(domain.length, 14)
  message.writeUInt32LE(56, 16)
  message.writeUInt32LE(FLAGS, 20)
  server.copy(message, 24)
  message.writeUInt16LE(info.length, 40)
  message.writeUInt16LE(info.length, 42)
  message.writeUInt32LE(56 + domain.length, 44)
  return Buffer.concat([message, domain, info])
}

/** Whether an AUTHENTICATE message proves the password (MS-NLMP §3.3.2, NTLMv2). */
function proves(message: Buffer, server: Buffer, ntHash: Buffer): boolean {
  const field = (at: number) => {
    const offset = message.readUInt32LE(at + 4)
    return message.subarray(offset, offset + message.readUInt16LE(at))
  }
  const [response, domain, user] = [field(20), field(28).toString('utf16le'), field(36).toString('utf16le')]
  const md5 = (key: Buffer, ...parts: Buffer[]) => createHmac('md5', key).update(Buffer.concat(parts)).digest()
  const key = md5(ntHash, Buffer.from(user.toUpperCase() + domain, 'utf16le'))
  return response.subarray(0, 16).equals(md5(key, server, response.subarray(16)))
}

/** A proxy that connects whoever proves by NTLMv2, on one connection, to have the password with this hash. */
export function ntlmProxy(socket: net.Socket, ntHash: Buffer): void {
  const server = randomBytes(8)
  let asked = ''
  const onData = (bytes: Buffer) => {
    asked += bytes.toString('latin1')
    const end = asked.indexOf('\r\n\r\n')
    if (end < 0) return
    const [head, rest] = [asked.slice(0, end), asked.slice(end + 4)]
    asked = ''
    const said = /^Proxy-Authorization: NTLM (\S+)$/im.exec(head)?.[1]
    const message = Buffer.from(said ?? '', 'base64')
    const refuse = (value: string) =>
      socket.write(`HTTP/1.1 407 Who\r\nProxy-Authenticate: ${value}\r\nContent-Length: 5\r\n\r\nasks\n`)
    if (message.length < 12) return void refuse('NTLM')
    if (message.readUInt32LE(8) === 1) return void refuse(`NTLM ${challengeMessage(server).toString('base64')}`)
    if (!proves(message, server, ntHash)) return void refuse('NTLM')
    socket.off('data', onData)
    socket.pause()
    const [, host, port] = /^CONNECT (\S+):(\d+) /.exec(head)!
    void connectTo(Number(port)).then((far) => {
      socket.write(`HTTP/1.1 200 ${host}\r\n\r\n`)
      far.write(Buffer.from(rest, 'latin1'))
      socket.pipe(far).pipe(socket)
      far.on('error', () => socket.destroy())
      socket.on('close', () => far.destroy())
    })
  }
  socket.on('data', onData)
}
