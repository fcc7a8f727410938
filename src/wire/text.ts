const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function encodeText(text: string): Uint8Array {
  return encoder.encode(text)
}

/** The text of UTF-8 bytes; undefined if they are not. */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** Shortens a text to so many bytes of UTF-8, at a character. */
export function clipText(text: string, most: number): string {
  let clipped = text
  while (encoder.encode(clipped).length > most) clipped = clipped.slice(0, -1)
  return clipped
}
