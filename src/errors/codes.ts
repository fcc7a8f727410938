/** The closed list of error codes. A code never changes its meaning and is never reused. */
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

/**
 * Whose turn it is to act: `local` (what was typed, configured or called is wrong), `remote` (the peer broke a rule), `network`
 * (neither: something between or behind is not there).
 */
export type Fault = 'local' | 'remote' | 'network'

export const FAULTS: Readonly<Record<SluiceErrorCode, Fault>> = {
  ERR_SLUICE_USAGE: 'local',
  ERR_SLUICE_CONFIG: 'local',
  ERR_SLUICE_AUTH: 'local',
  ERR_SLUICE_TLS: 'network',
  ERR_SLUICE_UNREACHABLE: 'network',
  ERR_SLUICE_PROXY: 'network',
  ERR_SLUICE_POLICY: 'local',
  ERR_SLUICE_REFUSED: 'remote',
  ERR_SLUICE_HANDSHAKE: 'remote',
  ERR_SLUICE_PROTOCOL: 'remote',
  ERR_SLUICE_INVALID_TEXT: 'remote',
  ERR_SLUICE_TOO_BIG: 'remote',
  ERR_SLUICE_UNSUPPORTED: 'remote',
  ERR_SLUICE_TARGET: 'network',
  ERR_SLUICE_TIMEOUT: 'network',
  ERR_SLUICE_CLOSED: 'network',
  ERR_SLUICE_GONE: 'network',
  ERR_SLUICE_MISUSE: 'local',
}
