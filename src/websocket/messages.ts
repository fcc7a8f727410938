import { SluiceError } from '../errors/index.ts'
import { CloseCode } from './close.ts'
import { type MessageOpcode, Opcode } from './opcode.ts'
import { Utf8Validator } from './utf8.ts'

/**
 * Whole messages from the pieces that a {@link Connection} hands out, for those who want messages. Text is checked as it
 * arrives, so that what cannot become UTF-8 is refused at its first bad byte.
 */
export class MessageAssembler {
  readonly #deliver: (opcode: MessageOpcode, message: Uint8Array) => void
  #opcode: MessageOpcode = Opcode.binary
  #buffer = new Uint8Array(0)
  #length = 0
  #utf8: Utf8Validator | undefined

  /** @param deliver takes each whole message; the bytes are its own to keep. */
  constructor(deliver: (opcode: MessageOpcode, message: Uint8Array) => void) {
    this.#deliver = deliver
  }

  messageStart(opcode: MessageOpcode): void {
    this.#opcode = opcode
    this.#length = 0
    this.#utf8 = opcode === Opcode.text ? new Utf8Validator() : undefined
  }

  /** @throws SluiceError `ERR_SLUICE_INVALID_TEXT` */
  payload(bytes: Uint8Array): void {
    if (this.#utf8?.push(bytes) === false) throw this.#invalid('a byte that cannot be there')
    const length = this.#length + bytes.length
    if (length > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(length, this.#buffer.length * 2, 256))
      grown.set(this.#buffer.subarray(0, this.#length))
      this.#buffer = grown
    }
    this.#buffer.set(bytes, this.#length)
    this.#length = length
  }

  /** @throws SluiceError `ERR_SLUICE_INVALID_TEXT` */
  messageEnd(): void {
    if (this.#utf8?.complete === false) throw this.#invalid('an end in the middle of a character')
    const message = this.#buffer.subarray(0, this.#length)
    this.#buffer = new Uint8Array(0)
    this.#deliver(this.#opcode, message)
  }

  #invalid(what: string): SluiceError {
    return new SluiceError('ERR_SLUICE_INVALID_TEXT', `a text message is not UTF-8: ${what}`, {
      closeCode: CloseCode.invalidText,
    })
  }
}
