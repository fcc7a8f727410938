import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { DEFAULT_LIMITS, type Server } from '#src/server/index.js'
import { ECHO, HOSTILE } from '../helpers/hostile.js'
import { closedPort, echo, type Listening, listen, until } from '../helpers/net.js'
import { type Answer, clientFrame, exchange, handshake } from '../helpers/raw.js'
import { startServer } from '../helpers/rig.js'

describe('bad input', () => {
  let server: Server
  let port = 0
  const targets: Listening[] = []
  const ports: Record<string, number> = {}
  before(async () => {
    targets.push(
      await listen(echo),
      await listen((socket) => socket.once('data', () => socket.resetAndDestroy())),
      await listen((socket) => socket.end()),
    )
    ports.echo = targets[0]!.port
    ports.reset = targets[1]!.port
    ports.ends = targets[2]!.port
    ports.closed = await closedPort()
    const allow = [...Object.values(ports).map((number) => `127.0.0.1:${number}`), '*:7777-7778']
    const started = await startServer({ allow })
    server = started.server
    port = started.bound.port
  })
  after(async () => {
    await server.close(0)
    for (const target of targets) await target.close()
  })
  const fill = (text: string) => text.replace(/\{(\w+)\}/g, (_, name: string) => String(ports[name]))
  const shown = (answer: Answer) =>
    answer.status === 101 ? `101 ${answer.close}` : `${answer.status} ${answer.body.replace(/\n$/, '')}`

  it(`is a table of at least 60 cases`, () => assert.ok(HOSTILE.length >= 60))
  for (const { name, request, after: more, expect } of HOSTILE) {
    it(`${name} → ${expect.slice(0, 60)}`, async () => {
      assert.equal(shown(await exchange(port, fill(request), more)), fill(expect))
    })
  }

  it('still serves after all of that', async () => {
    const answer = await exchange(
      port,
      fill(handshake(ECHO)),
      Buffer.concat([clientFrame('still here'), clientFrame(Buffer.from([0x03, 0xe8]), 8)]),
    )
    assert.equal(answer.close, '1000')
    await until(() => server.tunnel.connections === 0, 'every connection to be freed')
  })

  it('tells how to authenticate, and which version and upgrade it wants', async () => {
    const head = async (changes: Record<string, string | undefined>) =>
      (await exchange(port, fill(handshake(ECHO, changes)))).head
    assert.match(await head({ Authorization: undefined }), /\r\nWWW-Authenticate: Bearer realm="sluice"(\r\n|$)/)
    assert.match(await head({ 'Sec-WebSocket-Version': '99' }), /\r\nSec-WebSocket-Version: 13(\r\n|$)/)
    assert.match(await head({ Upgrade: undefined, Connection: undefined }), /\r\nUpgrade: websocket(\r\n|$)/)
  })

  it('drops a handshake that dribbles, and a connection that says nothing, after the handshake time', async () => {
    assert.equal(DEFAULT_LIMITS.handshakeTimeout, 10_000)
    const strict = await startServer({ limits: { handshakeTimeout: 400 } })
    const started = Date.now()
    const [dribble, silent] = await Promise.all([
      exchange(strict.bound.port, 'GET / HTTP/1.1\r\nHost:'),
      exchange(strict.bound.port, ''),
    ])
    assert.deepEqual([dribble.status, silent.status], [408, 408])
    assert.ok(Date.now() - started < 4_000)
    await strict.server.close(0)
  })

  it('limits handshakes of one address and connections in all', async () => {
    const strict = await startServer({
      allow: [`127.0.0.1:${ports.echo}`],
      limits: { handshakesPerSecond: 0.001, handshakeBurst: 3, connections: 1 },
    })
    const answers: number[] = []
    const first = exchange(strict.bound.port, fill(handshake(ECHO)), undefined, 500)
    await new Promise((resolve) => setTimeout(resolve, 100))
    for (let i = 0; i < 3; i++) answers.push((await exchange(strict.bound.port, fill(handshake(ECHO)))).status)
    assert.deepEqual(answers, [503, 503, 429])
    assert.equal((await first).status, 101)
    await strict.server.close(0)
  })
})
