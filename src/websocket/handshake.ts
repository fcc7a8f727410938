import { CREDENTIALS_REMEDY, SluiceError } from '../errors/index.ts'
import { checkField, fieldHas, fieldList, fieldValues, type HeaderFields, isToken, type ResponseHead } from './http.ts'

/** The text of base64(SHA-1(text)); the host's, since this room has no cryptography of its own. */
export type Sha1Base64 = (text: string) => string

/** RFC 6455 §1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** What `Sec-WebSocket-Accept` must be for a key (RFC 6455 §4.2.2). */
export function acceptFor(key: string, sha1: Sha1Base64): string {
  return sha1(key + GUID)
}

/** A client's opening handshake (RFC 6455 §4.1). */
export interface UpgradeRequest {
  /** The authority, as it goes into `Host`. */
  readonly host: string
  /** Path and query. */
  readonly path: string
  /** base64 of 16 random bytes. */
  readonly key: string
  readonly protocols?: readonly string[]
  /** Further fields; those of the handshake itself are refused. */
  readonly fields?: HeaderFields
}

const OWN_FIELDS = new Set([
  'host',
  'upgrade',
  'connection',
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-protocol',
  'sec-websocket-extensions',
  'content-length',
  'transfer-encoding',
])

/**
 * The request's text, each character one byte.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE` for what cannot stand in a request
 */
export function formatRequest(request: UpgradeRequest): string {
  if (!/^[\x21-\x7e]+$/.test(request.path) || !request.path.startsWith('/')) {
    throw new SluiceError('ERR_SLUICE_USAGE', `path ${JSON.stringify(request.path)} cannot stand in a request line`)
  }
  checkField('Host', request.host)
  let host = request.host
  const lines: string[] = []
  for (const [name, value] of request.fields ?? []) {
    checkField(name, value)
    if (name.toLowerCase() === 'host') {
      host = value
    } else if (OWN_FIELDS.has(name.toLowerCase())) {
      throw new SluiceError('ERR_SLUICE_USAGE', `header ${name} is set by the WebSocket handshake and cannot be given`)
    } else {
      lines.push(`${name}: ${value}`)
    }
  }
  for (const protocol of request.protocols ?? []) {
    if (!isToken(protocol))
      throw new SluiceError('ERR_SLUICE_USAGE', `subprotocol ${JSON.stringify(protocol)} is not a token`)
  }
  const head = [
    `GET ${request.path} HTTP/1.1`,
    `Host: ${host}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${request.key}`,
    'Sec-WebSocket-Version: 13',
  ]
  if (request.protocols?.length) head.push(`Sec-WebSocket-Protocol: ${request.protocols.join(', ')}`)
  return [...head, ...lines, '', ''].join('\r\n')
}

/**
 * A client's check of the answer (RFC 6455 §4.1, second half).
 *
 * @returns the subprotocol that the server chose, if any
 * @throws SluiceError `ERR_SLUICE_AUTH` (401, 407), `ERR_SLUICE_POLICY` (403), `ERR_SLUICE_REFUSED` (any other status but
 * 101), `ERR_SLUICE_HANDSHAKE` (a 101 that breaks the rules)
 */
export function checkResponse(head: ResponseHead, request: UpgradeRequest, sha1: Sha1Base64): string | undefined {
  if (head.status !== 101) throw refusal(head)
  const bad = (what: string) => new SluiceError('ERR_SLUICE_HANDSHAKE', `the server answered 101, but ${what}`)
  if (!fieldHas(head.fields, 'upgrade', 'websocket')) throw bad('without "Upgrade: websocket"')
  if (!fieldHas(head.fields, 'connection', 'upgrade')) throw bad('without "Connection: Upgrade"')
  const accept = fieldValues(head.fields, 'sec-websocket-accept')
  if (accept.length !== 1 || accept[0] !== acceptFor(request.key, sha1)) {
    throw bad(`Sec-WebSocket-Accept is ${accept.length === 0 ? 'missing' : 'not that of our key'}`)
  }
  if (fieldList(head.fields, 'sec-websocket-extensions').length > 0) throw bad('with an extension that was not offered')
  const chosen = fieldList(head.fields, 'sec-websocket-protocol')
  const [protocol] = chosen
  if (chosen.length > 1) throw bad('with more than one subprotocol')
  if (protocol !== undefined && !request.protocols?.includes(protocol)) {
    throw bad(`with subprotocol ${JSON.stringify(protocol)}, which was not offered`)
  }
  return protocol
}

