export { CODES, type CodeFacts, type SluiceErrorCode } from './codes.ts'
export { CREDENTIALS_REMEDY, errnoOf, firstReason, messageOf, SluiceError, type SluiceErrorFacts } from './errors.ts'
