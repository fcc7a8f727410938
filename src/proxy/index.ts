/** Proxy protocols on the server's side, sans-I/O: SOCKS5, SOCKS4a and HTTP, told apart by the first byte. */
export { ProxyHandshake } from './handshake.ts'
export {
  MAX_HANDSHAKE,
  type ProxyCredentials,
  type ProxyFailure,
  type ProxyRequest,
  type ProxyStep,
} from './protocol.ts'
export { parseSocksDatagram } from './socks5.ts'
