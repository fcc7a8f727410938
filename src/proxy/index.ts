/**
 * Proxy protocols, sans-I/O. On the server's side SOCKS5, SOCKS4a and HTTP, told apart by the first byte; on the client's, what
 * a proxy on the way out is told.
 */
export { type Challenge, canDigest, type DigestTools, digestAnswer, parseChallenges } from './challenge.ts'
export { ProxyHandshake } from './handshake.ts'
export {
  MAX_HANDSHAKE,
  type ProxyCredentials,
  type ProxyFailure,
  type ProxyRequest,
  type ProxyStep,
} from './protocol.ts'
export {
  formatProxyHeader,
  type ProxiedAddress,
  type ProxiedAddresses,
  type ProxyHeader,
  ProxyHeaderParser,
} from './proxy-protocol.ts'
export { parseSocksDatagram } from './socks5.ts'
export { Socks5Client, type Socks5ClientStep, type Socks5Target } from './socks5-client.ts'
