import { createHash, randomBytes } from 'node:crypto'
import { formatHostPort, formatProxyUrl, type HostPort, type ProxyUrl } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { type Challenge, canDigest, digestAnswer, parseChallenges } from '../proxy/index.ts'
import { fieldValues, type ResponseHead } from '../websocket/index.ts'
import { AuthCommand } from './auth-command.ts'

/** Tells an HTTP proxy who we are, for one connection: it says what it wants, and is answered. */
export interface ProxyAsker {
  /** What the next request says; undefined for nothing. */
  authorization(): Promise<string | undefined>
  /** It was answered with 407. @throws SluiceError `ERR_SLUICE_AUTH`: there is nothing more to say */
  refused(head: ResponseHead): Promise<void>
  accepted(): void
  end(): void
}

export function askerFor(proxy: ProxyUrl, to: HostPort): ProxyAsker {
  return proxy.authCommand === undefined ? new PasswordAsker(proxy, to) : new CommandAsker(proxy, proxy.authCommand, to)
}

/** How each proxy wanted to be asked last, so that later connections need not be refused first. */
const lastChallenge = new WeakMap<ProxyUrl, Challenge>()
const lastOffer = new WeakMap<ProxyUrl, readonly string[]>()

/** With user and password: Digest where it is offered (RFC 7616), otherwise Basic (RFC 7617). */
class PasswordAsker implements ProxyAsker {
  readonly #proxy: ProxyUrl
  readonly #uri: string
  #challenge: Challenge | undefined
  #tries = 0

  constructor(proxy: ProxyUrl, to: HostPort) {
    this.#proxy = proxy
    this.#uri = formatHostPort(to)
    this.#challenge = lastChallenge.get(proxy)
  }

  async authorization(): Promise<string | undefined> {
    const { credentials } = this.#proxy
    if (this.#challenge === undefined || credentials === undefined) return undefined
    if (this.#challenge.scheme === 'basic') {
      return `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64')}`
    }
    const request = { method: 'CONNECT', uri: this.#uri }
    return digestAnswer(this.#challenge, credentials, request, {
      hash: (algorithm, text) => createHash(algorithm).update(text).digest('hex'),
      clientNonce: randomBytes(16).toString('hex'),
    })
  }

  async refused(head: ResponseHead): Promise<void> {
    const proxy = this.#proxy
    const tries = this.#tries++
    const challenges = parseChallenges(fieldValues(head.fields, 'proxy-authenticate'))
    const refuse = (what: string, remedy: string) => refusal(proxy, challenges, what, remedy)
    if (proxy.credentials === undefined) {
      throw refuse('asks who you are', 'Give --proxy-auth-file FILE with a line USER:PASSWORD.')
    }
    const known = challenges.find(canDigest) ?? challenges.find(({ scheme }) => scheme === 'basic')
    if (known === undefined) {
      throw refuse(
        'asks for what sluice does not speak itself',
        'Give --proxy-auth-command, a command that speaks it, or run a helper such as cntlm or px and give its address to --proxy.',
      )
    }
    // A Digest nonce may be out of date once; twice means that user or password are wrong.
    const stale = known.params.get('stale')?.toLowerCase() === 'true'
    if (tries > 1 || (tries > 0 && !stale)) {
      lastChallenge.delete(proxy)
      throw refuse('does not accept the user and password', 'Look at what --proxy-auth-file or the variable says.')
    }
    this.#challenge = known
  }

  accepted(): void {
    if (this.#challenge !== undefined) lastChallenge.set(this.#proxy, this.#challenge)
  }

  end(): void {}
}

/** Requests that a command may answer for one connection: NTLM takes two, Negotiate one or two, and one is without. */
const MOST_ROUNDS = 6

/** With a command that speaks what the proxy wants, NTLM or Negotiate for instance. */
class CommandAsker implements ProxyAsker {
  readonly #proxy: ProxyUrl
  readonly #command: AuthCommand
  #offer: readonly string[] | undefined
  #rounds = 0

  constructor(proxy: ProxyUrl, command: string, to: HostPort) {
    this.#proxy = proxy
    this.#command = new AuthCommand(command, { SLUICE_PROXY: formatHostPort(proxy), SLUICE_TARGET: formatHostPort(to) })
    this.#offer = lastOffer.get(proxy)
  }

  authorization(): Promise<string | undefined> {
    return this.#offer === undefined ? Promise.resolve(undefined) : this.#command.answer(this.#offer)
  }

  async refused(head: ResponseHead): Promise<void> {
    const offer = fieldValues(head.fields, 'proxy-authenticate')
    const again = this.#offer !== undefined && !offer.some((value) => /^\S+ +\S/.test(value))
    if (++this.#rounds < MOST_ROUNDS && (!again || this.#rounds === 1)) {
      this.#offer = offer
      return
    }
    lastOffer.delete(this.#proxy)
    const remedy = 'Run the command by hand: it gets what the proxy offers on its input, a line each time.'
    throw refusal(this.#proxy, parseChallenges(offer), 'does not accept what --proxy-auth-command answers', remedy)
  }

  accepted(): void {
    const offer = this.#offer?.map((value) => value.split(' ')[0]!)
    if (offer !== undefined) lastOffer.set(this.#proxy, offer)
  }

  end(): void {
    this.#command.end()
  }
}

function refusal(proxy: ProxyUrl, challenges: readonly Challenge[], what: string, remedy: string): SluiceError {
  const offered = [...new Set(challenges.map(({ scheme }) => scheme))].join(', ') || 'no scheme'
  const text = `the proxy ${formatProxyUrl(proxy)} ${what} (407, it offers: ${offered})`
  return new SluiceError('ERR_SLUICE_AUTH', text, { remedy, status: 407 })
}
