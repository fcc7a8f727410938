// How much somebody may use: numbers, times, bytes and rates, in every mode.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { parseLimit } from '#src/config/index.js'
import { connect, type NodeTunnel } from '#src/node/index.js'
import { type Server, TokenAuth } from '#src/server/index.js'
import { Quotas } from '#src/server/quotas.js'
import { echo, type Listening, listen, sleep, until } from '../helpers/net.js'
import { clientFrame, exchange, handshake } from '../helpers/raw.js'
import { startServer, TOKEN } from '../helpers/rig.js'

const LIMITS: readonly (readonly [text: string, expect: object | RegExp])[] = [
  ['sessions=2', { sessions: 2 }],
  ['streams=0 for ann', { streams: 0, who: ['ann'] }],
  ['time=8h bytes=1.5G rate=10M', { time: 28_800_000, bytes: 1_610_612_736, rate: 10_485_760 }],
  [
    'stream-time=90 stream-bytes=64K stream-rate=1500 for group:dba,jwt:*',
    { streamTime: 90_000, streamBytes: 65_536, streamRate: 1_500, who: ['group:dba', 'jwt:*'] },
  ],
  ['rate=1MiB', { rate: 1_048_576 }],
  ['', /"" is not one of sessions, streams, time, bytes, rate, stream-time/],
  ['session=2', /"session=2" is not one of/],
  ['sessions=two', /sessions: "two" is not a number/],
  ['bytes=0', /bytes: "0" is not a number of bytes like 1500, 64K/],
  ['time=soon', /time: "soon" is not a time like 30s/],
  ['sessions=1 for', /"for" is not one of/],
  ['sessions=1 for a b', /"a b" is not a name, group:NAME/],
  ['sessions=1 for a for b', /says "for" twice/],
  ['sessions=1 for *a', /"\*a" is not a name/],
]

