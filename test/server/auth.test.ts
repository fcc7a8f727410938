// Every way to be let in, by one suite; and what each has of its own.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { before, describe, it } from 'node:test'
import type { PeerCertificate } from 'node:tls'
import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { parseTokenFile } from '#src/config/index.js'
import {
  AnyAuth,
  CertificateAuth,
  hashPassword,
  JwtAuth,
  Networks,
  PasswordAuth,
  ProxyUserAuth,
  TokenAuth,
} from '#src/server/index.js'
import { asking, authSuite } from '../suites/auth.js'

const TOKEN = 'a-token-for-tests-0123456789'
const PASSWORD = 'correct horse battery staple'
const bearer = (token: string) => asking([['Authorization', `Bearer ${token}`]])
const basic = (user: string, password: string) =>
  asking([['Authorization', `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`]])

let passwordHash: string
before(async () => {
  passwordHash = await hashPassword(PASSWORD)
})

authSuite('tokens', async () => {
  const auth = new TokenAuth(parseTokenFile(`ann:sha256-${createHash('sha256').update(TOKEN).digest('hex')}`, 'file'))
  return {
    auth,
    good: bearer(TOKEN),
    name: 'ann',
    bad: {
      'another token': bearer(`${TOKEN}x`),
      'one of the same length': bearer(`${TOKEN.slice(0, -1)}x`),
      'two headers': asking([
        ['Authorization', `Bearer ${TOKEN}`],
        ['Authorization', `Bearer ${TOKEN}`],
      ]),
      'the hash itself': bearer(`sha256-${createHash('sha256').update(TOKEN).digest('hex')}`),
      'as a password': basic('ann', TOKEN),
    },
    revoke: () => auth.replace([]),
  }
})

authSuite('passwords', async () => {
  const auth = new PasswordAuth(parseTokenFile(`ann:${passwordHash}`, 'file'))
  return {
    auth,
    good: basic('ann', PASSWORD),
    name: 'ann',
    bad: {
      'another password': basic('ann', `${PASSWORD}.`),
      'nobody known': basic('bob', PASSWORD),
      'no user': basic('', PASSWORD),
      'the hash itself': basic('ann', passwordHash),
      'as a token': bearer(PASSWORD.replaceAll(' ', '-')),
      'not base64': asking([['Authorization', 'Basic ann:password']]),
    },
    revoke: () => auth.replace([]),
  }
})

const ISSUER = 'https://issuer.example'
const AUDIENCE = 'sluice'
const keys = await generateKeyPair('ES256')
const stranger = await generateKeyPair('ES256')
const jwks = { keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] }
const sign = (
  claims: Record<string, unknown>,
  options: { key?: typeof keys.privateKey; alg?: string; kid?: string } = {},
) =>
  new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: 'ann', exp: Math.floor(Date.now() / 1000) + 600, ...claims })
    .setProtectedHeader({ alg: options.alg ?? 'ES256', kid: options.kid ?? 'one' })
    .sign(options.key ?? keys.privateKey)
const unsigned = (header: object) => {
  const text = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  return `${text(header)}.${text({ iss: ISSUER, aud: AUDIENCE, sub: 'ann', exp: 9_999_999_999 })}.`
}

authSuite('JSON Web Tokens', async () => {
  let later = 0
  const auth = new JwtAuth({
    keys: createLocalJWKSet(jwks),
    issuer: ISSUER,
    audience: AUDIENCE,
    now: () => Date.now() + later,
  })
  const now = Math.floor(Date.now() / 1000)
  return {
    auth,
    good: bearer(await sign({})),
    name: 'jwt:ann',
    bad: {
      'another issuer': bearer(await sign({ iss: 'https://other.example' })),
      'another audience': bearer(await sign({ aud: 'other' })),
      expired: bearer(await sign({ exp: now - 120 })),
      'not yet': bearer(await sign({ nbf: now + 120 })),
      'never ends': bearer(await sign({ exp: undefined })),
      'nobody’s': bearer(await sign({ sub: undefined })),
      'another key': bearer(await sign({}, { key: stranger.privateKey })),
      'an unknown key': bearer(await sign({}, { kid: 'two' })),
      'alg none': bearer(unsigned({ alg: 'none' })),
      'alg none with a key': bearer(unsigned({ alg: 'none', kid: 'one' })),
      'HMAC by the public key': bearer(
        await new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: 'ann', exp: now + 600 })
          .setProtectedHeader({ alg: 'HS256', kid: 'one' })
          .sign(Buffer.from(JSON.stringify(jwks.keys[0]))),
      ),
      'too long': bearer(await sign({ padding: 'x'.repeat(9_000) })),
      'its payload changed': bearer(
        (await sign({})).replace(/\.[^.]+\./, `.${Buffer.from('{}').toString('base64url')}.`),
      ),
    },
    revoke: () => {
      later = 3_600_000
    },
  }
})

const certificate = (parts: Partial<Record<'CN' | 'OU', string | string[]>>, alternatives = '', to = '2099-01-01') =>
  ({ subject: parts, subjectaltname: alternatives, valid_to: to }) as unknown as PeerCertificate

authSuite('client certificates', async () => {
  let now = Date.now()
  const auth = new CertificateAuth('cn', () => now)
  const shown = (one: PeerCertificate) => asking([], { certificate: one })
  return {
    auth,
    good: shown(certificate({ CN: 'ann' })),
    name: 'cert:ann',
    bad: {
      'no name': shown(certificate({})),
      'two names': shown(certificate({ CN: ['ann', 'bob'] })),
      'a name of another kind': shown(certificate({}, 'email:ann@example.com')),
    },
    revoke: () => {
      now = Date.parse('2100-01-01')
    },
  }
})

