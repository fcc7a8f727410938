import { formatHostPort, type HostPort } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { fieldList, fieldValues, type ResponseHead, ResponseHeadParser } from '../websocket/index.ts'
import type { Dialogue } from './outward.ts'

/** A 407, read to its end. */
export interface Refused {
  readonly head: ResponseHead
  /** Whether the next request may go over the same connection: some schemes go on there. */
  readonly goesOn: boolean
}

/**
 * CONNECT (RFC 9110 §9.3.6), and its answer. Ends with undefined when connected.
 *
 * @param authorization the value of `Proxy-Authorization`
 */
export function connectDialogue(to: HostPort, authorization: string | undefined): Dialogue<Refused | undefined> {
  const uri = formatHostPort(to)
  const field = authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`
  const parser = new ResponseHeadParser()
  let refused: Refused | undefined
  let body = 0
  const skip = (bytes: Uint8Array) => {
    const rest = bytes.subarray(body)
    body = Math.max(0, body - bytes.length)
    return body > 0 ? undefined : { result: refused, rest }
  }
  return {
    first: Buffer.from(`CONNECT ${uri} HTTP/1.1\r\nHost: ${uri}\r\n${field}\r\n`),
    push: (bytes) => {
      if (refused !== undefined) return skip(bytes)
      const answer = parser.push(bytes)
      if (answer === undefined) return undefined
      const { status, reason } = answer.head
      const rest = bytes.subarray(answer.used)
      if (status >= 200 && status < 300) return { result: undefined, rest }
      if (status === 407) {
        const length = lengthOf(answer.head)
        refused = { head: answer.head, goesOn: length !== undefined }
        body = length ?? 0
        // A connection that does not go on is closed: the rest of it does not matter.
        return refused.goesOn ? skip(rest) : { result: refused, rest: new Uint8Array(0) }
      }
      const [squid] = fieldValues(answer.head.fields, 'x-squid-error')
      const why = squid === undefined ? '' : ` (${squid})`
      throw new SluiceError('ERR_SLUICE_PROXY', `the proxy does not connect to ${uri}: ${status} ${reason}${why}`, {
        remedy: remedyFor(status),
      })
    },
  }
}

function remedyFor(status: number): string {
  if (status === 403 || status === 405) {
    return 'Many proxies let CONNECT through to port 443 only: let the server listen there.'
  }
  if (status >= 500) return 'Is the name right, and known to the proxy? Otherwise ask whoever runs it.'
  return 'Ask whoever runs the proxy, or try another with --proxy.'
}

/** How long the body is; undefined where the connection does not outlive it. */
function lengthOf({ fields }: ResponseHead): number | undefined {
  const closes = [...fieldList(fields, 'connection'), ...fieldList(fields, 'proxy-connection')]
  if (closes.some((token) => token.toLowerCase() === 'close')) return undefined
  const [text = ''] = fieldValues(fields, 'content-length')
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined
}
