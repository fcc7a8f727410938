import type { Parameters } from './hello.ts'

/** What a stream is to be connected to (spec §5). */
export type Target =
  | { readonly kind: 'TCP' | 'UDP'; readonly host: string; readonly port: number }
  | { readonly kind: 'UNIX'; readonly path: string }
  | { readonly kind: 'NAMED'; readonly name: string }
  | { readonly kind: 'ACCEPTED'; readonly listener: number; readonly origin: string }

/** A carrier and how many of its messages have been processed. */
export interface CarrierCount {
  readonly carrier: number
  readonly received: number
}

export interface ServerHello {
  readonly type: 'HELLO'
  readonly mode: 'server'
  readonly nonce: Uint8Array
  readonly parameters: Parameters
  readonly sessionId: Uint8Array
  readonly secret: Uint8Array
  readonly route: string
}

export interface NewHello {
  readonly type: 'HELLO'
  readonly mode: 'new'
  readonly nonce: Uint8Array
  readonly parameters: Parameters
}

export interface JoinHello {
  readonly type: 'HELLO'
  readonly mode: 'join'
  readonly nonce: Uint8Array
  readonly parameters: Parameters
  readonly sessionId: Uint8Array
  readonly carrier: number
  readonly dead: readonly CarrierCount[]
  readonly proof: Uint8Array
}

export type Hello = ServerHello | NewHello | JoinHello

/** The length of nonces and session ids, of secrets and proofs, in bytes. */
export const ID_LENGTH = 16
export const PROOF_LENGTH = 32

/** A frame that is read whole. What streams through (the data of OPEN and DATA, the payload of DATAGRAM) is not part of it. */
export type Frame =
  | Hello
  | { readonly type: 'OPEN'; readonly stream: number; readonly target: Target }
  | { readonly type: 'OPENED'; readonly stream: number; readonly address: string }
  | { readonly type: 'OPEN_FAILED'; readonly stream: number; readonly code: number; readonly text: string }
  | { readonly type: 'FIN'; readonly stream: number; readonly offset: number }
  | { readonly type: 'RESET'; readonly stream: number; readonly code: number; readonly offset: number }
  | { readonly type: 'CREDIT'; readonly stream: number; readonly offset: number }
  | { readonly type: 'MAX_STREAMS'; readonly count: number }
  | { readonly type: 'ACK'; readonly carrier: number; readonly count: number; readonly delay: number }
  | { readonly type: 'PING' | 'PONG'; readonly opaque: Uint8Array }
  | { readonly type: 'DATAGRAM'; readonly stream: number; readonly payload: Uint8Array }
  | { readonly type: 'LISTEN'; readonly stream: number; readonly target: Target }
  | { readonly type: 'GOAWAY'; readonly scope: 'carrier' | 'session'; readonly limit: number }
  | { readonly type: 'CLOSE'; readonly code: number; readonly text: string }
  | { readonly type: 'JOINED'; readonly carriers: readonly CarrierCount[]; readonly proof: Uint8Array }
  | { readonly type: 'JOIN_FAILED'; readonly code: number; readonly text: string }
  | { readonly type: 'IGNORED'; readonly number: number }
