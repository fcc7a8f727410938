/** The library for browsers, Deno, Bun, workers, and Node from 22 on: TCP connections through a WebSocket. */
export { SluiceError, type SluiceErrorCode } from '../errors/index.ts'
export { type ConnectOptions, connect } from './connect.ts'
export { type SocketAddress, SocketError, type SocketInfo, type SocketOptions, TunnelSocket } from './socket.ts'
export { Tunnel, type TunnelEvents, type WatchedLink, watchLink } from './tunnel.ts'
