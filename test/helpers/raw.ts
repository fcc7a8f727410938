import net from 'node:net'
import { Connection, Opcode } from '#src/websocket/index.js'
import { TOKEN } from './rig.js'

/** A handshake as a client would send it, with lines replaced, added or (undefined) left out. */
export function handshake(
  path: string,
  changes: Record<string, string | undefined> = {},
  requestLine = `GET ${path} HTTP/1.1`,
): string {
  const fields: Record<string, string | undefined> = {
    Host: '127.0.0.1',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version': '13',
    Authorization: `Bearer ${TOKEN}`,
    ...changes,
  }
  const lines = Object.entries(fields).filter(([, value]) => value !== undefined)
  return `${requestLine}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
}

/** What came back for bytes sent to a server. */
export interface Answer {
  readonly status: number
  readonly head: string
  readonly body: string
  /** After a 101: the close code and reason that the server sent; 1006 for none. */
  readonly close: string
  /** After a 101: what data messages held. */
  readonly data: Buffer
}

/** Sends raw bytes, then more after the answer's head, and reads until the server ends the connection. */
export function exchange(
  port: number,
  request: string | Buffer,
  after: Buffer = Buffer.alloc(0),
  timeout = 8_000,
): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: '127.0.0.1' })
    let text = ''
    let status = 0
    const data: Buffer[] = []
    let closing = ''
    const connection = new Connection(
      {
        messageStart: () => {},
        payload: (bytes) => void data.push(Buffer.from(bytes)),
        messageEnd: () => {},
        ping: () => {},
        pong: (payload) => void data.push(Buffer.from(payload)),
        closeReceived: ({ code, reason }) => {
          closing = `${code} ${reason}`.trim()
          socket.write(Buffer.from(connection.close(1000)!))
        },
        failed: (error) => {
          closing = `server broke a rule: ${error.message}`
        },
      },
      { role: 'client', maskKey: (into) => into.fill(7) },
    )
    const finish = () => {
      clearTimeout(timer)
      const [head = '', ...body] = text.split('\r\n\r\n')
      resolve({
        status,
        head,
        body: body.join('\r\n\r\n'),
        close: status === 101 ? closing || '1006' : '',
        data: Buffer.concat(data),
      })
      socket.destroy()
    }
    const timer = setTimeout(() => {
      closing ||= 'timeout'
      finish()
    }, timeout)
    socket.on('data', (chunk) => {
      if (status === 101) return connection.receive(chunk)
      text += chunk.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end < 0) return
      status = Number(text.slice(9, 12))
      if (status !== 101) return
      const rest = Buffer.from(text.slice(end + 4), 'latin1')
      text = text.slice(0, end + 4)
      if (after.length > 0) socket.write(after)
      connection.receive(rest)
    })
    socket.on('error', () => {})
    socket.on('close', finish)
    socket.write(request)
  })
}

/** A masked frame of a client, as `Connection` makes it. */
export function clientFrame(
  payload: Uint8Array | string,
  opcode: (typeof Opcode)[keyof typeof Opcode] = Opcode.binary,
  fin = true,
): Buffer {
  const connection = new Connection(
    { messageStart() {}, payload() {}, messageEnd() {}, ping() {}, pong() {}, closeReceived() {}, failed() {} },
    { role: 'client', maskKey: (into) => into.fill(9) },
  )
  return Buffer.from(connection.frame(Buffer.from(payload), opcode, fin))
}
