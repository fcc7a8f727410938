export { CODES, type CodeFacts, type SluiceErrorCode } from './codes.ts'
export { errnoOf, messageOf, SluiceError, type SluiceErrorFacts } from './errors.ts'
