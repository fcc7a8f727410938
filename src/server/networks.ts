import { BlockList, isIP } from 'node:net'
import { SluiceError } from '../errors/index.ts'

/** A set of addresses and networks. */
export class Networks {
  readonly #list = new BlockList()

  /**
   * @param texts `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`
   * @throws SluiceError `ERR_SLUICE_USAGE`
   */
  constructor(texts: readonly string[]) {
    for (const text of texts) {
      const [address = '', bits, ...more] = text.split('/')
      const kind = isIP(address)
      const most = kind === 4 ? 32 : 128
      const prefix = bits === undefined ? most : /^[0-9]{1,3}$/.test(bits) ? Number(bits) : Number.NaN
      if (kind === 0 || more.length > 0 || !(prefix <= most)) {
        throw new SluiceError('ERR_SLUICE_USAGE', `${JSON.stringify(text)} is not the address or network of a proxy`, {
          remedy: 'Write it like 10.0.0.7 or 10.0.0.0/8.',
        })
      }
      this.#list.addSubnet(address, prefix, kind === 4 ? 'ipv4' : 'ipv6')
    }
  }

  has(address: string): boolean {
    const plain = plainAddress(address)
    return isIP(plain) !== 0 && this.#list.check(plain, isIP(plain) === 4 ? 'ipv4' : 'ipv6')
  }
}

/** Without the IPv6 that a socket of both families puts before an IPv4 address. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=[0-9.]+$)/, '')
}
