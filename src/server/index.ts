/** The server: alone ({@link Server}), or inside a `node:http` server of your own ({@link Tunnel}). */
export { type Auth, BEARER_PROTOCOL, NoAuth, type Principal, TokenAuth } from './auth.ts'
export { DEFAULT_LIMITS, type Limits } from './limits.ts'
export { Policy, type Protocol, type Verdict } from './policy/policy.ts'
export { type Resolver, systemResolver } from './resolve.ts'
export { type SelfSigned, selfSigned } from './self-signed.ts'
export { isLoopback, Server, type ServerOptions } from './server.ts'
export type { SessionStatus } from './session-service.ts'
export { Tunnel, type TunnelEvent, type TunnelOptions } from './tunnel.ts'
