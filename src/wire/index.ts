/** Bytes and frames of sluice.1 (spec/sluice-1.md), without I/O. */
export { MessageDecoder, type MessageSink } from './decode.ts'
export { encodeFrame, MAX_DATA_HEADER, writeDataHeader } from './encode.ts'
export {
  type CarrierCount,
  type Frame,
  type Hello,
  ID_LENGTH,
  type JoinHello,
  type NewHello,
  PROOF_LENGTH,
  type ServerHello,
  type Target,
} from './frame.ts'
export { type Parameters, withDefaults } from './hello.ts'
export { MAX_TEXT } from './parse.ts'
export { ANSWER_MARK, PART_END, PartReader, type PartSink, partHead } from './parts.ts'
export {
  CloseReason,
  Feature,
  FrameType,
  JoinError,
  OPEN_ERRORS,
  OpenError,
  type OpenErrorFacts,
  ResetCode,
} from './registry.ts'
export { clipText } from './text.ts'
export { MAX_VALUE, readVarint, varintLength, varintLengthFrom, writeVarint } from './varint.ts'
export { closeReasonName, malformed, Violation } from './violation.ts'
