import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseReverseRule, parseRule } from '#src/config/index.js'
import { Policy } from '#src/server/index.js'
import { RuleSet } from '#src/server/policy/rule-set.js'
import { checkShadowed } from '#src/server/policy/shadowed.js'
import { echo, listen } from '../helpers/net.js'
import { exchange, handshake } from '../helpers/raw.js'
import { startServer } from '../helpers/rig.js'

const PRIVATE = [
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '127.0.0.1',
  '127.9.9.9',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  'fe80::1',
  'fe80::1%eth0',
  'fc00::1',
  'fd12::1',
  'ff02::1',
  '::ffff:127.0.0.1',
  '::ffff:10.0.0.1',
  '::127.0.0.1',
  '64:ff9b::7f00:1',
  '64:ff9b::10.0.0.1',
  '2002:7f00:1::',
  '2002:c0a8:101::1',
  '2001:db8::1',
  'fec0::1',
]
const PUBLIC = [
  '8.8.8.8',
  '1.1.1.1',
  '172.32.0.1',
  '172.15.0.1',
  '100.128.0.1',
  '192.167.0.1',
  '2606:4700::1',
  '64:ff9b::8.8.8.8',
  '2002:808:808::1',
  '::ffff:8.8.8.8',
]

const verdict = (rules: string[], host: string, port: number, address: string) =>
  new Policy(rules.map(parseRule)).checkAddress({ host, port }, address).allowed

