import type { IncomingMessage } from 'node:http'
import { formatHostPort, type HostPort } from '../config/index.ts'
import { messageOf } from '../errors/index.ts'
import { SESSION_PROTOCOL } from '../node/index.ts'
import { checkRequest, fieldHas, fieldValues, type HeaderFields } from '../websocket/index.ts'
import type { Auth, Principal } from './auth.ts'
import { type HttpAsked, parseHttpAsked } from './http/request.ts'
import { hostAllowed, originAllowed } from './origin.ts'
import type { Policy } from './policy/policy.ts'
import { type Asked, fieldsOf, parsePath } from './request.ts'

/** An answer in HTTP instead of an upgrade. */
export interface HttpRefusal {
  readonly status: number
  readonly message: string
  readonly fields: HeaderFields
}

/** A handshake that is let in. */
export type Admitted = AdmittedPlain | AdmittedSession | AdmittedWisp

/** A request of a carrier over HTTP (spec/http-1.md §2). */
export interface AdmittedHttp {
  readonly kind: 'http'
  readonly principal: Principal
  readonly asked: HttpAsked
  /** The origin of the page that asks, if one does. */
  readonly origin: string | undefined
}

/** For Wisp v1: its targets come later too. */
export interface AdmittedWisp {
  readonly kind: 'wisp'
  readonly principal: Principal
  readonly key: string
  readonly protocol: undefined
}

/** For a session: its targets come later, one by one. */
export interface AdmittedSession {
  readonly kind: 'session'
  readonly principal: Principal
  readonly key: string
  readonly protocol: string
  /** The process that a join says its session is at; undefined for a new session. */
  readonly route: string | undefined
}

/** For plain mode: what to answer, and what to dial. */
export interface AdmittedPlain {
  readonly kind: 'plain'
  readonly principal: Principal
  readonly key: string
  /** The subprotocol to echo. */
  readonly protocol: string | undefined
  /** The address to dial, after the name has been resolved and checked. */
  readonly target: HostPort
  /** How the target is called towards the peer: `db:5432`, `@web`. */
  readonly name: string
  /** Whether the configuration names the target, so that its address needs no rule. */
  readonly named: boolean
}

export interface GateOptions {
  readonly prefix: string
  readonly auth: Auth
  /** What somebody may reach. */
  readonly policyOf: (principal: Principal) => Policy
  /** Named targets. */
  readonly targets: ReadonlyMap<string, HostPort>
  /** Origins of pages that may connect, beside the server's own. */
  readonly origins: readonly string[]
  /** Whether `Host` must name this machine, and the further names that it may. */
  readonly checkHost: boolean
  readonly hosts: readonly string[]
}

/** The subprotocol of plain mode (websockify's), echoed if offered. */
const PLAIN_PROTOCOL = 'binary'

/**
 * Everything that can be decided about a request before a WebSocket exists, policy that needs no DNS included. What is not
 * an upgrade but would be let in gets 426, so that a client can ask first.
 *
 * @returns undefined for a path that is none of the tunnel's
 */
export function decide(request: IncomingMessage, options: GateOptions): Admitted | HttpRefusal | undefined {
  const fields = fieldsOf(request)
  if (asksForSession(request, fields, options.prefix)) return decideSession(request, fields, options)
  if (pathOf(request) === `${options.prefix}/wisp/`) return decideWisp(request, fields, options)
  let asked: Asked
  let malformed: string | undefined
  try {
    asked = parsePath(request.url ?? '', options.prefix)
    if (asked === undefined) return undefined
  } catch (error) {
    malformed = messageOf(error)
  }
  const stranger = refuseStranger(fields, options)
  if (stranger !== undefined) return stranger
  const principal = options.auth.authenticate(fields)
  if (principal === undefined) return unauthenticated()
  if (asked === undefined) return refusal(400, malformed ?? 'the path cannot be read')
  const found = findTarget(asked, options, options.policyOf(principal))
  if ('status' in found) return found
  const upgrade = checkRequest({ method: request.method ?? '', httpVersion: request.httpVersion, fields })
  if ('status' in upgrade) return upgrade
  const protocol = upgrade.protocols.includes(PLAIN_PROTOCOL) ? PLAIN_PROTOCOL : undefined
  return { kind: 'plain', principal, key: upgrade.key, protocol, ...found }
}

/**
 * The same for a request of a carrier over HTTP (spec/http-1.md §2); a page's preflight (Fetch §4.8) is answered with 204.
 *
 * @returns undefined for a path that is not that of such carriers
 */
