import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { formatHostPort, type HostPort } from '../config/index.ts'
import { messageOf } from '../errors/index.ts'
import { SESSION_PROTOCOL } from '../node/index.ts'
import { checkRequest, fieldHas, fieldValues, type HeaderFields } from '../websocket/index.ts'
import type { Asking, Auth, Principal } from './auth/auth.ts'
import { isTicket } from './auth/tickets.ts'
import { type HttpAsked, parseHttpAsked } from './http/request.ts'
import { hostAllowed, originAllowed } from './origin.ts'
import type { Policy } from './policy/policy.ts'
import { type Asked, fieldsOf, parsePath } from './request.ts'

/** An answer in HTTP instead of an upgrade. */
export interface HttpRefusal {
  readonly status: number
  readonly message: string
  readonly fields: HeaderFields
  /** For the operator, where it is more than the message. */
  readonly detail?: string
  /** Whether it was made before it was known who asks: where there is a site, that is shown instead. */
  readonly stranger?: boolean
}

/** A handshake that is let in. */
export type Admitted = AdmittedWebSocket | AdmittedHttp | AdmittedTicket

/** One that becomes a WebSocket. */
export type AdmittedWebSocket = AdmittedPlain | AdmittedSession | AdmittedWisp

/** For a ticket. */
export interface AdmittedTicket {
  readonly kind: 'ticket'
  readonly principal: Principal
  /** The origin of the page that asks, if one does. */
  readonly origin: string | undefined
}

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
  /** Whose a request is. */
  readonly clientOf: (request: IncomingMessage) => HostPort
}

/** The subprotocol of plain mode (websockify's), echoed if offered. */
const PLAIN_PROTOCOL = 'binary'

/** Somewhere a request can go: what it gets there before it is known who asks, and after. */
interface Door {
  before?(fields: HeaderFields): HttpRefusal | undefined
  admit(principal: Principal, asking: Asking): Admitted | HttpRefusal
}

/** What comes of it, now or when it is known who asks. */
export type Decision = Admitted | HttpRefusal | Promise<Admitted | HttpRefusal>

/**
 * Everything that can be decided about a request before a WebSocket exists, policy that needs no DNS included. What is not
 * an upgrade but would be let in gets 426, so that a client can ask first.
 *
 * @returns undefined for a path that is none of the tunnel's
 */
export function decide(request: IncomingMessage, options: GateOptions): Decision | undefined {
  const fields = fieldsOf(request)
  const door = doorAt(request, fields, options)
  if (door === undefined) return undefined
  const refused = refuseStranger(fields, options) ?? door.before?.(fields)
  if (refused !== undefined) return { ...refused, stranger: !isListedPreflight(refused, fields, options) }
  const asking = askingOf(request, fields, options.clientOf(request).host)
  const go = (principal: Principal | undefined) =>
    principal === undefined ? { ...unauthenticated(), stranger: true } : door.admit(principal, asking)
  let found: ReturnType<Auth['authenticate']>
  try {
    found = options.auth.authenticate(asking)
  } catch (error) {
    return broken(error)
  }
  return found instanceof Promise ? found.then(go, broken) : go(found)
}

/** Whoever cannot be checked is not let in; why, is the operator's to know. */
function broken(error: unknown): HttpRefusal {
  const refused = refusal(500, 'the credentials cannot be checked')
  return { ...refused, detail: `${refused.message}: ${messageOf(error)}`, stranger: true }
}

function doorAt(request: IncomingMessage, fields: HeaderFields, options: GateOptions): Door | undefined {
  const { prefix } = options
  const path = pathOf(request)
  const asksForSession = fieldHas(fields, 'sec-websocket-protocol', SESSION_PROTOCOL)
  // Without `Upgrade` it is a page that is asked for there: 426 would say that there are no sessions, but plain mode.
  if ((path === `${prefix}/` || path === prefix) && asksForSession && fieldValues(fields, 'upgrade').length > 0) {
    return sessionDoor(request, fields)
  }
  if (path === `${prefix}/wisp/`) return wispDoor(request, fields)
  if (path === `${prefix}/ticket`) return ticketDoor(request, fields)
  return httpDoor(request, fields, prefix) ?? plainDoor(request, fields, options)
}