describe('limits of each', () => {
  for (const [text, expect] of LIMITS) {
    it(`reads ${JSON.stringify(text)}`, () => {
      if (expect instanceof RegExp) assert.throws(() => parseLimit(text), { code: 'ERR_SLUICE_USAGE', message: expect })
      else assert.deepEqual(parseLimit(text), { text, who: undefined, ...expect })
    })
  }

  it('the first that is for somebody holds, and one account counts for all that have the name', () => {
    const quotas = new Quotas(['streams=1 for ann', 'streams=2 for group:dba', 'streams=0 for *'].map(parseLimit))
    const open = (name: string, ...groups: string[]) => quotas.stream({ name, groups }, () => {})
    const first = open('ann', 'dba')
    assert.throws(() => open('ann', 'dba'), {
      code: 'ERR_SLUICE_POLICY',
      message: 'ann may have 1 connections, and has',
    })
    first.release()
    first.release()
    open('ann').release()
    open('bob', 'dba')
    open('bob', 'dba')
    assert.throws(() => open('bob', 'dba'))
    assert.throws(() => open('eve'))
    quotas.replace([])
    open('eve')
  })

  it('what is too much when limits change ends, the latest first, and only that', () => {
    const quotas = new Quotas([])
    const ended: string[] = []
    const begin = (kind: 'session' | 'stream', name: string, which: string) => {
      const lease = quotas[kind]({ name }, (why) => {
        ended.push(`${which}: ${why}`)
        lease.release()
      })
      return lease
    }
    for (const which of ['first', 'second', 'third']) begin('stream', 'ann', which)
    begin('stream', 'bob', 'his')
    begin('session', 'ann', 'session')
    quotas.replace([parseLimit('streams=1 for ann')])
    assert.equal(quotas.recheck(), 2)
    assert.deepEqual(ended.splice(0), ['third: ann may have 1 connections', 'second: ann may have 1 connections'])
    assert.equal(quotas.recheck(), 0)
    quotas.replace([parseLimit('sessions=0 bytes=100 for ann')])
    assert.equal(quotas.recheck(), 1)
    assert.deepEqual(ended.splice(0), ['session: ann may have 0 sessions'])
    const counted = begin('stream', 'ann', 'counted')
    counted.take(90)
    quotas.replace([parseLimit('bytes=50 for ann')])
    assert.equal(quotas.recheck(), 2)
    assert.deepEqual(ended, ['counted: ann has moved 50 bytes', 'first: ann has moved 50 bytes'])
  })

  it('rates are kept over time, of each connection and of all together', () => {
    let now = 0
    const quotas = new Quotas([parseLimit('rate=2000 stream-rate=1000')], () => now)
    const one = quotas.stream({ name: 'ann' }, () => {})
    const other = quotas.stream({ name: 'ann' }, () => {})
    assert.equal(one.metered, true)
    assert.equal(one.take(1_000), 1_000)
    assert.equal(other.take(1_000), 1_000)
    assert.equal(other.take(1_000), 2_000)
    now = 10_000
    assert.equal(one.take(100), 0, 'a pause gives a little in advance')
    assert.equal(one.take(1_000), 850)
  })

  const ANN = 'the-token-of-ann-0123456789'
  const BOB = 'the-token-of-bob-0123456789'
  let target: Listening
  let server: Server
  let port = 0
  const told: string[] = []
  before(async () => {
    target = await listen(echo)
    const auth = new TokenAuth([
      { name: 'ann', token: ANN },
      { name: 'bob', token: BOB },
      { name: 'test', token: TOKEN },
    ])
    const started = await startServer({
      auth,
      allow: [`127.0.0.1:${target.port}`],
      quotas: [
        'sessions=1 streams=2 stream-bytes=100K for ann',
        'stream-rate=256K stream-time=3s for bob',
        'streams=1 stream-bytes=1K for test',
      ],
      onEvent: (event) => {
        if (event.type === 'failed') told.push(`failed: ${event.detail}`)
        if (event.type === 'ended') told.push(`ended: ${event.outcome.how}`)
        if (event.type === 'session') told.push(`session ${event.what}: ${event.detail}`)
      },
    })
    server = started.server
    port = started.bound.port
  })
  after(async () => {
    await server.close(0)
    await target.close()
  })

  /** Sends so much and waits for all of it to come back, or for the error. */
  async function roundTrip(tunnel: NodeTunnel, bytes: number): Promise<string> {
    const socket = tunnel.createConnection({ host: '127.0.0.1', port: target.port })
    return new Promise((resolve) => {
      let got = 0
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      socket.on('data', (chunk: Buffer) => {
        got += chunk.length
        if (got === bytes) socket.end()
      })
      socket.on('end', () => resolve(`${got}`))
      socket.write(Buffer.alloc(bytes))
    })
  }

  it('numbers and bytes, in a session', async () => {
    const tunnel = await connect(`ws://127.0.0.1:${port}`, { token: ANN })
    assert.equal(await roundTrip(tunnel, 40_000), '40000')
    assert.equal(await roundTrip(tunnel, 80_000), 'ECONNRESET')
    assert.match(told.at(-1)!, /^ended: ended here: it has moved the 102400 bytes that it may/)
    const open = [0, 1, 2].map(() => tunnel.createConnection({ host: '127.0.0.1', port: target.port }))
    const outcomes = open.map(
      (socket) =>
        new Promise((resolve) => {
          socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code))
          socket.once('data', () => resolve('open'))
          socket.write('x')
        }),
    )
    assert.deepEqual((await Promise.all(outcomes)).sort(), ['EACCES', 'open', 'open'])
    const second = await connect(`ws://127.0.0.1:${port}`, { token: ANN })
    await until(() => told.some((line) => /^session ended: .*ann may have 1 sessions, and has/.test(line)), 'the end')
    assert.equal(await roundTrip(tunnel, 0).catch(String), 'EACCES')
    for (const socket of open) socket.destroy()
    await second.close()
    await until(() => server.tunnel.connections === 0, 'all to be released')
    assert.equal(await roundTrip(tunnel, 1_000), '1000')
    await tunnel.close()
  })

  it('a rate, byte for byte, and a time', async () => {
    const tunnel = await connect(`ws://127.0.0.1:${port}`, { token: BOB })
    const started = performance.now()
    // Both ways count: 256 KiB at 256 KiB a second.
    assert.equal(await roundTrip(tunnel, 128 * 1024), String(128 * 1024))
    assert.ok(performance.now() - started > 600, 'it was slowed')
    const long = tunnel.createConnection({ host: '127.0.0.1', port: target.port })
    const ended = new Promise((resolve) => long.on('error', (error: NodeJS.ErrnoException) => resolve(error.code)))
    assert.equal(await ended, 'ECONNRESET')
    assert.match(told.at(-1)!, /^ended: ended here: a connection may last 3 s/)
    await tunnel.close()
  })

  it('the same in plain mode', async () => {
    const path = handshake(`/tcp/127.0.0.1/${target.port}`)
    const holding = exchange(port, path, clientFrame('held'), 1_500)
    await sleep(200)
    assert.equal((await exchange(port, path, clientFrame('one too many'), 1_000)).close, '1008 POLICY')
    assert.equal((await holding).data.toString(), 'held')
    await until(() => server.tunnel.connections === 0, 'its end')
    assert.equal((await exchange(port, path, clientFrame(Buffer.alloc(2_000)), 1_000)).close, '1008 POLICY')
  })
})