export function decideHttp(request: IncomingMessage, options: GateOptions): AdmittedHttp | HttpRefusal | undefined {
  let asked: HttpAsked | undefined
  let malformed: string | undefined
  try {
    asked = parseHttpAsked(request.url ?? '', options.prefix)
    if (asked === undefined) return undefined
  } catch (error) {
    malformed = messageOf(error)
  }
  const fields = fieldsOf(request)
  const stranger = refuseStranger(fields, options)
  if (stranger !== undefined) return stranger
  const origin = fieldValues(fields, 'origin')[0]
  if (request.method === 'OPTIONS' && origin !== undefined) return refusal(204, '', preflightFields(origin))
  if (request.method !== 'POST') return refusal(405, 'only POST is answered here', [['Allow', 'POST']])
  const principal = options.auth.authenticate(fields)
  if (principal === undefined) return unauthenticated()
  if (asked === undefined) return refusal(400, malformed ?? 'the request cannot be read')
  return { kind: 'http', principal, asked, origin }
}

function preflightFields(origin: string): HeaderFields {
  return [
    ...originFields(origin),
    ['Access-Control-Allow-Methods', 'POST'],
    ['Access-Control-Allow-Headers', 'authorization, content-type'],
    ['Access-Control-Max-Age', '600'],
  ]
}

/** What lets a page that may use the server read its answers (Fetch §3.3.3). */
export function originFields(origin: string | undefined): HeaderFields {
  return origin === undefined
    ? []
    : [
        ['Access-Control-Allow-Origin', origin],
        ['Vary', 'Origin'],
      ]
}

/** Whether it is the path of sessions, with their subprotocol. */
function asksForSession(request: IncomingMessage, fields: HeaderFields, prefix: string): boolean {
  const path = pathOf(request)
  return (path === `${prefix}/` || path === prefix) && fieldHas(fields, 'sec-websocket-protocol', SESSION_PROTOCOL)
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?')[0]!
}

function decideSession(
  request: IncomingMessage,
  fields: HeaderFields,
  options: GateOptions,
): AdmittedSession | HttpRefusal {
  const guest = letIn(request, fields, options)
  if ('status' in guest) return guest
  const { principal, upgrade } = guest
  const route = new URLSearchParams((request.url ?? '').split('?')[1] ?? '').get('route') ?? undefined
  return { kind: 'session', principal, key: upgrade.key, protocol: SESSION_PROTOCOL, route }
}

/** Wisp v1 is asked for by its path alone; the first version knows no subprotocol. */
function decideWisp(request: IncomingMessage, fields: HeaderFields, options: GateOptions): AdmittedWisp | HttpRefusal {
  const guest = letIn(request, fields, options)
  if ('status' in guest) return guest
  return { kind: 'wisp', principal: guest.principal, key: guest.upgrade.key, protocol: undefined }
}

/** Origin, credentials and handshake of a request whose targets come later. */
function letIn(
  request: IncomingMessage,
  fields: HeaderFields,
  options: GateOptions,
): { readonly principal: Principal; readonly upgrade: { readonly key: string } } | HttpRefusal {
  const stranger = refuseStranger(fields, options)
  if (stranger !== undefined) return stranger
  const principal = options.auth.authenticate(fields)
  if (principal === undefined) return unauthenticated()
  const upgrade = checkRequest({ method: request.method ?? '', httpVersion: request.httpVersion, fields })
  return 'status' in upgrade ? upgrade : { principal, upgrade }
}

function unauthenticated(): HttpRefusal {
  return refusal(401, 'a valid token is needed', [['WWW-Authenticate', 'Bearer realm="sluice"']])
}

function refuseStranger(fields: HeaderFields, options: GateOptions): HttpRefusal | undefined {
  if (options.checkHost && !hostAllowed(fields, options.hosts)) {
    return refusal(403, 'this Host is not one of this server; on the server, allow it: --host NAME')
  }
  if (!originAllowed(fields, options.origins)) {
    return refusal(403, 'pages of this Origin may not connect; on the server, allow it: --origin ORIGIN')
  }
  return undefined
}

function findTarget(
  asked: NonNullable<Asked>,
  options: GateOptions,
  policy: Policy,
): Pick<AdmittedPlain, 'target' | 'name' | 'named'> | HttpRefusal {
  if ('named' in asked) {
    const target = options.targets.get(asked.named)
    if (target === undefined) return refusal(404, `there is no target named @${asked.named}`)
    if (!policy.checkNamed(asked.named).allowed) return refusal(403, `@${asked.named} is not allowed`)
    return { target, name: `@${asked.named}`, named: true }
  }
  const name = formatHostPort(asked.target)
  if (!policy.checkTarget(asked.target).allowed) return refusal(403, `${name} is not allowed`)
  return { target: asked.target, name, named: false }
}

export function refusal(status: number, message: string, fields: HeaderFields = []): HttpRefusal {
  return { status, message, fields }
}
