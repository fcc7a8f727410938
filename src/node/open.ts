import { randomBytes } from 'node:crypto'
import net from 'node:net'
import type tls from 'node:tls'
import type { HostPort, ProxyUrl, ServerUrl } from '../config/index.ts'
import { errnoOf, firstReason, messageOf, SluiceError } from '../errors/index.ts'
import {
  checkResponse,
  fieldValues,
  formatRequest,
  type HeaderFields,
  type ResponseHead,
  ResponseHeadParser,
  type UpgradeRequest,
} from '../websocket/index.ts'
import type { ReadMode } from './adopt.ts'
import type { CookieJar } from './cookies.ts'
import { TCP_OPTIONS } from './dial.ts'
import { connectThrough } from './outward.ts'
import { SocketStream } from './socket.ts'
import { checkPeer, type TlsTrust, tlsError, trustOptions } from './tls.ts'
import { sha1Base64, WebSocketStream } from './websocket.ts'
import { within } from './within.ts'

/** How to reach a server and what to say to it. */
export interface OpenOptions extends TlsTrust {
  /** A token, or what gives one each time that one is needed. */
  readonly token?: string | (() => string | Promise<string>) | undefined
  /** User and password (RFC 7617), in place of a token. */
  readonly login?: { readonly user: string; readonly password: string } | undefined
  /** Further header fields, or what gives them each time; `Host` is sent in place of the URL's. */
  readonly fields?: HeaderFields | (() => HeaderFields) | undefined
  /** Keeps what gateways in front of the server set, and shows it again. */
  readonly cookies?: CookieJar | undefined
  /** The name that TLS asks for, and verifies, in place of the URL's (SNI). */
  readonly servername?: string | undefined
  readonly protocols?: readonly string[]
  /** The proxy on the way out, if there is one. */
  readonly proxy?: ProxyUrl | undefined
  /** For TCP, TLS and the answer together, in milliseconds. Default 10 s. */
  readonly timeout?: number
  readonly signal?: AbortSignal | undefined
  readonly readMode?: ReadMode
  /** Random masking keys over TLS too; default: keys of zero there, unless a CA or a pin hints at inspection. */
  readonly maskAlways?: boolean
}

export const OPEN_TIMEOUT = 10_000

/** A WebSocket whose handshake is done. */
export interface OpenedWebSocket {
  readonly ws: WebSocketStream
  /** The subprotocol that the server chose. */
  readonly protocol: string | undefined
  /** The address of this machine that the connection was made from. */
  readonly localAddress: string | undefined
}

/**
 * Opens a WebSocket (RFC 6455 §4.1).
 *
 * @throws SluiceError `ERR_SLUICE_UNREACHABLE`, `ERR_SLUICE_TIMEOUT`, `ERR_SLUICE_TLS`, and what `checkResponse` throws
 */
export async function openWebSocket(url: ServerUrl, path: string, options: OpenOptions): Promise<OpenedWebSocket> {
  const { host, fields } = await requestHead(url, options)
  const request: UpgradeRequest = {
    host,
    path,
    key: randomBytes(16).toString('base64'),
    protocols: options.protocols ?? [],
    fields,
  }
  const { stream, head, early } = await exchange(url, formatRequest(request), options)
  let protocol: string | undefined
  try {
    protocol = checkResponse(head, request, sha1Base64)
  } catch (error) {
    stream.destroy()
    throw refused(error, head, early)
  }
  const zeroMask = url.secure && !options.maskAlways && options.ca === undefined && options.pin === undefined
  const { localAddress } = stream.socket
  return { ws: new WebSocketStream(stream, { role: 'client', zeroMask, early }), protocol, localAddress }
}

/** The head of an answer, and the first line of its body if that has come along and is plain text. */
export interface Probed extends ResponseHead {
  readonly reasonLine: string | undefined
}

/**
 * Asks for a path without an upgrade: whether the server is there, and whether it would let us in. A sluice server answers
 * 426 where a WebSocket would be accepted; it dials nothing.
 */
