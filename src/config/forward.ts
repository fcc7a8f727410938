import { formatHostPort, type HostPort, usage } from './address.ts'

/** A target in plain mode: an address, or `@NAME` for one that the server's configuration names. */
export type Target = HostPort | { readonly named: string }

/** Something that can be listened on or dialled. */
export type Endpoint =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'udp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

/** Where a forward leads; `dynamic` asks each connection, which speaks SOCKS or HTTP. */
export type ForwardTarget = Endpoint | { readonly kind: 'named'; readonly name: string } | { readonly kind: 'dynamic' }

/** What is accepted at `listen`, on this side (local) or on the server's (reverse), goes to `target` on the other. */
export interface Forward {
  readonly direction: 'local' | 'reverse'
  readonly listen: Endpoint
  readonly target: ForwardTarget
}

const TARGET_NAME = /^[A-Za-z0-9_.-]{1,64}$/

/** Whether the text can name a target: letters, digits, `_`, `.` and `-`, at most 64. */
export function isTargetName(text: string): boolean {
  return TARGET_NAME.test(text)
}

/** The canonical form of a target in plain mode. */
export function formatTarget(target: Target): string {
  return 'named' in target ? `@${target.named}` : formatHostPort(target)
}

/** A target in plain mode as a forward has it, or undefined where plain mode cannot say it. */
export function plainTarget(target: ForwardTarget): Target | undefined {
  if (target.kind === 'tcp') return { host: target.host, port: target.port }
  return target.kind === 'named' ? { named: target.name } : undefined
}

/** The same the other way round. */
export function forwardTarget(target: Target): Exclude<ForwardTarget, { kind: 'dynamic' }> {
  return 'named' in target ? { kind: 'named', name: target.named } : { kind: 'tcp', ...target }
}

/** `db:5432`, `1.1.1.1:53/udp`, `/run/db.sock`, `@web`, `socks`. */
export function formatEndpoint(target: ForwardTarget): string {
  switch (target.kind) {
    case 'tcp':
      return formatHostPort(target)
    case 'udp':
      return `${formatHostPort(target)}/udp`
    case 'unix':
      return target.path
    case 'named':
      return `@${target.name}`
    case 'dynamic':
      return 'socks'
  }
}

/** The canonical form of a forward, as its option reads it: `127.0.0.1:5432:db:5432`. */
export function formatForward({ listen, target }: Forward): string {
  if (listen.kind !== 'udp') return `${formatEndpoint(listen)}:${formatEndpoint(target)}`
  return `${formatHostPort(listen)}:${formatEndpoint(target)}`
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
