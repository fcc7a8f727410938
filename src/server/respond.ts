import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { HeaderFields } from '../websocket/index.ts'

/** How long a refused client may take to read why, in milliseconds. */
const FAREWELL = 2_000

export interface Answer {
  readonly status: number
  readonly fields: HeaderFields
  readonly type: string
  readonly body: string
}

/** A one-line answer in plain text. */
export function plainText(status: number, message: string, fields: HeaderFields = []): Answer {
  return { status, fields, type: 'text/plain; charset=utf-8', body: `${message}\n` }
}

/** The header fields of an answer: never cached, never sniffed, and the connection ends after it. */
export function answerFields(answer: Answer): HeaderFields {
  return [
    ['Content-Type', answer.type],
    ...(answer.status === 204 ? [] : [['Content-Length', String(Buffer.byteLength(answer.body))] as const]),
    ['Cache-Control', 'no-store'],
    ['X-Content-Type-Options', 'nosniff'],
    ['Connection', 'close'],
    ...answer.fields,
  ]
}

/** Answers a request; what it has as a body is dropped, and the connection does not go on. */
export function respond(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  request.resume()
  const fields = answerFields(answer).filter(([name]) => request.httpVersionMajor < 2 || name !== 'Connection')
  response.writeHead(
    answer.status,
    fields.flatMap((field) => [...field]),
  )
  response.end(request.method === 'HEAD' || answer.status === 204 ? undefined : answer.body)
}

/** Answers on a socket that asked for an upgrade and does not get it, and ends it. */
export function respondRaw(socket: Duplex, answer: Answer): void {
  const head = answerFields(answer).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.on('error', () => socket.destroy())
  socket.end(`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}\r\n${head.join('')}\r\n${answer.body}`)
  // What the client may have sent already is read and dropped: closing with it unread would reset the connection.
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), FAREWELL)
  timer.unref()
  socket.on('close', () => clearTimeout(timer))
  socket.on('end', () => socket.destroy())
}
