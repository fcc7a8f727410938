import { SluiceError } from '../errors/index.ts'

/** Header fields in the order and spelling in which they stand on the wire. */
export type HeaderFields = readonly (readonly [name: string, value: string])[]

/** RFC 9110 §5.6.2: what a method, a field name or a subprotocol may be made of. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** RFC 9110 §5.5: visible characters, obs-text, space and tab inside. */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

export function isToken(text: string): boolean {
  return TOKEN.test(text)
}

/** All values of a field, without the white space around them. */
export function fieldValues(fields: HeaderFields, name: string): string[] {
  const wanted = name.toLowerCase()
  return fields.filter(([field]) => field.toLowerCase() === wanted).map(([, value]) => value.trim())
}

/** The members of a comma-separated list field, over all its lines (RFC 9110 §5.6.1). */
export function fieldList(fields: HeaderFields, name: string): string[] {
  return fieldValues(fields, name)
    .flatMap((value) => value.split(','))
    .map((member) => member.trim())
    .filter((member) => member !== '')
}

/** Whether a list field has this member, in any case of letters. */
export function fieldHas(fields: HeaderFields, name: string, member: string): boolean {
  return fieldList(fields, name).some((value) => value.toLowerCase() === member)
}

/**
 * Refuses a field that would break out of its line or is no field at all.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function checkField(name: string, value: string): void {
  if (!TOKEN.test(name))
    throw new SluiceError('ERR_SLUICE_USAGE', `header name ${JSON.stringify(name)} is not a token (RFC 9110 §5.6.2)`)
  if (!FIELD_VALUE.test(value)) {
    throw new SluiceError('ERR_SLUICE_USAGE', `the value of header ${name} has a control character or one above U+00FF`)
  }
}

/** The head of an HTTP/1.1 response (RFC 9112 §4). */
export interface ResponseHead {
  readonly status: number
  readonly reason: string
  readonly fields: HeaderFields
}

/** Limits on what a server can make us read before its answer is whole. */
export const MAX_RESPONSE_HEAD: number = 16 * 1024
export const MAX_RESPONSE_FIELDS = 100

function bad(message: string): SluiceError {
  return new SluiceError('ERR_SLUICE_HANDSHAKE', message)
}

const BLANK_LINE = [13, 10, 13, 10]

/** Reads one response head from bytes as they come. */
export class ResponseHeadParser {
  #bytes = new Uint8Array(512)
  #length = 0
  #matched = 0

  /** Whether nothing at all has come yet. */
  get empty(): boolean {
    return this.#length === 0
  }

  /**
   * Takes the next bytes.
   *
   * @returns undefined while the head is not whole; then the head, and how many of these bytes belong to it
   * @throws SluiceError `ERR_SLUICE_HANDSHAKE`
   */
  push(bytes: Uint8Array): { head: ResponseHead; used: number } | undefined {
    for (let i = 0; i < bytes.length; i++) {
      if (this.#length === MAX_RESPONSE_HEAD) throw bad(`the answer's header is longer than ${MAX_RESPONSE_HEAD} bytes`)
      if (this.#length === this.#bytes.length) this.#grow()
      const byte = bytes[i]!
      this.#bytes[this.#length++] = byte
      if (this.#length === 5) this.#mustBeHttp()
      this.#matched = byte === BLANK_LINE[this.#matched] ? this.#matched + 1 : byte === 13 ? 1 : 0
      if (this.#matched === 4) return { head: this.#parse(), used: i + 1 }
    }
    return undefined
  }

  #grow(): void {
    const grown = new Uint8Array(this.#bytes.length * 2)
    grown.set(this.#bytes)
    this.#bytes = grown
  }

  #mustBeHttp(): void {
    const start = latin1(this.#bytes.subarray(0, 5))
    if (start !== 'HTTP/') throw bad(`the answer is not HTTP: it starts with ${JSON.stringify(start)}`)
  }

  #parse(): ResponseHead {
    const [statusLine = '', ...lines] = latin1(this.#bytes.subarray(0, this.#length - 4)).split('\r\n')
    const match = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: (.*))?$/.exec(statusLine)
    if (match === null) throw bad(`the answer's status line is ${JSON.stringify(statusLine.slice(0, 100))}`)
    if (lines.length > MAX_RESPONSE_FIELDS) throw bad(`the answer has more than ${MAX_RESPONSE_FIELDS} header fields`)
    const fields = lines.map((line): [string, string] => {
      const colon = line.indexOf(':')
      const name = line.slice(0, colon)
      const value = line.slice(colon + 1)
      if (colon < 1 || !TOKEN.test(name) || !FIELD_VALUE.test(value)) {
        throw bad(`the answer has a malformed header line ${JSON.stringify(line.slice(0, 100))}`)
      }
      return [name, value.trim()]
    })
    return { status: Number(match[2]), reason: match[3] ?? '', fields }
  }
}

function latin1(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 1024) text += String.fromCharCode(...bytes.subarray(i, i + 1024))
  return text
}
