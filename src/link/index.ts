/** Sessions on carriers: the pump, the client that comes back, and the server that lets it. Knows no host, only interfaces. */
export type { AbortSignalLike } from './abort.ts'
export { type BackoffOptions, backoff, DEFAULT_BACKOFF } from './backoff.ts'
export { type Carrier, type CarrierEvents, OWNED } from './carrier.ts'
export { ClientLink, type ClientLinkEvents, type ClientLinkOptions, type Resumed } from './client.ts'
export { Growth } from './growth.ts'
export type { Host } from './host.ts'
export { PathCuts, type PathCutsState } from './path-cuts.ts'
export { Pump } from './pump.ts'
export {
  ServerLink,
  type ServerLinkEvents,
  type ServerLinkOptions,
  type ServerSession,
  type SyncHost,
} from './server.ts'
export { WAYS, type Way } from './ways.ts'
