/**
 * The closed list of error codes. A code never changes its meaning and is never reused.
 *
 * `fault` says whose turn it is to act: `local` (what was typed, configured or called is wrong), `remote` (the peer broke
 * a rule), `network` (neither: something between or behind is not there). `exit` is the command line's exit code.
 */
export interface CodeFacts {
  readonly fault: 'local' | 'remote' | 'network'
  readonly exit: number
  readonly meaning: string
}

export type SluiceErrorCode =
  | 'ERR_SLUICE_USAGE'
  | 'ERR_SLUICE_CONFIG'
  | 'ERR_SLUICE_AUTH'
  | 'ERR_SLUICE_TLS'
  | 'ERR_SLUICE_UNREACHABLE'
  | 'ERR_SLUICE_PROXY'
  | 'ERR_SLUICE_POLICY'
  | 'ERR_SLUICE_REFUSED'
  | 'ERR_SLUICE_HANDSHAKE'
  | 'ERR_SLUICE_PROTOCOL'
  | 'ERR_SLUICE_INVALID_TEXT'
  | 'ERR_SLUICE_TOO_BIG'
  | 'ERR_SLUICE_UNSUPPORTED'
  | 'ERR_SLUICE_TARGET'
  | 'ERR_SLUICE_TIMEOUT'
  | 'ERR_SLUICE_CLOSED'
  | 'ERR_SLUICE_GONE'
  | 'ERR_SLUICE_MISUSE'

export const CODES: Readonly<Record<SluiceErrorCode, CodeFacts>> = {
  ERR_SLUICE_USAGE: { fault: 'local', exit: 2, meaning: 'A flag, argument or specification cannot be read.' },
  ERR_SLUICE_CONFIG: {
    fault: 'local',
    exit: 3,
    meaning: 'What was asked for is readable but cannot be done safely or at all.',
  },
  ERR_SLUICE_AUTH: {
    fault: 'local',
    exit: 4,
    meaning: 'The server, or a proxy on the way to it, did not accept the credentials (HTTP 401, 407).',
  },
  ERR_SLUICE_TLS: { fault: 'network', exit: 4, meaning: "The server's certificate could not be verified." },
  ERR_SLUICE_UNREACHABLE: {
    fault: 'network',
    exit: 5,
    meaning: 'The server, or the target behind it, cannot be reached.',
  },
  ERR_SLUICE_PROXY: {
    fault: 'network',
    exit: 5,
    meaning: 'The proxy on the way out does not let the connection through, or breaks its protocol.',
  },
  ERR_SLUICE_POLICY: { fault: 'local', exit: 6, meaning: 'A rule does not allow it (HTTP 403, close code 1008).' },
  ERR_SLUICE_REFUSED: {
    fault: 'remote',
    exit: 5,
    meaning: 'The server answered the WebSocket handshake with something other than 101.',
  },
  ERR_SLUICE_HANDSHAKE: {
    fault: 'remote',
    exit: 5,
    meaning: 'An HTTP message of the WebSocket handshake breaks RFC 6455 §4 or a limit.',
  },
  ERR_SLUICE_PROTOCOL: {
    fault: 'remote',
    exit: 1,
    meaning: 'A message breaks RFC 6455 §5 (close code 1002) or sluice.1.',
  },
  ERR_SLUICE_INVALID_TEXT: { fault: 'remote', exit: 1, meaning: 'A text message is not UTF-8 (close code 1007).' },
  ERR_SLUICE_TOO_BIG: { fault: 'remote', exit: 1, meaning: 'A message is longer than the limit (close code 1009).' },
  ERR_SLUICE_UNSUPPORTED: {
    fault: 'remote',
    exit: 1,
    meaning: 'A message of a kind that is not accepted here, such as text in plain mode (close code 1003).',
  },
  ERR_SLUICE_TARGET: {
    fault: 'network',
    exit: 5,
    meaning: 'The target refused, vanished or failed (close code 1011).',
  },
  ERR_SLUICE_TIMEOUT: { fault: 'network', exit: 5, meaning: 'Something did not answer within its time.' },
  ERR_SLUICE_CLOSED: { fault: 'network', exit: 1, meaning: 'The WebSocket ended without a Close frame (1006).' },
  ERR_SLUICE_GONE: { fault: 'network', exit: 1, meaning: 'The session is over and cannot be resumed.' },
  ERR_SLUICE_MISUSE: { fault: 'local', exit: 1, meaning: 'A method was called in a state that does not allow it.' },
}
