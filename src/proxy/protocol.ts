/** What a program behind a proxy wants. */
export interface ProxyRequest {
  readonly command: 'connect' | 'associate'
  readonly host: string
  readonly port: number
  /** What is to be sent to the target first: what came with the request, or in its place. */
  readonly first: Uint8Array
}

/** Why a request could not be met, as far as the protocols can say it. */
export type ProxyFailure = 'general' | 'policy' | 'network' | 'host' | 'refused' | 'timeout' | 'unsupported'

/** What a handshake has to say after some bytes. */
export interface ProxyStep {
  /** To be sent to the program. */
  readonly reply?: Uint8Array
  /** What it wants; nothing more is to be pushed. */
  readonly request?: ProxyRequest
  /** It broke the protocol, or did not know the password: send the reply and close. */
  readonly error?: string
}

/** One proxy protocol on the server's side, without I/O: bytes in, steps out, then an answer to the request. */
export interface ProxyProtocol {
  push(bytes: Uint8Array): ProxyStep
  /** The target is connected; `bound` is the address to report, where the protocol reports one. */
  accepted(bound: { readonly host: string; readonly port: number }): Uint8Array
  failed(failure: ProxyFailure): Uint8Array
}

export interface ProxyCredentials {
  readonly user: string
  readonly password: string
}

/** A handshake is this long at most, in bytes. */
export const MAX_HANDSHAKE: number = 16 * 1024
