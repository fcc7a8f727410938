/** Carriers and a host made of Web APIs alone: for browsers, Deno, Bun, workers, and Node from 22 on. */
export { FetchClient } from './fetch.ts'
export { webHost } from './host.ts'
export {
  type HttpAnswer,
  HttpCarrier,
  type HttpClient,
  type HttpWay,
  type OpenHttpOptions,
  openHttp,
} from './http.ts'
export { W3cWebSocketCarrier, type WebSocketLike } from './websocket.ts'
