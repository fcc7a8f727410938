/** Collects bytes until enough are there; nothing is read twice. */
export class Collector {
  #bytes: Uint8Array = new Uint8Array(0)

  push(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.#bytes.length + bytes.length)
    joined.set(this.#bytes)
    joined.set(bytes, this.#bytes.length)
    this.#bytes = joined
  }

  get length(): number {
    return this.#bytes.length
  }

  at(index: number): number {
    return this.#bytes[index] ?? 0
  }

  /** Takes this many bytes off the front; undefined if there are not so many. */
  take(length: number): Uint8Array | undefined {
    if (this.#bytes.length < length) return undefined
    const taken = this.#bytes.subarray(0, length)
    this.#bytes = this.#bytes.subarray(length)
    return taken
  }

  /** Where a sequence begins; -1 if it is not there. */
  indexOf(sequence: readonly number[], from = 0): number {
    for (let at = from; at + sequence.length <= this.#bytes.length; at++) {
      if (sequence.every((byte, index) => this.#bytes[at + index] === byte)) return at
    }
    return -1
  }

  rest(): Uint8Array {
    return this.take(this.#bytes.length)!
  }
}

/** Bytes as text, one character each. */
export function latin1(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

export function fromLatin1(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0) & 0xff)
}

export function utf8(text: string): Uint8Array {
  return fromLatin1(
    encodeURIComponent(text).replace(/%(..)/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
  )
}

/** The 4 or 16 bytes of an address as text; IPv6 in full, which every parser reads. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  const groups: string[] = []
  for (let at = 0; at < 16; at += 2) groups.push(((bytes[at]! << 8) | bytes[at + 1]!).toString(16))
  return groups.join(':')
}

/** Compares in a time that depends on the length of the second alone. */
export function sameText(given: string, secret: string): boolean {
  let different = given.length ^ secret.length
  for (let i = 0; i < secret.length; i++) different |= (given.charCodeAt(i) || 0) ^ secret.charCodeAt(i)
  return different === 0
}