export async function probe(url: ServerUrl, path: string, options: OpenOptions): Promise<Probed> {
  const { host, fields: all } = await requestHead(url, options)
  const fields = all.map(([name, value]) => `${name}: ${value}\r\n`)
  const text = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${fields.join('')}\r\n`
  const { stream, head, early } = await exchange(url, text, options)
  stream.destroy()
  return { ...head, reasonLine: firstLine(early) }
}

/** What every request has: whose it is, who we are, and what was asked for beside. */
export interface RequestHead {
  readonly host: string
  readonly fields: HeaderFields
}

export async function requestHead(
  { authority }: ServerUrl,
  { token, login, fields = [], cookies }: OpenOptions,
): Promise<RequestHead> {
  const basic = login && Buffer.from(`${login.user}:${login.password}`).toString('base64')
  const bearer = typeof token === 'function' ? await token() : token
  const credentials = basic !== undefined ? `Basic ${basic}` : bearer !== undefined ? `Bearer ${bearer}` : undefined
  const asked = typeof fields === 'function' ? fields() : fields
  const cookie = cookies?.field()
  const others = asked.filter(([name]) => name.toLowerCase() !== 'host')
  return {
    host: asked.find(([name]) => name.toLowerCase() === 'host')?.[1] ?? authority,
    fields: [
      ...(credentials === undefined ? [] : [['Authorization', credentials] as const]),
      ...(cookie === undefined ? [] : [['Cookie', cookie] as const]),
      ...others,
    ],
  }
}

interface Exchange {
  readonly stream: SocketStream
  readonly head: ResponseHead
  /** What followed the head. */
  readonly early: Buffer
}

/** Connects, sends a request, and reads the head of the answer. The stream is left paused. */
async function exchange(url: ServerUrl, request: string, options: OpenOptions): Promise<Exchange> {
  const { proxy, timeout = OPEN_TIMEOUT } = options
  if (proxy === undefined) return exchangeOn(connect(url, options), url, request, options)
  const started = performance.now()
  const socket = await connectThrough(proxy, { host: url.host, port: url.port }, { ...options, timeout })
  const left = Math.max(1, timeout - (performance.now() - started))
  return exchangeOn(over(socket, url, options), url, request, { ...options, timeout: left })
}

function exchangeOn(stream: SocketStream, url: ServerUrl, request: string, options: OpenOptions): Promise<Exchange> {
  const { timeout = OPEN_TIMEOUT, signal } = options
  const where = `${url.authority}`
  const late = () => timedOut(where, timeout, stream)
  return within({ timeout, late, signal }, ({ done, fail }) => {
    const parser = new ResponseHeadParser()
    let over = false
    const onError = (error: Error) => fail(unreachable(url, error))
    const connected = () => {
      if (over) return
      try {
        if (url.secure) checkPeer(stream.socket as tls.TLSSocket, options)
      } catch (error) {
        return fail(error as Error)
      }
      stream.start({
        read: (slab, start, end) => {
          if (over) return
          const bytes = slab.bytes.subarray(start, end)
          try {
            const answer = parser.push(bytes)
            if (answer === undefined) return
            stream.pause()
            options.cookies?.take(fieldValues(answer.head.fields, 'set-cookie'))
            const early = Buffer.from(bytes.subarray(answer.used))
            done({ stream, head: answer.head, early })
          } catch (error) {
            fail(error as Error)
          }
        },
        ended: () => fail(endedEarly(where, parser.empty)),
        drained: () => {},
        finished: () => {},
        closed: (error) => fail(unreachable(url, error ?? endedEarly(where, parser.empty))),
      })
      stream.write(Buffer.from(request, 'latin1'))
    }
    stream.socket.once('error', onError)
    if (!url.secure && !stream.socket.connecting) connected()
    else stream.socket.once(url.secure ? 'secureConnect' : 'connect', connected)
    return (error) => {
      over = true
      stream.socket.off('error', onError)
      if (error !== undefined) stream.destroy()
    }
  })
}

function connect(url: ServerUrl, options: OpenOptions): SocketStream {
  const to: HostPort = { host: url.host, port: url.port }
  if (!url.secure) return SocketStream.connect({ ...to, ...TCP_OPTIONS }, options.readMode)
  return SocketStream.connectTls({ ...to, ...TCP_OPTIONS, ...tlsOptions(url, options) }, options.readMode)
}

/** The same over a connection that is there already. */
function over(socket: net.Socket, url: ServerUrl, options: OpenOptions): SocketStream {
  if (!url.secure) return SocketStream.from(socket, undefined, options.readMode)
  // With `onread` nothing of TLS over a socket that was read before arrives (seen with Node 20).
  return SocketStream.connectTls({ socket, ...tlsOptions(url, options) }, 'data')
}

/** What TLS to a server is asked for, and trusted by. */
export function tlsOptions(url: ServerUrl, options: OpenOptions): tls.ConnectionOptions {
  const name = options.servername ?? url.host
  const servername = net.isIP(name) === 0 ? { servername: name } : {}
  return { ...servername, ALPNProtocols: ['http/1.1'], ...trustOptions(options) }
}

function timedOut(where: string, timeout: number, stream: SocketStream): SluiceError {
  const what = stream.socket.connecting
    ? 'does not answer'
    : 'accepted the connection, but did not answer the WebSocket handshake'
  return new SluiceError('ERR_SLUICE_TIMEOUT', `${where} ${what} within ${timeout / 1000} s`)
}

/** Over HTTP nothing came. */
export function noAnswer({ authority }: ServerUrl, limit: number): SluiceError {
  return new SluiceError(
    'ERR_SLUICE_TIMEOUT',
    `${authority} does not answer requests over HTTP within ${limit / 1000} s`,
  )
}

function endedEarly(where: string, nothing: boolean): SluiceError {
  const what = nothing ? 'without an answer' : 'in the middle of its answer'
  return new SluiceError('ERR_SLUICE_UNREACHABLE', `${where} closed the connection ${what}`, {
    ...(nothing ? { remedy: 'Is it a web server, and is ws:// or wss:// the right one?' } : {}),
  })
}

/** A failure to connect, in words. */
export function unreachable(url: ServerUrl, error: Error): SluiceError {
  if (error instanceof SluiceError) return error
  const known = url.secure ? tlsError(error) : undefined
  if (known !== undefined) return known
  const cause = firstReason(error)
  const code = errnoOf(cause)
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return new SluiceError('ERR_SLUICE_UNREACHABLE', `the name ${url.host} cannot be resolved (${code})`, {
      cause,
      remedy: 'Check its spelling; where only a proxy resolves names, give --proxy.',
    })
  }
  return new SluiceError('ERR_SLUICE_UNREACHABLE', `${url.authority} cannot be reached: ${messageOf(cause)}`, { cause })
}

/** An answer that refuses an upgrade: the cause of the error that says so. */
export class RefusedUpgrade extends Error {
  readonly fields: HeaderFields

  constructor({ status, reason, fields }: ResponseHead) {
    super(`${status} ${reason}`.trim())
    this.fields = fields
  }
}

/** The same error with the answer as its cause; the first line of the body says why, if it has come along and is plain text. */
function refused(error: unknown, head: ResponseHead, body: Buffer): unknown {
  if (!(error instanceof SluiceError)) return error
  const line = firstLine(body)
  const { code, remedy, status, message } = error
  return new SluiceError(code, line === undefined ? message : `${message}: ${line}`, {
    cause: new RefusedUpgrade(head),
    ...(remedy === undefined ? {} : { remedy }),
    ...(status === undefined ? {} : { status }),
  })
}

function firstLine(body: Buffer): string | undefined {
  const line = body.toString('latin1').split(/\r?\n/)[0]!.slice(0, 200)
  return /^[\x20-\x7e]+$/.test(line) && !line.startsWith('<') && !line.startsWith('{') ? line : undefined
}
