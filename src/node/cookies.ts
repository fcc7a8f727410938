/** Cookies of one server, as a gateway in front of it may set them to know us again (RFC 6265 §5); whom they are for is no question here. */
export class CookieJar {
  readonly #cookies = new Map<string, { readonly value: string; readonly until: number }>()

  /** Takes what an answer sets, `Set-Cookie` by `Set-Cookie`. @param now in milliseconds since 1970 */
  take(lines: readonly string[], now: number = Date.now()): void {
    for (const line of lines) {
      const [pair = '', ...attributes] = line.split(';')
      const equals = pair.indexOf('=')
      const name = pair.slice(0, equals).trim()
      if (equals < 1 || !/^[\x21-\x3a\x3c\x3e-\x7e]+$/.test(name)) continue
      this.#cookies.delete(name)
      const until = expiry(attributes, now)
      if (until > now) this.#cookies.set(name, { value: pair.slice(equals + 1).trim(), until })
      // A gateway has a few: whoever sets hundreds is not one.
      if (this.#cookies.size > 50) this.#cookies.delete(this.#cookies.keys().next().value!)
    }
  }

  /** What `Cookie` says; undefined if there is none. */
  field(now: number = Date.now()): string | undefined {
    const good = [...this.#cookies].filter(([, { until }]) => until > now)
    return good.length === 0 ? undefined : good.map(([name, { value }]) => `${name}=${value}`).join('; ')
  }
}

/** `Max-Age` goes before `Expires` (RFC 6265 §5.3). */
function expiry(attributes: readonly string[], now: number): number {
  const attribute = (name: string) =>
    attributes
      .map((part) => part.split('=', 2).map((text) => text.trim()))
      .findLast(([key]) => key!.toLowerCase() === name)?.[1]
  const age = attribute('max-age')
  if (age !== undefined && /^-?\d+$/.test(age)) return now + Number(age) * 1000
  const date = Date.parse(attribute('expires') ?? '')
  return Number.isNaN(date) ? Number.POSITIVE_INFINITY : date
}
