// Whoever is not let in: nothing of what they send may reach a session, a proxy's protocol or a dialler; and what wrong
// credentials cost, by address.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { connect } from '#src/node/index.js'
import { Dialler } from '#src/server/dialler.js'
import { Failures } from '#src/server/failures.js'
import { HttpCarriers } from '#src/server/http/carriers.js'
import type { Server } from '#src/server/index.js'
import { SessionService } from '#src/server/session-service.js'
import { WebSockets } from '#src/server/websockets.js'
import { HOSTILE } from '../helpers/hostile.js'
import { echo, type Listening, listen } from '../helpers/net.js'
import { exchange, handshake } from '../helpers/raw.js'
import { startServer, TOKEN } from '../helpers/rig.js'
import { TRICKS } from '../helpers/tricks.js'

const WRONG = 'not-the-token-0123456789abcdef'

describe('strangers', () => {
  let target: Listening
  let server: Server
  let port = 0
  const entered: string[] = []
  const undo: (() => void)[] = []

  /** Takes note of every call of a method, of whatever object. */
  function watch(name: string, prototype: object, ...methods: string[]): void {
    for (const method of methods) {
      const holder = prototype as Record<string, (...args: unknown[]) => unknown>
      const original = holder[method]!
      holder[method] = function (this: unknown, ...args) {
        entered.push(`${name}.${method}`)
        return original.apply(this, args)
      }
      undo.push(() => (holder[method] = original))
    }
  }

  before(async () => {
    watch('dialler', Dialler.prototype, 'dial', 'addresses', 'dialPath')
    watch('sessions', SessionService.prototype, 'accept')
    watch('WebSockets', WebSockets.prototype, 'plain', 'wisp', 'accept')
    watch('carriers over HTTP', HttpCarriers.prototype, 'handle')
    target = await listen(echo)
    const resolver = async () => {
      entered.push('resolver')
      return ['127.0.0.1']
    }
    const allow = [`127.0.0.1:${target.port}`]
    const started = await startServer({ allow, resolver, limits: { freeFailures: 10_000 } })
    server = started.server
    port = started.bound.port
  })

  after(async () => {
    await server.close(0)
    await target.close()
    for (const one of undo) one()
  })

  it('the watch sees whoever is let in', async () => {
    const tunnel = await connect(`ws://127.0.0.1:${port}`, { token: TOKEN })
    const socket = tunnel.createConnection({ host: '127.0.0.1', port: target.port })
    socket.write('hello')
    await new Promise((resolve) => socket.once('data', resolve))
    socket.destroy()
    await tunnel.close()
    assert.deepEqual(
      new Set(entered),
      new Set(['WebSockets.accept', 'sessions.accept', 'dialler.dial', 'dialler.addresses', 'resolver']),
    )
    entered.length = 0
  })

  const doors = [
    `/tcp/127.0.0.1/{port}`,
    '/',
    '/wisp/',
    '/http',
    '/http?duplex',
    '/http/AAAAAAAAAAAAAAAAAAAAAA?up=0',
    '/ticket',
  ]
  const asked = [
    ...HOSTILE.map(({ name, request, after: more }) => [name, request, more] as const),
    ...TRICKS.map(([name, request]) => [name, request, undefined] as const),
    ...doors.map((path) => [path, handshake(path), undefined] as const),
    ...doors.map(
      (path) =>
        [`POST ${path}`, handshake(path, { 'Content-Length': '0' }, `POST ${path} HTTP/1.1`), undefined] as const,
    ),
    ['a session', handshake('/', { 'Sec-WebSocket-Protocol': 'sluice.1' }), undefined] as const,
    ['a join', handshake('/?route=x', { 'Sec-WebSocket-Protocol': 'sluice.1' }), undefined] as const,
  ]
  it(`every hostile input without credentials: ${asked.length} of them`, async () => {
    const statuses = new Set<number>()
    for (const [name, request, more] of asked) {
      // With the token it could be let in: not that one, in whichever form.
      const text = request
        .replaceAll(TOKEN, WRONG)
        .replaceAll(
          Buffer.from(TOKEN).toString('base64').slice(0, -4),
          Buffer.from(WRONG).toString('base64').slice(0, -4),
        )
        .replace(/\{\w+\}/g, String(target.port))
      const { status } = await exchange(port, text, more, 2_000)
      assert.notEqual(status, 101, name)
      assert.deepEqual(entered, [], name)
      statuses.add(status)
    }
    assert.equal(server.tunnel.sessions + server.tunnel.connections, 0)
    for (const status of statuses) assert.ok([0, 200, 400, 401, 403, 404, 405, 431].includes(status), String(status))
  })

  it('answers the same to all that is wrong', async () => {
    const answer = async (changes: Record<string, string | undefined>) => {
      const { status, head, body } = await exchange(port, handshake('/tcp/127.0.0.1/1', changes))
      return `${status} ${head.replace(/\r\nDate: [^\r]*/, '')} ${body}`
    }
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
    const first = await answer({ Authorization: undefined })
    for (const Authorization of [
      `Bearer ${WRONG}`,
      `Bearer ${TOKEN}x`,
      'Bearer x',
      basic('ann:x'),
      'Digest x',
      `Bearer a.b.c`,
    ])
      assert.equal(await answer({ Authorization }), first)
  })

  it('wrong credentials are answered ever later and then refused, of that address alone; valid ones are not held up', async () => {
    const strict = await startServer({
      allow: [`127.0.0.1:${target.port}`],
      limits: { freeFailures: 2 },
      trustedProxies: ['127.0.0.1'],
    })
    const wrong = (from: string) => {
      const started = performance.now()
      const changes = { Authorization: `Bearer ${WRONG}`, 'X-Forwarded-For': from }
      return exchange(strict.bound.port, handshake('/tcp/127.0.0.1/1', changes)).then(({ status }) => ({
        status,
        after: performance.now() - started,
      }))
    }
    const flood = await Promise.all(Array.from({ length: 60 }, () => wrong('203.0.113.7')))
    const count = (status: number) => flood.filter((one) => one.status === status).length
    assert.equal(count(401), 2 + 40)
    assert.equal(count(429), 60 - 42)
    assert.ok(flood.filter(({ status, after }) => status === 401 && after >= 150).length >= 40)
    assert.equal((await wrong('203.0.113.7')).status, 429)
    assert.equal((await wrong('203.0.113.8')).status, 401)
    const changes = { 'X-Forwarded-For': '203.0.113.7' }
    const good = exchange(strict.bound.port, handshake(`/tcp/127.0.0.1/${target.port}`, changes), undefined, 300)
    assert.equal((await good).status, 101)
    await strict.server.close(0)
  })

  it('lets nobody in who cannot be checked, tells them nothing more, and goes on', async () => {
    for (const broken of [
      () => {
        throw new Error('the database of users is away')
      },
      () => Promise.reject(new Error('the database of users is away')),
    ]) {
      const strict = await startServer({ auth: { authenticate: broken } })
      for (const path of ['/tcp/127.0.0.1/1', '/healthz']) {
        const { status, body } = await exchange(strict.bound.port, handshake(path))
        assert.equal(status, path === '/healthz' ? 200 : 500)
        assert.doesNotMatch(body, /database/)
      }
      assert.match(
        JSON.stringify(strict.events),
        /"status":500,"message":"the credentials cannot be checked: the database/,
      )
      await strict.server.close(0)
    }
  })

  it('forgets them in time, and remembers a bounded number of addresses', () => {
    const failures = new Failures(10)
    for (let i = 0; i < 10; i++) assert.equal(failures.count('a', 0), 0)
    assert.equal(failures.count('a', 0), 200)
    assert.equal(failures.count('a', 0), 400)
    for (let i = 0; i < 60; i++) failures.count('a', 0)
    assert.equal(failures.count('a', 0), 'refused')
    assert.equal(failures.count('a', 20 * 60_000), 0)
    for (let i = 0; i < 10_001; i++) failures.count(String(i), 0)
    assert.equal(failures.count('0', 0), 0)
  })
})