/** For a session. */
function sessionDoor(request: IncomingMessage, fields: HeaderFields): Door {
  return {
    admit: (principal) => {
      const upgrade = upgradeOf(request, fields)
      if ('status' in upgrade) return upgrade
      const route = new URLSearchParams((request.url ?? '').split('?')[1] ?? '').get('route') ?? undefined
      return { kind: 'session', principal, key: upgrade.key, protocol: SESSION_PROTOCOL, route }
    },
  }
}

/** Wisp v1 is asked for by its path alone; the first version knows no subprotocol. */
function wispDoor(request: IncomingMessage, fields: HeaderFields): Door {
  return {
    admit: (principal) => {
      const upgrade = upgradeOf(request, fields)
      return 'status' in upgrade ? upgrade : { kind: 'wisp', principal, key: upgrade.key, protocol: undefined }
    },
  }
}

/** Plain mode: the target is in the URL. */
function plainDoor(request: IncomingMessage, fields: HeaderFields, options: GateOptions): Door | undefined {
  const asked = attempt(() => parsePath(request.url ?? '', options.prefix))
  if (asked === undefined) return undefined
  return {
    admit: (principal) => {
      if ('malformed' in asked) return refusal(400, asked.malformed)
      const found = findTarget(asked, options, options.policyOf(principal))
      if ('status' in found) return found
      const upgrade = upgradeOf(request, fields)
      if ('status' in upgrade) return upgrade
      const protocol = upgrade.protocols.includes(PLAIN_PROTOCOL) ? PLAIN_PROTOCOL : undefined
      return { kind: 'plain', principal, key: upgrade.key, protocol, ...found }
    },
  }
}

/** For a request of a carrier over HTTP (spec/http-1.md §2); a page's preflight (Fetch §4.8) is answered with 204. */
function httpDoor(request: IncomingMessage, fields: HeaderFields, prefix: string): Door | undefined {
  const asked = attempt(() => parseHttpAsked(request.url ?? '', prefix))
  if (asked === undefined) return undefined
  return {
    ...postDoor(request),
    admit: (principal) =>
      'malformed' in asked
        ? refusal(400, asked.malformed)
        : { kind: 'http', principal, asked, origin: originOf(fields) },
  }
}

/** Where whoever has credentials makes tickets for those who have none. */
function ticketDoor(request: IncomingMessage, fields: HeaderFields): Door {
  return {
    ...postDoor(request),
    admit: (principal, asking) =>
      isTicket(asking)
        ? refusal(403, 'a ticket makes no other')
        : { kind: 'ticket', principal, origin: originOf(fields) },
  }
}

function postDoor(request: IncomingMessage): Required<Pick<Door, 'before'>> {
  return {
    before: (fields) => {
      const origin = originOf(fields)
      if (request.method === 'OPTIONS' && origin !== undefined) return refusal(204, '', preflightFields(origin))
      return request.method === 'POST' ? undefined : refusal(405, 'only POST is answered here', [['Allow', 'POST']])
    },
  }
}

/** What was read, or why it cannot be. */
function attempt<T>(read: () => T): T | { readonly malformed: string } {
  try {
    return read()
  } catch (error) {
    return { malformed: messageOf(error) }
  }
}

function upgradeOf(request: IncomingMessage, fields: HeaderFields): ReturnType<typeof checkRequest> {
  return checkRequest({ method: request.method ?? '', httpVersion: request.httpVersion, fields })
}

/** A preflight of a page that the configuration names is answered even where there is a site. */
function isListedPreflight({ status }: HttpRefusal, fields: HeaderFields, { origins }: GateOptions): boolean {
  return status === 204 && origins.includes(originOf(fields) ?? '')
}

function originOf(fields: HeaderFields): string | undefined {
  return fieldValues(fields, 'origin')[0]
}

function askingOf({ socket }: IncomingMessage, fields: HeaderFields, client: string): Asking {
  const tls = socket as Partial<TLSSocket>
  const certificate = tls.authorized === true ? tls.getPeerCertificate?.() : undefined
  return {
    fields,
    peer: socket.remoteAddress ?? 'unix',
    client,
    // Without one it is an empty object.
    certificate: certificate?.subject === undefined ? undefined : certificate,
  }
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

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?')[0]!
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
