export { FAULTS, type Fault, type SluiceErrorCode } from './codes.ts'
export { CREDENTIALS_REMEDY, errnoOf, firstReason, messageOf, SluiceError, type SluiceErrorFacts } from './errors.ts'
export { CODES, type CodeFacts } from './meanings.ts'
