import { SluiceError } from '../errors/index.ts'
import { addressText, Collector, fromLatin1, latin1 } from './bytes.ts'

/** The two ends of a connection as the PROXY protocol tells them: 4 or 16 bytes of address each, of one family. */
export interface ProxiedAddresses {
  readonly source: ProxiedAddress
  readonly destination: ProxiedAddress
}

export interface ProxiedAddress {
  readonly address: Uint8Array
  readonly port: number
}

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
/** The longest line of version 1 (haproxy's proxy-protocol.txt §2.1), and what is accepted after the head of version 2. */
const MAX_LINE = 107
const MAX_BODY = 2048
const HEAD = 16
const WORD = 'PROXY '
const TCP4 = 0x11
const TCP6 = 0x21

/** What a header says. */
export interface ProxyHeader {
  /** As text and port; undefined where the proxy speaks for itself (LOCAL, UNKNOWN) or of another family. */
  readonly source: { readonly host: string; readonly port: number } | undefined
  /** What came after it. */
  readonly rest: Uint8Array
}

/** Reads one header of the PROXY protocol, version 1 or 2, as it comes. */
export class ProxyHeaderParser {
  readonly #bytes = new Collector()

  /**
   * Takes the next bytes.
   *
   * @returns undefined while the header is not whole
   * @throws SluiceError `ERR_SLUICE_PROXY`
   */
  push(bytes: Uint8Array): ProxyHeader | undefined {
    this.#bytes.push(bytes)
    const { length } = this.#bytes
    if (length === 0) return undefined
    if (this.#bytes.at(0) === SIGNATURE[0]) return this.#binary()
    return this.#line()
  }

  #line(): ProxyHeader | undefined {
    const end = this.#bytes.indexOf([13, 10])
    if (end < 0 || end > MAX_LINE - 2) {
      const { length } = this.#bytes
      const other = [...WORD].some((char, index) => index < length && this.#bytes.at(index) !== char.charCodeAt(0))
      if (other || length >= MAX_LINE) throw bad('no header of the PROXY protocol came first')
      return undefined
    }
    const words = latin1(this.#bytes.take(end)!).split(' ')
    this.#bytes.take(2)
    const rest = this.#bytes.rest()
    if (words[0] !== 'PROXY') throw bad('no header of the PROXY protocol came first')
    if (words[1] === 'UNKNOWN') return { source: undefined, rest }
    const [, family, host = '', , port = ''] = words
    const shape = family === 'TCP4' ? /^[0-9.]+$/ : family === 'TCP6' ? /^[0-9A-Fa-f:.]+$/ : undefined
    if (words.length !== 6 || !shape?.test(host) || !/^[0-9]{1,5}$/.test(port) || Number(port) > 65_535) {
      throw bad('its header of the PROXY protocol cannot be read')
    }
    return { source: { host, port: Number(port) }, rest }
  }

  #binary(): ProxyHeader | undefined {
    const { length } = this.#bytes
    if (SIGNATURE.some((byte, index) => index < length && this.#bytes.at(index) !== byte)) {
      throw bad('no header of the PROXY protocol came first')
    }
    if (length < HEAD) return undefined
    const [command, family] = [this.#bytes.at(12), this.#bytes.at(13)]
    const body = this.#bytes.at(14) * 256 + this.#bytes.at(15)
    const least = family === TCP4 ? 12 : family === TCP6 ? 36 : 0
    if (command >> 4 !== 2 || (command & 15) > 1 || body > MAX_BODY || (command === 0x21 && body < least)) {
      throw bad('its header of the PROXY protocol cannot be read')
    }
    if (length < HEAD + body) return undefined
    this.#bytes.take(HEAD)
    const content = this.#bytes.take(body)!
    const rest = this.#bytes.rest()
    if (command === 0x20 || least === 0) return { source: undefined, rest }
    const size = family === TCP4 ? 4 : 16
    const port = content[2 * size]! * 256 + content[2 * size + 1]!
    return { source: { host: addressText(content.subarray(0, size)), port }, rest }
  }
}

/** A header that tells a target who its client is. */
export function formatProxyHeader(version: 1 | 2, { source, destination }: ProxiedAddresses): Uint8Array {
  const size = source.address.length === 4 && destination.address.length === 4 ? 4 : 16
  const [from, to] = [widen(source.address, size), widen(destination.address, size)]
  if (version === 1) {
    const family = size === 4 ? 'TCP4' : 'TCP6'
    return fromLatin1(`PROXY ${family} ${addressText(from)} ${addressText(to)} ${source.port} ${destination.port}\r\n`)
  }
  const ports = [source.port >> 8, source.port & 255, destination.port >> 8, destination.port & 255]
  return Uint8Array.of(...SIGNATURE, 0x21, size === 4 ? TCP4 : TCP6, 0, 2 * size + 4, ...from, ...to, ...ports)
}

/** An IPv4 address as IPv6 has it (RFC 4291 §2.5.5.2), where the other end has an IPv6 address. */
function widen(address: Uint8Array, size: number): Uint8Array {
  if (address.length === size) return address
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...address)
}

function bad(what: string): SluiceError {
  return new SluiceError('ERR_SLUICE_PROXY', `a proxy that is trusted to tell the client's address did not: ${what}`, {
    remedy: 'Let it send the PROXY protocol (HAProxy: send-proxy-v2), or do not name it in --proxy-protocol-from.',
  })
}