function refusal(head: ResponseHead): SluiceError {
  const answer = `${head.status}${head.reason === '' ? '' : ` ${head.reason}`}`
  const facts = { status: head.status }
  if (head.status === 401 || head.status === 407) {
    return new SluiceError(
      'ERR_SLUICE_AUTH',
      `the ${head.status === 401 ? 'server' : 'proxy'} did not accept the credentials: ${answer}`,
      {
        ...facts,
        remedy: CREDENTIALS_REMEDY,
      },
    )
  }
  if (head.status === 403) return new SluiceError('ERR_SLUICE_POLICY', `the server does not allow it: ${answer}`, facts)
  return new SluiceError('ERR_SLUICE_REFUSED', `the server did not switch to WebSocket: ${answer}`, facts)
}

/** A server's view of an opening handshake. */
export interface ReceivedRequest {
  readonly method: string
  readonly httpVersion: string
  readonly fields: HeaderFields
}

/** What a server refuses a handshake with. */
export interface UpgradeRefusal {
  readonly status: 400 | 405 | 426
  readonly message: string
  readonly fields: HeaderFields
}

/** A handshake that can be accepted. */
export interface AcceptedUpgrade {
  readonly key: string
  /** The subprotocols that the client offers, in its order of preference. */
  readonly protocols: readonly string[]
}

/** A server's check of the request (RFC 6455 §4.2.1). */
export function checkRequest(request: ReceivedRequest): AcceptedUpgrade | UpgradeRefusal {
  const refuse = (status: 400 | 405 | 426, message: string, fields: HeaderFields = []): UpgradeRefusal => ({
    status,
    message,
    fields,
  })
  const { fields } = request
  if (request.method !== 'GET')
    return refuse(405, `a WebSocket handshake is a GET, not ${request.method}`, [['Allow', 'GET']])
  if (request.httpVersion !== '1.1')
    return refuse(400, `a WebSocket handshake needs HTTP/1.1, not ${request.httpVersion}`)
  if (!fieldHas(fields, 'upgrade', 'websocket') || !fieldHas(fields, 'connection', 'upgrade')) {
    return refuse(426, 'this is a WebSocket endpoint: "Upgrade: websocket" and "Connection: Upgrade" are needed', [
      ['Upgrade', 'websocket'],
    ])
  }
  if (fieldValues(fields, 'host').length !== 1) return refuse(400, 'exactly one Host is needed')
  const version = fieldValues(fields, 'sec-websocket-version')
  if (version.length !== 1 || version[0] !== '13') {
    return refuse(426, `Sec-WebSocket-Version must be 13, not ${JSON.stringify(version.join(', '))}`, [
      ['Sec-WebSocket-Version', '13'],
    ])
  }
  const key = fieldValues(fields, 'sec-websocket-key')
  if (key.length !== 1 || !/^[A-Za-z0-9+/]{21}[AQgw]==$/.test(key[0]!)) {
    return refuse(400, 'Sec-WebSocket-Key must be there once and be base64 of 16 bytes')
  }
  if (
    fieldValues(fields, 'transfer-encoding').length > 0 ||
    fieldValues(fields, 'content-length').some((v) => v !== '0')
  ) {
    return refuse(400, 'a WebSocket handshake has no body')
  }
  const protocols = fieldList(fields, 'sec-websocket-protocol')
  if (protocols.some((name) => !isToken(name)))
    return refuse(400, 'Sec-WebSocket-Protocol has a name that is not a token')
  if (new Set(protocols).size !== protocols.length) return refuse(400, 'Sec-WebSocket-Protocol has a name twice')
  return { key: key[0]!, protocols }
}

/** The text of a server's 101 (RFC 6455 §4.2.2). No extension is ever accepted. */
export function formatAccept(key: string, protocol: string | undefined, sha1: Sha1Base64): string {
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${acceptFor(key, sha1)}`,
  ]
  if (protocol !== undefined) lines.push(`Sec-WebSocket-Protocol: ${protocol}`)
  return [...lines, '', ''].join('\r\n')
}
