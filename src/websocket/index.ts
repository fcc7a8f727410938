/**
 * RFC 6455 without I/O, both roles. Bytes go in; events and bytes come out. No compression is negotiated: what a tunnel
 * carries is mostly encrypted or compressed already, and compressing secrets together with an attacker's text leaks them.
 */
export { CloseCode, decodeClose, encodeClose, isSendableCloseCode } from './close.ts'
export { type CloseInfo, Connection, type ConnectionEvents, type ConnectionOptions } from './connection.ts'
export { type DecoderOptions, FrameDecoder, type FrameSink, type Role } from './decoder.ts'
export {
  type AcceptedUpgrade,
  acceptFor,
  checkRequest,
  checkResponse,
  formatAccept,
  formatRequest,
  type ReceivedRequest,
  type Sha1Base64,
  type UpgradeRefusal,
  type UpgradeRequest,
} from './handshake.ts'
export { headerLength, writeHeaderBefore } from './header.ts'
export {
  checkField,
  fieldHas,
  fieldList,
  fieldValues,
  type HeaderFields,
  isToken,
  MAX_RESPONSE_FIELDS,
  MAX_RESPONSE_HEAD,
  type ResponseHead,
  ResponseHeadParser,
} from './http.ts'
export { applyMask, copyMasked } from './mask.ts'
export { MessageAssembler } from './messages.ts'
export { type FrameOpcode, MAX_CONTROL_PAYLOAD, MAX_HEADER, type MessageOpcode, Opcode } from './opcode.ts'
export { Utf8Validator } from './utf8.ts'
