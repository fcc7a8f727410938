/** One way in which a proxy or server would be told who asks (RFC 9110 §11.6.1). */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string
  /** Names in lower case. */
  readonly params: ReadonlyMap<string, string>
}

const PART = /[\s,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/y

/** The challenges in the values of `Proxy-Authenticate`; several may stand in one value. */
export function parseChallenges(values: readonly string[]): Challenge[] {
  const challenges: { scheme: string; params: Map<string, string> }[] = []
  for (const value of values) {
    PART.lastIndex = 0
    for (let match = PART.exec(value); match !== null; match = PART.exec(value)) {
      const [, name, quoted, plain] = match
      const content = quoted?.replace(/\\(.)/g, '$1') ?? plain
      if (content === undefined) challenges.push({ scheme: name!.toLowerCase(), params: new Map() })
      else challenges.at(-1)?.params.set(name!.toLowerCase(), content)
    }
  }
  return challenges
}

/** What a digest is made with: the host's hashes of text (in UTF-8) as hexadecimal, and a value that was never used. */
export interface DigestTools {
  readonly hash: (algorithm: 'md5' | 'sha256', text: string) => string
  readonly clientNonce: string
}

const ALGORITHMS: Readonly<Record<string, 'md5' | 'sha256'>> = { MD5: 'md5', 'SHA-256': 'sha256' }

/** Whether {@link digestAnswer} can answer it. */
export function canDigest({ scheme, params }: Challenge): boolean {
  const algorithm = (params.get('algorithm') ?? 'MD5').toUpperCase().replace(/-SESS$/, '')
  const offered = params.get('qop')?.split(/\s*,\s*/)
  return scheme === 'digest' && params.has('nonce') && algorithm in ALGORITHMS && (offered?.includes('auth') ?? true)
}

/** The value of `Proxy-Authorization` for a Digest challenge (RFC 7616 §3.4), for one request. */
export function digestAnswer(
  { params }: Challenge,
  who: { readonly user: string; readonly password: string },
  request: { readonly method: string; readonly uri: string },
  tools: DigestTools,
): string {
  const named = params.get('algorithm')
  const session = /-SESS$/i.test(named ?? '')
  const algorithm = ALGORITHMS[(named ?? 'MD5').toUpperCase().replace(/-SESS$/, '')]!
  const hash = (text: string) => tools.hash(algorithm, text)
  const realm = params.get('realm') ?? ''
  const nonce = params.get('nonce') ?? ''
  const count = '00000001'
  const secret = hash(`${who.user}:${realm}:${who.password}`)
  const key = session ? hash(`${secret}:${nonce}:${tools.clientNonce}`) : secret
  const what = hash(`${request.method}:${request.uri}`)
  const qop = params.has('qop')
  const middle = qop ? `${nonce}:${count}:${tools.clientNonce}:auth` : nonce
  const fields = [
    ['username', quote(who.user)],
    ['realm', quote(realm)],
    ['nonce', quote(nonce)],
    ['uri', quote(request.uri)],
    ['response', quote(hash(`${key}:${middle}:${what}`))],
    ...(named === undefined ? [] : [['algorithm', named]]),
    ...(params.has('opaque') ? [['opaque', quote(params.get('opaque')!)]] : []),
    ...(qop
      ? [
          ['qop', 'auth'],
          ['nc', count],
        ]
      : []),
    ...(qop || session ? [['cnonce', quote(tools.clientNonce)]] : []),
  ]
  return `Digest ${fields.map(([name, value]) => `${name}=${value}`).join(', ')}`
}

function quote(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}
