// What a proxy on the way out is told, without I/O.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { environmentProxy, formatProxyUrl, parseProxyUrl } from '#src/config/index.js'
import { canDigest, digestAnswer, parseChallenges, Socks5Client } from '#src/proxy/index.js'

const NONCE = '7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v'
const tools = {
  hash: (algorithm: string, text: string) => createHash(algorithm).update(text).digest('hex'),
  clientNonce: 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ',
}

describe('challenges', () => {
  for (const [algorithm, response] of [
    ['MD5', '8ca523f5e9506fed4657c9700eebdbec'],
    ['SHA-256', '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1'],
  ] as const) {
    it(`answers the example of RFC 7616 §3.9.1 with ${algorithm}`, () => {
      const text = `Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=${algorithm}, nonce="${NONCE}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`
      const [challenge] = parseChallenges([text])
      assert.ok(canDigest(challenge!))
      const who = { user: 'Mufasa', password: 'Circle of Life' }
      const answer = digestAnswer(challenge!, who, { method: 'GET', uri: '/dir/index.html' }, tools)
      assert.ok(answer.includes(`response="${response}"`), answer)
      assert.ok(answer.includes('opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'))
    })
  }

  it('are told apart when several stand in one field, with quotes and commas in them', () => {
    const challenges = parseChallenges([
      'Negotiate, NTLM',
      'Basic realm="a, \\"b\\" c", Digest nonce="x", qop="auth-int"',
    ])
    assert.deepEqual(
      challenges.map(({ scheme }) => scheme),
      ['negotiate', 'ntlm', 'basic', 'digest'],
    )
    assert.equal(challenges[2]!.params.get('realm'), 'a, "b" c')
    assert.equal(canDigest(challenges[3]!), false)
  })
})

describe('SOCKS5, as a client', () => {
  const target = { host: 'db.example', port: 5432, address: undefined }
  const login = { user: 'ann', password: 'pä' }

  it('says user, password and name; reads answers byte by byte and keeps what follows', () => {
    const client = new Socks5Client(target, login)
    assert.deepEqual([...client.greeting], [5, 2, 0, 2])
    const said: number[][] = []
    let rest: Uint8Array | undefined
    const bytes = [5, 2, 1, 0, 5, 0, 0, 3, 2, 120, 121, 0, 80]
    for (const byte of bytes) {
      const step = client.push(Uint8Array.of(byte))
      if (step !== undefined && 'send' in step) said.push([...step.send])
      if (step !== undefined && 'rest' in step) rest = step.rest
    }
    assert.deepEqual(said[0], [1, 3, 97, 110, 110, 3, 112, 0xc3, 0xa4])
    assert.deepEqual(said[1], [5, 1, 0, 3, 10, ...Buffer.from('db.example'), 0x15, 0x38])
    assert.deepEqual([...rest!], [])
    const other = new Socks5Client(target, undefined)
    other.push(Uint8Array.of(5, 0))
    const step = other.push(Uint8Array.of(5, 0, 0, 1, 1, 2, 3, 4, 0, 80, 42))
    assert.deepEqual(step, { connected: true, rest: Uint8Array.of(42) })
  })

  it('says an address as its bytes', () => {
    const client = new Socks5Client({ host: '::1', port: 1, address: new Uint8Array(16).fill(1, 15) }, undefined)
    const step = client.push(Uint8Array.of(5, 0))
    assert.deepEqual(step, { send: Uint8Array.of(5, 1, 0, 4, ...new Uint8Array(15), 1, 0, 1) })
  })

  for (const [what, credentials, bytes, expected] of [
    ['an HTTP answer', undefined, [...Buffer.from('HTTP/1.1 400')], /does not speak SOCKS5/],
    ['a demand for a password', undefined, [5, 0xff], /asks who you are/],
    ['a refusal of both ways', login, [5, 0xff], /accepts no user and password/],
    ['a method that was not offered', undefined, [5, 2], /chose method 2/],
    ['a wrong password', login, [5, 2, 1, 1], /does not accept the user and password/],
    ['a password that is too long', { user: 'ann', password: 'x'.repeat(256) }, [5, 2], /longer than 255 bytes/],
    ['a rule', undefined, [5, 0, 5, 2, 0, 1], /does not connect to db\.example:5432: not allowed by its rules/],
    ['a reply of an unknown kind', undefined, [5, 0, 5, 99], /reply 99/],
    ['an address of an unknown kind', undefined, [5, 0, 5, 0, 0, 9, 0], /address type 9/],
  ] as const) {
    it(`refuses ${what}`, () => {
      const client = new Socks5Client(target, credentials)
      assert.throws(
        () => {
          for (const byte of bytes) client.push(Uint8Array.of(byte))
        },
        (error: { code?: string; message: string }) => /PROXY|AUTH/.test(error.code!) && expected.test(error.message),
      )
    })
  }
})

describe('proxy URLs', () => {
  it('are read with their defaults, and printed without what is secret', () => {
    for (const [text, printed, user] of [
      ['proxy.example', 'http://proxy.example:80', undefined],
      ['http://proxy.example:3128/', 'http://proxy.example:3128', undefined],
      ['https://a%40b:c%3Ad@proxy.example', 'https://proxy.example:443', 'a@b'],
      ['socks5h://[::1]', 'socks5://[::1]:1080', undefined],
      ['SOCKS5://u@10.0.0.1:9050', 'socks5://10.0.0.1:9050', 'u'],
    ] as const) {
      const proxy = parseProxyUrl(text, '--proxy')
      assert.equal(formatProxyUrl(proxy), printed)
      assert.equal(proxy.credentials?.user, user)
    }
  })

  it('are refused without showing a password', () => {
    for (const text of [
      'ftp://secret@proxy',
      'http://secret@',
      'http://secret@proxy:99999',
      'http://%zz:secret@proxy',
      'http://ann%0d%0a:secret@proxy',
      'http://a/b',
    ]) {
      assert.throws(
        () => parseProxyUrl(text, '--proxy'),
        (error: { code?: string; message: string }) =>
          error.code === 'ERR_SLUICE_USAGE' && !/secret/.test(error.message),
      )
    }
  })

  it('come from the environment as for other programs', () => {
    const server = { host: 'tunnel.example', port: 443, secure: true }
    const all = { https_proxy: 'one', HTTP_PROXY: 'two', ALL_PROXY: 'three' }
    assert.deepEqual(environmentProxy(server, all), { name: 'https_proxy', text: 'one' })
    assert.deepEqual(environmentProxy({ ...server, secure: false }, all), { name: 'HTTP_PROXY', text: 'two' })
    assert.deepEqual(environmentProxy(server, { ALL_PROXY: 'three' }), { name: 'ALL_PROXY', text: 'three' })
    assert.equal(environmentProxy({ ...server, host: '127.0.0.1' }, all), undefined)
    for (const [list, through] of [
      ['*', false],
      ['example', false],
      ['.example', false],
      ['*.example', false],
      ['tunnel.example', false],
      ['TUNNEL.example:443', false],
      ['tunnel.example:80', true],
      ['unnel.example', true],
      ['other, tunnel.example', false],
      ['', true],
    ] as const) {
      assert.equal(environmentProxy(server, { ...all, NO_PROXY: list }) !== undefined, through, list)
    }
  })
})
