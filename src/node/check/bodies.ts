import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Way } from '../../link/index.ts'
import { requestHead } from '../open.ts'
import { reachServer } from '../reach.ts'
import type { TunnelClientOptions } from '../tunnel-client.ts'
import type { Found } from './found.ts'

/** How long an answer may take whose request has not ended yet, in milliseconds: the server gives it at once. */
const AT_ONCE = 1_000

/**
 * Whether a request is handed on before its body has ended: a server answers the one that begins a carrier as soon as it has its
 * head (spec/http-1.md §2). Whether answers are is known from the way that got through.
 */
export async function checkBodies(options: TunnelClientOptions, way: Way): Promise<Found> {
  const { url } = options
  const { host, fields } = await requestHead(url, options)
  const socket = await reachServer(url, options, 'http/1.1')
  socket.on('error', () => {})
  try {
    const answered = once(socket, 'data').then(
      () => true,
      () => true,
    )
    const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    socket.write(
      `POST ${url.prefix}/http HTTP/1.1\r\nHost: ${host}\r\n${lines}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\n\0\r\n`,
    )
    const streamed = await Promise.race([answered, sleep(AT_ONCE, false)])
    const kept = way === 'poll' || way === 'turns'
    const up = streamed ? 'requests are handed on as they come' : 'requests are kept back until they are whole'
    const down = kept ? 'answers are kept back until they are whole' : 'answers are handed on as they come'
    const obstacle = kept ? 'answers-kept-back' : streamed ? undefined : 'requests-kept-back'
    return { text: `${up}, ${down}`, facts: { requestsStreamed: streamed, answersStreamed: !kept }, obstacle }
  } finally {
    socket.destroy()
  }
}
