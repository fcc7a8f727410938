import type { IncomingMessage, ServerResponse } from 'node:http'
import { originFields } from '../gate.ts'
import { plainText, respond } from '../respond.ts'
import type { Exchange } from './carrier.ts'

/** A request and its answer, over HTTP/1.1 or HTTP/2, as carriers use them. */
export function exchangeOf(request: IncomingMessage, response: ServerResponse, origin: string | undefined): Exchange {
  const allowed = originFields(origin)
  response.on('error', () => {})
  return {
    request,
    response,
    begin: (length) => {
      const fields = [
        ['Content-Type', 'application/octet-stream'],
        ['Cache-Control', 'no-store, no-transform'],
        ['X-Content-Type-Options', 'nosniff'],
        ['X-Accel-Buffering', 'no'],
        ...(length === undefined ? [] : [['Content-Length', String(length)]]),
        ...allowed,
      ]
      response.writeHead(200, fields.flat())
    },
    refuse: (status, message) => {
      if (!response.headersSent) respond(request, response, plainText(status, message, allowed))
    },
  }
}
