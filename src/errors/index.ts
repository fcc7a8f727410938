export { CODES, type CodeFacts, type SluiceErrorCode } from './codes.ts'
export { errnoOf, firstReason, messageOf, SluiceError, type SluiceErrorFacts } from './errors.ts'