describe('policy', () => {
  for (const rules of [[], ['*:*'], ['*.corp:*']]) {
    it(`${JSON.stringify(rules)} never reaches special addresses, and public ones as it says`, () => {
      assert.deepEqual(
        PRIVATE.filter((address) => verdict(rules, 'x.corp', 80, address)),
        [],
      )
      assert.deepEqual(
        PUBLIC.filter((address) => !verdict(rules, 'x.corp', 80, address)),
        [],
      )
    })
  }

  for (const [rule, host, port, address, allowed] of [
    ['db:5432', 'db', 5432, '10.0.0.1', true],
    ['db:5432', 'DB.', 5432, '10.0.0.1', true],
    ['db:5432', 'db', 5433, '10.0.0.1', false],
    ['db:5432', 'db2', 5432, '8.8.8.8', false],
    ['db:5432', 'db.evil', 5432, '8.8.8.8', false],
    ['*.corp:22', 'a.corp', 22, '8.8.8.8', true],
    ['*.corp:22', 'a.b.corp', 22, '8.8.8.8', true],
    ['*.corp:22', 'corp', 22, '8.8.8.8', false],
    ['*.corp:22', 'xcorp', 22, '8.8.8.8', false],
    ['*.corp:22', 'a.corp.evil', 22, '8.8.8.8', false],
    ['*.corp:22', 'a.corp', 22, '10.0.0.1', false],
    ['10.0.0.0/8:*', 'anything', 1, '10.255.255.255', true],
    ['10.0.0.0/8:*', 'anything', 1, '11.0.0.0', false],
    ['10.0.0.0/8:*', 'x', 1, '::ffff:10.1.1.1', true],
    ['127.0.0.1:80', '127.0.0.1', 80, '127.0.0.1', true],
    ['127.0.0.1:80', 'localhost', 80, '127.0.0.1', true],
    ['127.0.0.1:80', '127.0.0.2', 80, '127.0.0.2', false],
    ['[fd00::/8]:80-90,443', 'x', 85, 'fd00::1', true],
    ['[fd00::/8]:80-90,443', 'x', 443, 'fdff::1', true],
    ['[fd00::/8]:80-90,443', 'x', 91, 'fd00::1', false],
    ['[fd00::/8]:80', 'x', 80, 'fc00::1', false],
    ['0.0.0.0/0:80', 'x', 80, '127.0.0.1', true],
    ['@web', 'x', 80, '8.8.8.8', false],
  ] as const) {
    it(`${rule} ${allowed ? 'allows' : 'denies'} ${host}:${port} at ${address}`, () =>
      assert.equal(verdict([rule], host, port, address), allowed))
  }

  for (const [rules, host, address, allowed] of [
    [['!10.0.0.13:*', '10.0.0.0/8:*'], 'x', '10.0.0.13', false],
    [['!10.0.0.13:*', '10.0.0.0/8:*'], 'x', '10.0.0.14', true],
    [['!10.0.0.13:*', '10.0.0.0/8:*'], 'x', '::ffff:10.0.0.13', false],
    [['10.0.0.0/8:*', '!10.0.0.13:*'], 'x', '10.0.0.13', true],
    [['!db.corp:*', '10.0.0.0/8:*'], 'DB.corp.', '10.0.0.1', false],
    [['!db.corp:*', '10.0.0.0/8:*'], 'other.corp', '10.0.0.1', true],
    [['!*.corp:*', 'db.corp:*'], 'db.corp', '10.0.0.1', false],
    [['!*:25', '*:*'], 'x', '8.8.8.8', true],
    [['!*:80', '10.0.0.0/8:*'], 'x', '10.0.0.1', false],
    [['!10.0.0.0/8:80/udp', '10.0.0.0/8:*'], 'x', '10.0.0.1', true],
    [['!*:*'], 'x', '8.8.8.8', false],
  ] as const) {
    it(`${rules.join(', ')} ${allowed ? 'allow' : 'deny'} ${host}:80 at ${address}`, () =>
      assert.equal(verdict([...rules], host, 80, address), allowed))
  }

  it('says before a name is resolved what can be said: a forbidden range only when the address is known', () => {
    const before = (rules: string[], host: string) =>
      new Policy(rules.map(parseRule)).checkTarget({ host, port: 80 }).allowed
    assert.equal(before(['!db.corp:*', '*:*'], 'db.corp'), false)
    assert.equal(before(['!10.0.0.0/8:*', '*:*'], 'db.corp'), true)
    assert.equal(before(['!10.0.0.0/8:*'], 'db.corp'), false)
    assert.equal(before(['!*:*', 'db.corp:80'], 'db.corp'), false)
    assert.equal(new Policy([parseRule('!@web')]).checkNamed('web').allowed, false)
    assert.equal(new Policy([parseRule('!/run/x.sock')]).checkPath('/run/x.sock').allowed, false)
  })

  it('rules are for whom they say, and whoever has none reaches nothing', () => {
    const set = new RuleSet(
      ['!10.0.0.13:*', '10.0.0.0/8:22 for ann,group:dba', '*:443 for jwt:*'].map(parseRule),
      ['127.0.0.1:*', '!127.0.0.1:80 for bob'].reverse().map(parseReverseRule),
    )
    const reaches = (who: { name: string; groups?: string[] }, address: string, port: number) =>
      set.of(who).policy.checkAddress({ host: address, port }, address).allowed
    assert.equal(reaches({ name: 'ann' }, '10.0.0.1', 22), true)
    assert.equal(reaches({ name: 'ann' }, '10.0.0.13', 22), false)
    assert.equal(reaches({ name: 'annie' }, '10.0.0.1', 22), false)
    assert.equal(reaches({ name: 'jwt:ann' }, '10.0.0.1', 22), false)
    assert.equal(reaches({ name: 'jwt:x', groups: ['dba'] }, '10.0.0.1', 22), true)
    assert.equal(reaches({ name: 'jwt:x' }, '8.8.8.8', 443), true)
    assert.equal(reaches({ name: 'eve' }, '8.8.8.8', 443), false)
    const listens = (name: string, port: number) => set.of({ name }).reverse.checkPort('127.0.0.1', port).allowed
    assert.deepEqual(
      [listens('bob', 80), listens('bob', 81), listens('bob', 0), listens('ann', 80)],
      [false, true, false, true],
    )
  })

  for (const [rules, why] of [
    [
      ['10.0.0.0/8:*', '10.1.0.0/16:22'],
      /rule 10\.1\.0\.0\/16:22 can never match: 10\.0\.0\.0\/8:\*, which is before it/,
    ],
    [['*:*', '*.corp:22'], /rule \*\.corp:22 can never/],
    [['*:*', '!10.0.0.1:22'], /can never/],
    [['!*.corp:*', 'db.corp:22'], /can never/],
    [['db:1-9', 'db:2-3,5'], /can never/],
    [['db:1 for ann,bob', 'db:1 for bob'], /can never/],
    [['@web', '@web'], /can never/],
    [['/a', '/a'], /can never/],
    [['*:*', 'db.corp:22'], undefined],
    [['*:*', '10.0.0.0/8:22'], undefined],
    [['10.1.0.0/16:22', '10.0.0.0/8:*'], undefined],
    [['db:1-3', 'db:2-4'], undefined],
    [['db:1', 'db:1/udp'], undefined],
    [['db:1 for ann', 'db:1'], undefined],
    [['!10.0.0.1:*', '10.0.0.0/8:*', '!*:*'], undefined],
  ] as const) {
    it(`${rules.join(', ')}: ${why === undefined ? 'each has its use' : 'one can never match'}`, () => {
      const check = () => checkShadowed(rules.map(parseRule), new Set(['web']))
      if (why === undefined) check()
      else assert.throws(check, { code: 'ERR_SLUICE_CONFIG', message: why })
    })
  }

  it('dials what was checked: a name whose answer changes is not asked again', async () => {
    const target = await listen(echo)
    let asked = 0
    const resolver = async () => (asked++ === 0 ? ['8.8.8.8', '169.254.169.254', '127.0.0.1'] : ['127.0.0.1'])
    const { server, bound, events } = await startServer({ allow: [`127.0.0.1:${target.port}`], resolver })
    const answer = exchange(bound.port, handshake(`/tcp/rebinds.example/${target.port}`), undefined, 300)
    assert.equal((await answer).status, 101)
    assert.equal(asked, 1)
    assert.equal(events[0]?.type, 'opened', 'the only allowed one of three answers was dialled')
    const none = await startServer({ allow: [`*:${target.port}`], resolver: async () => ['127.0.0.1', '10.0.0.1'] })
    assert.equal(
      (await exchange(none.bound.port, handshake(`/tcp/rebinds.example/${target.port}`))).close,
      '1008 POLICY',
    )
    await Promise.all([server.close(0), none.server.close(0)])
    await target.close()
  })
})