authSuite('a user whom a proxy names', async () => ({
  auth: new ProxyUserAuth('X-Forwarded-User', new Networks(['198.51.100.7', 'fd00::/8'])),
  good: asking([['x-forwarded-user', 'ann']]),
  name: 'proxy:ann',
  bad: {
    'from elsewhere': asking([['X-Forwarded-User', 'ann']], { peer: '198.51.100.8' }),
    'two users': asking([
      ['X-Forwarded-User', 'ann'],
      ['X-Forwarded-User', 'bob'],
    ]),
    'no user': asking([['X-Forwarded-User', '']]),
    'with a space': asking([['X-Forwarded-User', 'ann bob']]),
    'the forwarded address is trusted': asking([['X-Forwarded-User', 'ann']], {
      peer: '203.0.113.1',
      client: '198.51.100.7',
    }),
  },
}))

authSuite('any of several', async () => {
  const token = new TokenAuth(parseTokenFile(`bob:${TOKEN}`, 'file'))
  const password = new PasswordAuth(parseTokenFile(`ann:${passwordHash}`, 'file'))
  return {
    auth: new AnyAuth([token, password]),
    good: basic('ann', PASSWORD),
    name: 'ann',
    bad: { 'a token of none': bearer(`${TOKEN}x`), 'a password of none': basic('ann', 'x') },
    revoke: () => password.replace([]),
  }
})

describe('names that credentials give', () => {
  it('groups come from claims and from organizational units', async () => {
    const auth = new JwtAuth({
      keys: createLocalJWKSet(jwks),
      issuer: ISSUER,
      audience: AUDIENCE,
      nameClaim: 'email',
      groupsClaim: 'roles',
    })
    const token = await sign({ email: 'ann@example.com', roles: ['dba', 7, 'ops'] })
    assert.deepEqual(await auth.authenticate(bearer(token)), { name: 'jwt:ann@example.com', groups: ['dba', 'ops'] })
    const certificates = new CertificateAuth()
    const shown = asking([], { certificate: certificate({ CN: 'bob', OU: ['dba', 'ops'] }) })
    assert.deepEqual(certificates.authenticate(shown), { name: 'cert:bob', groups: ['dba', 'ops'] })
  })

  it('alternative names are told by their kind, and one that is quoted is not taken', () => {
    const named = (by: 'email' | 'dns' | 'uri', alternatives: string) =>
      new CertificateAuth(by).authenticate(asking([], { certificate: certificate({}, alternatives) }))?.name
    assert.equal(named('email', 'DNS:a.example, email:ann@example.com'), 'cert:ann@example.com')
    assert.equal(named('dns', 'email:ann@example.com, DNS:a.example'), 'cert:a.example')
    assert.equal(named('uri', 'URI:spiffe://corp/ann'), 'cert:spiffe://corp/ann')
    assert.equal(named('dns', 'email:ann@example.com'), undefined)
    assert.equal(named('email', 'email:"ann@example.com, DNS:evil"'), undefined)
  })

  it('a newer JWT extends what an older one began', async () => {
    let now = Date.now()
    const auth = new JwtAuth({ keys: createLocalJWKSet(jwks), issuer: ISSUER, audience: AUDIENCE, now: () => now })
    const seconds = Math.floor(now / 1000)
    const first = await auth.authenticate(bearer(await sign({ exp: seconds + 100 })))
    await auth.authenticate(bearer(await sign({ exp: seconds + 1_000 })))
    now += 500_000
    assert.equal(auth.still(first!), true)
    now += 1_000_000
    assert.equal(auth.still(first!), false)
  })

  it('keys are rotated without a restart, and a key that is gone is missed within minutes', async () => {
    let now = Date.now()
    let current = createLocalJWKSet(jwks)
    const auth = new JwtAuth({
      keys: (header, token) => current(header, token),
      issuer: ISSUER,
      audience: AUDIENCE,
      now: () => now,
    })
    const token = bearer(await sign({ exp: Math.floor(now / 1000) + 3_600 }))
    const next = bearer(await sign({}, { key: stranger.privateKey, kid: 'two' }))
    assert.ok(await auth.authenticate(token))
    assert.equal(await auth.authenticate(next), undefined)
    current = createLocalJWKSet({ keys: [{ ...(await exportJWK(stranger.publicKey)), kid: 'two', alg: 'ES256' }] })
    assert.ok(await auth.authenticate(next))
    now += 5 * 60_000
    assert.equal(await auth.authenticate(token), undefined)
  })

  it('passwords are compared after normalization (RFC 8265), and a flood of one address does not hold up another', async () => {
    const auth = new PasswordAuth(parseTokenFile(`ann:${await hashPassword('Schlüssel zum Keller')}`, 'file'))
    assert.ok(await auth.authenticate(basic('ann', 'Schlu\u0308ssel zum Keller')))
    const order: string[] = []
    const flood = Array.from({ length: 40 }, (_, i) =>
      Promise.resolve(auth.authenticate(basic('ann', `wrong ${i}`))).then(() => order.push('flood')),
    )
    const other = Promise.resolve(
      auth.authenticate({ ...basic('ann', 'Schlüssel  zum Keller'), client: '203.0.113.5' }),
    ).then(() => order.push('other'))
    await other
    assert.ok(order.length < 20, `${order.length} before`)
    await Promise.all(flood)
  })
})
