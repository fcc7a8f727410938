/** Carriers and a host made of Web APIs alone: for browsers, Deno, Bun, workers, and Node from 22 on. */
export { webHost } from './host.ts'
export { W3cWebSocketCarrier, type WebSocketLike } from './websocket.ts'
