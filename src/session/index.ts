/** The session of sluice.1 (spec/sluice-1.md §6 to §12), without I/O: time is an argument. */
export { CreditPool, ReceiveWindow } from './credit.ts'
export {
  concat,
  joinHello,
  MAX_FIRST_MESSAGE,
  newHello,
  proofInput,
  readHello,
  readMessage,
  sameBytes,
  serverHello,
  type ServerHelloOptions,
  withoutProof,
} from './handshake.ts'
export { SeenIds } from './ids.ts'
export { DEFAULT_LIVENESS, type LivenessOptions } from './liveness.ts'
export type { Memory } from './memory.ts'
export type { OutgoingMessage } from './outgoing.ts'
export { Ranges } from './ranges.ts'
export { RateControl } from './rate.ts'
export { Reassembly } from './reassembly.ts'
export { SendBuffer } from './send-buffer.ts'
export {
  type CarrierFigures,
  DEFAULT_BUDGET,
  Session,
  type SessionEvents,
  type SessionFigures,
  type SessionOptions,
} from './session.ts'
export { Stream, type StreamHandler } from './stream.ts'
export type { Role } from './streams.ts'
