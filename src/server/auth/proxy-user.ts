import { fieldValues } from '../../websocket/index.ts'
import type { Networks } from '../networks.ts'
import type { Asking, Auth, Principal } from './auth.ts'

/** A user whom a proxy in front has let in and names in a header field, which is believed of that proxy alone. */
export class ProxyUserAuth implements Auth {
  readonly #field: string
  readonly #proxies: Networks

  /** @param field like `X-Forwarded-User`; the proxy must remove it from what its clients send */
  constructor(field: string, proxies: Networks) {
    this.#field = field.toLowerCase()
    this.#proxies = proxies
  }

  authenticate({ fields, peer }: Asking): Principal | undefined {
    if (!this.#proxies.has(peer)) return undefined
    const [name, ...more] = fieldValues(fields, this.#field)
    return name === undefined || more.length > 0 || !/^[\x21-\x7e]{1,128}$/.test(name)
      ? undefined
      : { name: `proxy:${name}` }
  }
}
