import type { SluiceErrorCode } from './codes.ts'

/** `exit` is the command line's exit code. */
export interface CodeFacts {
  readonly exit: number
  readonly meaning: string
}

/** What each code means. Apart from the codes, so that a page that needs none of it does not load it. */
export const CODES: Readonly<Record<SluiceErrorCode, CodeFacts>> = {
  ERR_SLUICE_USAGE: { exit: 2, meaning: 'A flag, argument or specification cannot be read.' },
  ERR_SLUICE_CONFIG: { exit: 3, meaning: 'What was asked for is readable but cannot be done safely or at all.' },
  ERR_SLUICE_AUTH: {
    exit: 4,
    meaning: 'The server, or a proxy on the way to it, did not accept the credentials (HTTP 401, 407).',
  },
  ERR_SLUICE_TLS: { exit: 4, meaning: "The server's certificate could not be verified." },
  ERR_SLUICE_UNREACHABLE: { exit: 5, meaning: 'The server, or the target behind it, cannot be reached.' },
  ERR_SLUICE_PROXY: {
    exit: 5,
    meaning: 'The proxy on the way out does not let the connection through, or breaks its protocol.',
  },
  ERR_SLUICE_POLICY: { exit: 6, meaning: 'A rule does not allow it (HTTP 403, close code 1008).' },
  ERR_SLUICE_REFUSED: {
    exit: 5,
    meaning: 'The server answered the WebSocket handshake with something other than 101.',
  },
  ERR_SLUICE_HANDSHAKE: {
    exit: 5,
    meaning: 'An HTTP message of the WebSocket handshake breaks RFC 6455 §4 or a limit.',
  },
  ERR_SLUICE_PROTOCOL: { exit: 1, meaning: 'A message breaks RFC 6455 §5 (close code 1002) or sluice.1.' },
  ERR_SLUICE_INVALID_TEXT: { exit: 1, meaning: 'A text message is not UTF-8 (close code 1007).' },
  ERR_SLUICE_TOO_BIG: { exit: 1, meaning: 'A message is longer than the limit (close code 1009).' },
  ERR_SLUICE_UNSUPPORTED: {
    exit: 1,
    meaning: 'A message of a kind that is not accepted here, such as text in plain mode (close code 1003).',
  },
  ERR_SLUICE_TARGET: { exit: 5, meaning: 'The target refused, vanished or failed (close code 1011).' },
  ERR_SLUICE_TIMEOUT: { exit: 5, meaning: 'Something did not answer within its time.' },
  ERR_SLUICE_CLOSED: { exit: 1, meaning: 'The WebSocket ended without a Close frame (1006).' },
  ERR_SLUICE_GONE: { exit: 1, meaning: 'The session is over and cannot be resumed.' },
  ERR_SLUICE_MISUSE: { exit: 1, meaning: 'A method was called in a state that does not allow it.' },
}
