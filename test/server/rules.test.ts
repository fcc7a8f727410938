// Rules that a token has of its own: in every mode, and while they change.
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { parseServerUrl, parseTokenFile } from '#src/config/index.js'
import { clientLink, connect, type NodeTunnel, openWebSocket } from '#src/node/index.js'
import { type Server, TokenAuth } from '#src/server/index.js'
import { echo, type Listening, listen, until } from '../helpers/net.js'
import { startServer } from '../helpers/rig.js'

const ANN = 'the-token-of-ann-0123456789'
const BOB = 'the-token-of-bob-0123456789'
const EVE = 'the-token-of-eve-0123456789'

describe('rules of a token', () => {
  let one: Listening
  let two: Listening
  let server: Server
  let url: string
  let auth: TokenAuth
  const file = (ann: string) =>
    parseTokenFile(`ann:${ANN} ${ann}\nbob:${BOB} allow=127.0.0.1:${two.port}\neve:${EVE}\n`, 'tokens')

  before(async () => {
    one = await listen(echo)
    two = await listen(echo)
    auth = new TokenAuth(file(`allow=127.0.0.1:${one.port} allow-reverse=127.0.0.1:*`))
    const started = await startServer({ auth, allow: [`127.0.0.1:${one.port}`] })
    server = started.server
    url = `ws://127.0.0.1:${started.bound.port}`
  })

  after(async () => {
    await server.close(0)
    await Promise.all([one.close(), two.close()])
  })

  /** Over a session: `echo` if it answers, else why not. */
  async function session(tunnel: NodeTunnel, port: number): Promise<string> {
    const socket = tunnel.createConnection({ host: '127.0.0.1', port })
    return new Promise((resolve) => {
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      socket.once('data', (bytes: Buffer) => {
        resolve(bytes.toString())
        socket.destroy()
      })
      socket.write('echo')
    })
  }

  async function plain(token: string, port: number): Promise<string> {
    try {
      const { ws } = await openWebSocket(parseServerUrl(url), `/tcp/127.0.0.1/${port}`, { token })
      ws.destroy()
      return 'open'
    } catch (error) {
      return (error as NodeJS.ErrnoException).code!
    }
  }

  it('say what it reaches, in place of the rules of all, over sessions and plain WebSockets', async () => {
    const got: string[][] = []
    for (const token of [ANN, BOB, EVE]) {
      const tunnel = await connect(url, { token })
      const overSession = [await session(tunnel, one.port), await session(tunnel, two.port)]
      got.push([...overSession, await plain(token, one.port), await plain(token, two.port)])
      await tunnel.close()
    }
    const no = 'ERR_SLUICE_POLICY'
    assert.deepEqual(got, [
      ['echo', 'EACCES', 'open', no],
      ['EACCES', 'echo', no, 'open'],
      ['echo', 'EACCES', 'open', no],
    ])
  })

  it('end what they forbid when they change, and only that', async () => {
    const both = `allow=127.0.0.1:${one.port},${two.port}`
    auth.replace(file(both))
    const tunnel = await connect(url, { token: ANN })
    const open = (port: number) => {
      const socket = tunnel.createConnection({ host: '127.0.0.1', port })
      const seen = { got: '', ended: '' }
      socket.on('data', (bytes: Buffer) => (seen.got += bytes.toString()))
      socket.on('error', (error) => (seen.ended = error.message))
      socket.on('close', () => (seen.ended ||= 'closed'))
      return { socket, seen }
    }
    const [stays, goes] = [open(one.port), open(two.port)]
    const { ws } = await openWebSocket(parseServerUrl(url), `/tcp/127.0.0.1/${two.port}`, { token: ANN })
    let closed = 0
    ws.start({ payload: () => {}, closeReceived: () => {}, drained: () => {}, closed: ({ code }) => (closed = code) })
    stays.socket.write('a')
    goes.socket.write('b')
    await until(() => stays.seen.got === 'a' && goes.seen.got === 'b', 'both')
    await until(() => server.tunnel.connections === 3, 'all three')
    auth.replace(file(`allow=127.0.0.1:${one.port}`))
    assert.equal(server.tunnel.recheck(), 2)
    await until(() => goes.seen.ended !== '' && closed === 1008, 'the end of what is forbidden')
    stays.socket.write('c')
    await until(() => stays.seen.got === 'ac', 'what is allowed')
    assert.equal(await session(tunnel, two.port), 'EACCES')
    assert.equal(server.tunnel.recheck(), 0)
    await tunnel.close()
  })

  it('hold for a token that expires until what it has open is ended: it does not get the rules of all', async () => {
    let now = Date.now()
    const line = `ann:${ANN} allow=127.0.0.1:${two.port} expires=2999-01-01\n`
    const own = new TokenAuth(parseTokenFile(line, 'tokens'), () => now)
    const started = await startServer({ auth: own, allow: [`127.0.0.1:${one.port}`] })
    const tunnel = await connect(`ws://127.0.0.1:${started.bound.port}`, { token: ANN })
    assert.equal(await session(tunnel, one.port), 'EACCES')
    now = Date.parse('2999-02-01')
    assert.equal(await session(tunnel, one.port), 'EACCES')
    own.replace([])
    assert.equal(await session(tunnel, one.port), 'EACCES')
    assert.equal(started.server.tunnel.recheck(), 1)
    await tunnel.close()
    await started.server.close(0)
  })

  it('say what it may have listened on, and unbind when they change', async () => {
    auth.replace(file('allow-reverse=127.0.0.1:*'))
    const link = clientLink({ url: parseServerUrl(url), token: ANN })
    await link.connect()
    let bound = ''
    let over = false
    let refused = ''
    const listenFor = (port: number) =>
      link.withSession((current) => {
        current.listen(
          { kind: 'TCP', host: '127.0.0.1', port },
          {
            data: () => {},
            ended: () => {},
            opened: (address) => (bound = address),
            failed: (_, text) => (refused = text),
            reset: () => (over = true),
          },
          performance.now(),
        )
      })
    listenFor(0)
    await until(() => bound !== '', 'the port')
    auth.replace(file('allow=*:443'))
    assert.equal(server.tunnel.recheck(), 1)
    await until(() => over, 'the end of the listener')
    const port = Number(bound.split(':')[1])
    const probe = net.connect(port, '127.0.0.1')
    const result = await new Promise((resolve) => {
      probe.once('connect', () => resolve('connected'))
      probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
    })
    assert.equal(result, 'ECONNREFUSED')
    listenFor(0)
    await until(() => refused !== '', 'the refusal')
    await link.close()
  })

  for (const [line, why] of [
    [`x:${ANN} allow=nonsense`, /tokens, line 1: .*nonsense/],
    [`x:${ANN} allowed=a:1`, /line 1: "allowed=a:1" after the token is not expires=/],
    [`x:${ANN} expires=2027-01-01 expires=2027-01-02`, /line 1: "expires=2027-01-02" after the token/],
    [`x:${ANN} allow=`, /line 1:/],
  ] as const) {
    it(`refuses ${line.replace(ANN, 'TOKEN')}`, () => {
      assert.throws(() => parseTokenFile(line, 'tokens'), why)
    })
  }
})
