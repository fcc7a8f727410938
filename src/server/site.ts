import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { messageOf, SluiceError } from '../errors/index.ts'

/** What whoever is not let in sees: what a web server would show. */
export interface Site {
  show(request: IncomingMessage, response: ServerResponse): void
}

/** Fields about one connection (RFC 9110 §7.6.1), and what could be a credential for us. */
const LEFT_OUT = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'authorization',
  'sec-websocket-protocol',
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-extensions',
  'http2-settings',
])

/**
 * The files of a folder, as they are now; `index.html` for folders, `404.html` (or a line) for what is not there.
 *
 * @throws SluiceError `ERR_SLUICE_CONFIG` if it cannot be read
 */
export async function folderSite(folder: string): Promise<Site> {
  const { default: sirv } = await import('sirv')
  let serve: ReturnType<typeof sirv>
  try {
    serve = sirv(folder, {
      etag: true,
      extensions: ['html'],
      onNoMatch: (request, response) => missing(request, response),
    })
  } catch (cause) {
    throw new SluiceError('ERR_SLUICE_CONFIG', `the folder ${folder} cannot be read: ${messageOf(cause)}`, { cause })
  }
  const missing = (request: IncomingMessage, response: ServerResponse) => {
    response.statusCode = 404
    // Its own page is found, or there is none.
    if (request.url === '/404.html') return void page(response, 404, 'Not Found')
    request.url = '/404.html'
    serve(request, response)
  }
  return {
    show: (request, response) => {
      request.resume()
      if (request.method === 'GET' || request.method === 'HEAD') serve(request, response)
      else page(response, 405, 'Method Not Allowed', { Allow: 'GET, HEAD' })
    },
  }
}

/** What another server answers: requests are handed on, without what could be a credential for us. */
export function proxySite(backend: URL): Site {
  const { request: send } = backend.protocol === 'https:' ? https : http
  return {
    show: (request, response) => {
      const { remoteAddress } = request.socket
      const onward = send(backend, {
        method: request.method ?? 'GET',
        path: request.url ?? '/',
        headers: { ...passed(request.headers), 'x-forwarded-for': remoteAddress ?? '' },
      })
      onward.on('response', (answer) => {
        response.writeHead(answer.statusCode ?? 502, passed(answer.headers))
        answer.pipe(response)
        answer.on('error', () => response.destroy())
      })
      onward.on('error', () => {
        if (response.headersSent) response.destroy()
        else page(response, 502, 'Bad Gateway')
      })
      response.on('close', () => onward.destroy())
      request.pipe(onward)
    },
  }
}

function passed(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !LEFT_OUT.has(name) && !name.startsWith(':')))
}

function page(response: ServerResponse, status: number, text: string, headers: Record<string, string> = {}): void {
  const body = `<html>\n<head><title>${status} ${text}</title></head>\n<body><h1>${status} ${text}</h1></body>\n</html>\n`
  response.writeHead(status, { 'Content-Type': 'text/html', 'Content-Length': Buffer.byteLength(body), ...headers })
  response.end(body)
}
