import { formatHostPort, type HostPort, parseHost, parsePort, usage } from './address.ts'

/** A target: an address, or `@NAME` for one that the server's configuration names. */
export type Target = HostPort | { readonly named: string }

/** A local forward: what is accepted at `bind` goes to `target` on the server's side. */
export interface LocalForward {
  readonly bind: HostPort
  readonly target: Target
}

const TARGET_NAME = /^[A-Za-z0-9_.-]{1,64}$/

/** Whether the text can name a target: letters, digits, `_`, `.` and `-`, at most 64. */
export function isTargetName(text: string): boolean {
  return TARGET_NAME.test(text)
}

/** The parts between colons, where a bracketed IPv6 address is one part. */
function splitColons(text: string): string[] {
  return text.match(/\[[^\]]*\]|[^:[\]]+|(?<=^|:)(?=:|$)/g) ?? []
}

/**
 * ssh's form, `[bind:]port:host:hostport`, or `[bind:]port:@NAME`. A bare port binds loopback; port 0 lets the system
 * choose; `*` binds every interface.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseLocalForward(text: string): LocalForward {
  const what = `-L ${JSON.stringify(text)}`
  const parts = splitColons(text)
  const example = 'Write it like 5432:db:5432, 127.0.0.1:5432:db:5432 or 8080:@web; IPv6 in brackets.'
  if (parts.join(':') !== text) throw usage(`${what} is not [BIND:]PORT:HOST:HOSTPORT`, example)
  const named = parts.at(-1)?.startsWith('@') ? parts.pop()!.slice(1) : undefined
  if (named !== undefined && !isTargetName(named))
    throw usage(`${what}: target name "@${named}" has a character that is not allowed`)
  const count = parts.length + (named === undefined ? 0 : 2)
  if (count !== 3 && count !== 4) throw usage(`${what} is not [BIND:]PORT:HOST:HOSTPORT`, example)
  const bindHost = count === 4 ? parts.shift()! : '127.0.0.1'
  const bind = {
    host: bindHost === '*' || bindHost === '' ? '::' : parseHost(bindHost, `${what}, bind address`),
    port: parsePort(parts[0]!, `${what}, local port`, 0),
  }
  if (named !== undefined) return { bind, target: { named } }
  return {
    bind,
    target: { host: parseHost(parts[1]!, `${what}, target`), port: parsePort(parts[2]!, `${what}, target`) },
  }
}

/** The canonical form of a target. */
export function formatTarget(target: Target): string {
  return 'named' in target ? `@${target.named}` : formatHostPort(target)
}

/**
 * `HOST:PORT` or `@NAME`.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseTarget(text: string, parse: (text: string) => HostPort): Target {
  if (!text.startsWith('@')) return parse(text)
  if (!isTargetName(text.slice(1)))
    throw usage(`target name ${JSON.stringify(text)} has a character that is not allowed`)
  return { named: text.slice(1) }
}
