/** The session of sluice.1 (spec/sluice-1.md §6 to §12), without I/O: time is an argument. */
export { CreditPool, ReceiveWindow } from './credit.ts'
export type { CarrierFigures, SessionFigures } from './figures.ts'
export {
  concat,
  joinHello,
  MAX_FIRST_MESSAGE,
  newHello,
  proofInput,
  readHello,
  readMessage,
  type ServerHelloOptions,
  sameBytes,
  serverHello,
  withoutProof,
} from './handshake.ts'
export { SeenIds } from './ids.ts'
export { DEFAULT_LIVENESS, type LivenessOptions } from './liveness.ts'
export type { Changes, Memory } from './memory.ts'
export type { OutgoingMessage } from './outgoing.ts'
export { Pace } from './pace.ts'
export { Ranges } from './ranges.ts'
export { RateControl } from './rate.ts'
export { Reassembly } from './reassembly.ts'
export { SendBuffer } from './send-buffer.ts'
export {
  DEFAULT_BUDGET,
  Session,
  type SessionEvents,
  type SessionOptions,
} from './session.ts'
export { Stream } from './stream.ts'
export type { StreamHandler } from './stream-contracts.ts'
export type { Role } from './streams.ts'
