/** The Node library: tunnels, their listeners, and what they are made of: sockets, and WebSockets on them. */

export { SocketError, type SocketInfo, type SocketOptions, type Tunnel, TunnelSocket } from '../client/index.ts'
export { canAdopt, type ReadMode } from './adopt.ts'
export { Bridge, type BridgeOptions, type BridgeOutcome } from './bridge.ts'
export { type ByteStream, type ByteStreamEvents, HIGH_MARK, LOW_MARK } from './byte-stream.ts'
export { SESSION_PROTOCOL, WebSocketCarrier } from './carrier.ts'
export { type CheckName, type CheckOptions, type CheckStep, checkServer } from './check/check.ts'
export { WAY_NAMES } from './check/session.ts'
export { verdictOf } from './check/verdict.ts'
export { type ConnectionTarget, connect, type NodeConnectOptions, NodeTunnel } from './connect.ts'
export { CookieJar } from './cookies.ts'
export { type DialOptions, dial, TCP_OPTIONS } from './dial.ts'
export { TunnelDuplex } from './duplex.ts'
export { errnoCode } from './errno.ts'
export { Heartbeat, PING_INTERVAL } from './heartbeat.ts'
export { nodeHost } from './host.ts'
export { NodeHttpClient } from './http.ts'
export { HTTP2_WINDOW, Http2Carrier, openHttp2 } from './http2.ts'
export { bindError, LocalListener, type StreamEndpoint } from './local-listener.ts'
export { Nap } from './nap.ts'
export { OPEN_TIMEOUT, type OpenedWebSocket, type OpenOptions, openWebSocket, probe } from './open.ts'
export { PartWriter } from './part-writer.ts'
export { PathMemory } from './path-memory.ts'
export {
  type ForwardEvents,
  failureOf,
  PlainForward,
  type PlainTunnelOptions,
  plainConnection,
  probeServer,
} from './plain.ts'
export { ReverseForward, type ReverseForwardEvents } from './reverse-forward.ts'
export {
  SessionForward,
  type SessionForwardEvents,
  type SessionForwardOptions,
  wireTarget,
} from './session-forward.ts'
export { SessionTunnel, type SessionTunnelEvents } from './session-tunnel.ts'
export { HEADROOM, type Holdable, LARGE_SLAB, Slab, SlabPool, sharedPool } from './slab.ts'
export { SocketStream } from './socket.ts'
export { Splice, type SpliceError, type SpliceOutcome } from './splice.ts'
export { openFailure, spliceFailure } from './splice-failure.ts'
export { StdioStream } from './stdio.ts'
export { checkPeer, parsePin, pinOf, type TlsTrust } from './tls.ts'
export { clientLink, FINAL_ERRORS, lacksSessions, PARAMETERS, type TunnelClientOptions } from './tunnel-client.ts'
export { UDP_IDLE, UdpFlow } from './udp-flow.ts'
export { UdpForward } from './udp-forward.ts'
export { type OpenFlow, type UdpEndpoint, UdpPort } from './udp-port.ts'
export { relayUdp, type UdpRelayOutcome, UdpTarget } from './udp-relay.ts'
export {
  CLOSE_TIMEOUT,
  sha1Base64,
  type WebSocketEvents,
  WebSocketStream,
  type WebSocketStreamOptions,
} from './websocket.ts'
