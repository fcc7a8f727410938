// The pattern is written as bytes and read back as one word, so that it is right on either byte order.
const patternBytes = new Uint8Array(8)
const patternWord = new BigInt64Array(patternBytes.buffer)

/** Below this many bytes a typed-array view costs more than it saves. */
const WORTH_A_VIEW = 64

/**
 * Masks or unmasks in place (RFC 6455 §5.3), eight bytes at a time.
 *
 * @param bytes what to change
 * @param key the four bytes of the masking key; a key of zero is no work
 * @param phase how many bytes of this frame's payload came before, modulo 4
 * @returns the phase for the bytes that follow
 */
export function applyMask(bytes: Uint8Array, key: Uint8Array, phase = 0): number {
  const length = bytes.length
  const next = (phase + length) & 3
  const k0 = key[phase & 3]!
  const k1 = key[(phase + 1) & 3]!
  const k2 = key[(phase + 2) & 3]!
  const k3 = key[(phase + 3) & 3]!
  if ((k0 | k1 | k2 | k3) === 0) return next
  if (length < WORTH_A_VIEW) {
    maskBytes(bytes, 0, length, k0, k1, k2, k3)
    return next
  }
  const head = -bytes.byteOffset & 7
  maskBytes(bytes, 0, head, k0, k1, k2, k3)
  const words = (length - head) >>> 3
  for (let i = 0; i < 8; i++) patternBytes[i] = key[(phase + head + i) & 3]!
  maskWords(new BigInt64Array(bytes.buffer, bytes.byteOffset + head, words), patternWord[0]!)
  const tail = head + words * 8
  // head + words * 8 differs from head by a multiple of 4, so the tail starts at head's phase.
  maskBytes(
    bytes,
    tail,
    length,
    key[(phase + head) & 3]!,
    key[(phase + head + 1) & 3]!,
    key[(phase + head + 2) & 3]!,
    key[(phase + head + 3) & 3]!,
  )
  return next
}

function maskBytes(bytes: Uint8Array, from: number, to: number, k0: number, k1: number, k2: number, k3: number): void {
  let i = from
  for (; i + 3 < to; i += 4) {
    bytes[i]! ^= k0
    bytes[i + 1]! ^= k1
    bytes[i + 2]! ^= k2
    bytes[i + 3]! ^= k3
  }
  if (i < to) bytes[i]! ^= k0
  if (i + 1 < to) bytes[i + 1]! ^= k1
  if (i + 2 < to) bytes[i + 2]! ^= k2
}

function maskWords(words: BigInt64Array, pattern: bigint): void {
  const unrolled = words.length & ~3
  let i = 0
  for (; i < unrolled; i += 4) {
    words[i]! ^= pattern
    words[i + 1]! ^= pattern
    words[i + 2]! ^= pattern
    words[i + 3]! ^= pattern
  }
  for (; i < words.length; i++) words[i]! ^= pattern
}

/**
 * Copies while masking: one pass over memory instead of two. The payload of a frame starts at `to` in `target`.
 *
 * @param phase how many bytes of this frame's payload came before, modulo 4
 */
export function copyMasked(source: Uint8Array, target: Uint8Array, to: number, key: Uint8Array, phase = 0): void {
  const from = source.byteOffset
  const into = target.byteOffset + to
  const length = source.length
  // Whole words only where both sides are aligned alike.
  if (length < WORTH_A_VIEW || ((from ^ into) & 7) !== 0) {
    target.set(source, to)
    applyMask(target.subarray(to, to + length), key, phase)
    return
  }
  const head = -from & 7
  for (let i = 0; i < head; i++) target[to + i] = source[i]! ^ key[(phase + i) & 3]!
  const words = (length - head) >>> 3
  for (let i = 0; i < 8; i++) patternBytes[i] = key[(phase + head + i) & 3]!
  const a = new BigInt64Array(source.buffer, from + head, words)
  const b = new BigInt64Array(target.buffer, into + head, words)
  const pattern = patternWord[0]!
  for (let i = 0; i < words; i++) b[i] = a[i]! ^ pattern
  for (let i = head + words * 8; i < length; i++) target[to + i] = source[i]! ^ key[(phase + i) & 3]!
}
