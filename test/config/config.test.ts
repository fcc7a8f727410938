import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  formatServerUrl,
  parseDuration,
  parseHost,
  parseIPv4,
  parseIPv6,
  parseRule,
  parseServerUrl,
  targetPath,
} from '#src/config/index.js'

const hex = (bytes: Uint8Array | undefined) => (bytes === undefined ? 'none' : Buffer.from(bytes).toString('hex'))

describe('addresses', () => {
  for (const [text, expected] of [
    ['127.0.0.1', '7f000001'],
    ['255.255.255.255', 'ffffffff'],
    ['0.0.0.0', '00000000'],
    ['256.0.0.1', 'none'],
    ['1.2.3', 'none'],
    ['01.2.3.4', 'none'],
    ['1.2.3.4.5', 'none'],
    ['0x7f.0.0.1', 'none'],
  ] as const) {
    it(`IPv4 ${text} → ${expected}`, () => assert.equal(hex(parseIPv4(text)), expected))
  }
  for (const [text, expected] of [
    ['::', '0'.repeat(32)],
    ['::1', `${'0'.repeat(31)}1`],
    ['2001:db8::8:800:200c:417a', '20010db80000000000080800200c417a'],
    ['::ffff:10.0.0.1', '00000000000000000000ffff0a000001'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['1::', '00010000000000000000000000000000'],
    ['1:2:3:4:5:6:1.2.3.4', '00010002000300040005000601020304'],
    ['1:2:3:4:5:6:7:8:9', 'none'],
    ['1:2:3:4:5:6:7::8:9', 'none'],
    ['::1::', 'none'],
    ['12345::', 'none'],
    ['fe80::1%eth0', 'none'],
    ['1.2.3.4::', 'none'],
    [':1', 'none'],
    ['', 'none'],
  ] as const) {
    it(`IPv6 ${text} → ${expected}`, () => assert.equal(hex(parseIPv6(text)), expected))
  }
})

describe('server URLs', () => {
  for (const [text, canonical, path] of [
    ['tunnel.example', 'wss://tunnel.example', '/tcp/db/5432'],
    ['wss://tunnel.example:443/', 'wss://tunnel.example', '/tcp/db/5432'],
    ['https://tunnel.example:8443/a/b/', 'wss://tunnel.example:8443/a/b', '/a/b/tcp/db/5432'],
    ['http://h:80', 'ws://h', '/tcp/db/5432'],
    ['WS://[::1]:8080', 'ws://[::1]:8080', '/tcp/db/5432'],
    ['wss://bücher.example/x', 'wss://xn--bcher-kva.example/x', '/x/tcp/db/5432'],
    ['localhost:8443', 'wss://localhost:8443', '/tcp/db/5432'],
  ] as const) {
    it(`${text} → ${canonical}`, () => {
      const url = parseServerUrl(text)
      assert.equal(formatServerUrl(url), canonical)
      assert.equal(targetPath(url, { host: 'db', port: 5432 }), path)
    })
  }

  it('fills templates', () => {
    const url = parseServerUrl('ws://h')
    assert.equal(targetPath(url, { host: 'db', port: 5432 }, '/v1?address={address}'), '/v1?address=db:5432')
    assert.equal(targetPath(url, { host: '::1', port: 1 }, '/x/{host}/{port}'), '/x/%3A%3A1/1')
    assert.equal(targetPath(url, { host: 'db', port: 1 }, '/websockify'), '/websockify')
    assert.equal(targetPath(url, 'web'), '/tcp/@web')
  })
})

describe('durations', () => {
  it('reads units and refuses the rest', () => {
    assert.deepEqual(
      ['30', '30s', '500ms', '1.5m', '1h', '0'].map((text) => parseDuration(text, 'x')),
      [30_000, 30_000, 500, 90_000, 3_600_000, 0],
    )
    for (const text of ['', '-1s', '1d', 's', '1 s', '1e9', '999999h'])
      assert.throws(() => parseDuration(text, 'x'), { code: 'ERR_SLUICE_USAGE' })
  })
})

describe('rules', () => {
  it('compares international names in their ASCII form', () => {
    assert.deepEqual(parseRule('BÜCHER.example:80').host, { kind: 'name', name: 'xn--bcher-kva.example' })
    assert.deepEqual(parseRule('*.bücher.example:80').host, { kind: 'wildcard', suffix: '.xn--bcher-kva.example' })
    // Digits that are none of ASCII's are an address all the same, and compared as one.
    assert.equal(parseRule('１０.0.0.1:80').host.kind, 'cidr')
    assert.equal(parseHost('１２７.０.０.１', 'x'), '127.0.0.1')
  })
  for (const text of [
    'db',
    'db:',
    ':80',
    'db:0',
    'db:80-',
    'db:90-80',
    'db:80-90-100',
    'db:a',
    '10.0.0.0/33:*',
    '10.0.0.1/8:*',
    '[::/0:*',
    '[::]/0:*',
    '*.:22',
    '**:22',
    'a b:1',
    '@',
    '@a b',
    '*x.corp:22',
    '10.0.0:22',
    '300.1.1.1:1',
    '::1:80',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => parseRule(text), { code: 'ERR_SLUICE_USAGE' }))
  }
})
