/**
 * A UTF-8 validator that is fed piece by piece and fails at the first byte that no continuation could make valid
 * (RFC 3629 §4), so that a bad text message is refused before its end (RFC 6455 §8.1).
 */
export class Utf8Validator {
  /** Continuation bytes still due. */
  #due = 0
  /** The range of the next continuation byte: narrower than 80..BF after E0, ED, F0 and F4. */
  #low = 0x80
  #high = 0xbf

  /** Takes the next bytes; false as soon as they cannot be part of valid UTF-8. */
  push(bytes: Uint8Array): boolean {
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]!
      if (this.#due === 0 ? byte >= 0x80 && !this.#lead(byte) : !this.#continuation(byte)) return false
    }
    return true
  }

  /** Whether the text may end here: not in the middle of a character. */
  get complete(): boolean {
    return this.#due === 0
  }

  #lead(byte: number): boolean {
    this.#low = 0x80
    this.#high = 0xbf
    if (byte >= 0xc2 && byte <= 0xdf) {
      this.#due = 1
    } else if (byte >= 0xe0 && byte <= 0xef) {
      this.#due = 2
      if (byte === 0xe0) this.#low = 0xa0 // shorter forms exist
      if (byte === 0xed) this.#high = 0x9f // surrogates
    } else if (byte >= 0xf0 && byte <= 0xf4) {
      this.#due = 3
      if (byte === 0xf0) this.#low = 0x90
      if (byte === 0xf4) this.#high = 0x8f // above U+10FFFF
    } else {
      return false
    }
    return true
  }

  #continuation(byte: number): boolean {
    if (byte < this.#low || byte > this.#high) return false
    this.#due--
    this.#low = 0x80
    this.#high = 0xbf
    return true
  }
}
