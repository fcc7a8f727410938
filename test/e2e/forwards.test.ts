// Every kind of forward, with real processes of `sluice serve` and `sluice connect`.
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { need } from '../helpers/need.js'
import {
  ask,
  closedPort,
  connectTo,
  echo,
  type Listening,
  listen,
  readOn,
  receive,
  say,
  until,
} from '../helpers/net.js'
import { type Running, run, said, serve, sluice } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

const ENV = { SLUICE_TOKEN: TOKEN }

describe('every kind of forward', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-forwards-'))
  const unixTarget = join(folder, 'target.sock')
  const web = http.createServer((request, response) => {
    response.setHeader('Content-Type', 'text/plain')
    response.end(`${request.method} ${request.url} proxy:${request.headers['proxy-connection'] ?? 'none'}`)
  })
  const udp = createSocket('udp4')
  const unixServer = net.createServer((socket) => socket.pipe(socket))
  let target: Listening
  let server: Awaited<ReturnType<typeof serve>>
  let webPort = 0
  let udpPort = 0
  let reversePort = 0

  before(async () => {
    target = await listen(echo)
    web.listen(0, '127.0.0.1')
    unixServer.listen(unixTarget)
    udp.on('message', (message, from) => udp.send(message, from.port, from.address))
    udp.bind(0, '127.0.0.1')
    await Promise.all([once(web, 'listening'), once(unixServer, 'listening'), once(udp, 'listening')])
    webPort = (web.address() as net.AddressInfo).port
    udpPort = udp.address().port
    reversePort = await closedPort()
    const allow = [
      `127.0.0.1:${target.port - 1}-${target.port + 1},${webPort}`,
      `localhost:${webPort}`,
      `127.0.0.1:${udpPort}/udp`,
      unixTarget,
    ].flatMap((rule) => ['--allow', rule])
    const reverse = ['--allow-reverse', `127.0.0.1:${reversePort}`, '--allow-reverse', join(folder, 'far.sock')]
    server = await serve([...allow, ...reverse], ENV)
  })

  after(async () => {
    await server.stop()
    for (const one of [web, unixServer, udp]) one.close()
    await target.close()
    rmSync(folder, { recursive: true })
  })

  async function connect(...flags: string[]): Promise<Running & { port: number }> {
    const running = sluice(['connect', server.url, ...flags], ENV)
    await said(running, /listen(ing|s) on \S+ for/)
    return { ...running, port: Number(/listen(?:ing|s) on \S+?:(\d+)(?:\/udp)? for/.exec(running.stderr())?.[1] ?? 0) }
  }

  for (const [name, ...flags] of [
    ['SOCKS5 with a name', '--socks5-hostname'],
    ['SOCKS5 with an address', '--socks5'],
    ['SOCKS4a', '--socks4a'],
    ['SOCKS4', '--socks4'],
    ['HTTP CONNECT', '-p', '-x'],
    ['HTTP absolute-form', '-x'],
  ] as const) {
    it(`-D: curl by ${name}`, async (t) => {
      if (!need(t, 'curl')) return
      const tunnel = await connect('-D', '0')
      try {
        const scheme = (flags as readonly string[]).includes('-x') ? 'http://' : ''
        const via = [...flags, `${scheme}127.0.0.1:${tunnel.port}`]
        const host = name.includes('name') || name === 'SOCKS4a' ? 'localhost' : '127.0.0.1'
        const url = `http://${host}:${webPort}/path?q=1`
        const { stdout } = await run('curl', ['-sS', '--noproxy', '', ...via, url, url])
        assert.equal(stdout, 'GET /path?q=1 proxy:none'.repeat(2))
      } finally {
        await tunnel.stop()
      }
    })
  }

  it('-D: answers what the server does not allow, and what does not listen, as the protocols do', async () => {
    const tunnel = await connect('-D', '0')
    const socks = async (port: number) => {
      const socket = await connectTo(tunnel.port)
      socket.write(Buffer.from([5, 1, 0]))
      assert.deepEqual([...(await receive(socket, 2))], [5, 0])
      socket.write(Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]))
      const { bytes } = await readOn(socket)
      return bytes[1]
    }
    assert.equal(await socks(1), 2, 'not allowed by ruleset')
    const http = await connectTo(tunnel.port)
    http.write('CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n')
    assert.match((await readOn(http)).bytes.toString(), /^HTTP\/1\.1 403 Forbidden\r\n/)
    const noise = await connectTo(tunnel.port)
    noise.write('\x16\x03\x01')
    assert.equal((await readOn(noise)).bytes.length, 0)
    // What is said may come later than the end of the connection.
    await until(() => /neither SOCKS nor HTTP \(first byte 22\)/.test(tunnel.stderr()), 'why it was closed')
    await tunnel.stop()
  })

  it('-D: UDP ASSOCIATE carries datagrams both ways, and ends with its connection', async () => {
    const tunnel = await connect('-D', '0')
    const control = await connectTo(tunnel.port)
    control.write(Buffer.from([5, 1, 0]))
    await receive(control, 2)
    control.write(Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]))
    const reply = await receive(control, 10)
    assert.deepEqual([...reply.subarray(0, 4)], [5, 0, 0, 1])
    const header = Buffer.from([0, 0, 0, 1, 127, 0, 0, 1, udpPort >> 8, udpPort & 255])
    const payloads = [Buffer.from('one'), Buffer.alloc(1400, 7), Buffer.alloc(0)]
    const answers = await ask(reply.readUInt16BE(8), ...payloads.map((payload) => Buffer.concat([header, payload])))
    assert.deepEqual(
      answers.map((answer) => answer.length).sort(),
      payloads.map((payload) => payload.length + 10).sort(),
    )
    assert.ok(answers.every((answer) => answer.subarray(0, 10).equals(header)))
    control.end()
    await readOn(control)
    await tunnel.stop()
  })

  it('-D: asks for user and password where a file has them', async (t) => {
    if (!need(t, 'curl')) return
    const { writeFileSync } = await import('node:fs')
    const file = join(folder, 'auth')
    writeFileSync(file, 'me:pass word\n', { mode: 0o600 })
    const tunnel = await connect('-D', '0', '--dynamic-auth-file', file)
    const url = `http://127.0.0.1:${webPort}/`
    for (const scheme of ['socks5', 'http']) {
      const ok = await run('curl', [
        '-sS',
        '-p',
        '-x',
        `${scheme}://me:pass%20word@127.0.0.1:${tunnel.port}`,
        '--noproxy',
        '',
        url,
      ])
      assert.match(ok.stdout, /^GET/)
      const wrong = run('curl', [
        '-sS',
        '-p',
        '-x',
        `${scheme}://me:wrong@127.0.0.1:${tunnel.port}`,
        '--noproxy',
        '',
        url,
      ])
      await assert.rejects(wrong, /ended with/)
    }
    assert.doesNotMatch(tunnel.stderr(), /pass word/)
    await tunnel.stop()
  })

  it('-L with /udp: datagrams of several senders, up to 60,000 bytes', async () => {
    const tunnel = await connect('-L', `0:127.0.0.1:${udpPort}/udp`)
    const datagrams = Array.from({ length: 20 }, (_, i) => Buffer.alloc(i * 100, i))
    const [some, more, large] = await Promise.all([
      ask(tunnel.port, ...datagrams),
      ask(tunnel.port, Buffer.from('another sender')),
      ask(tunnel.port, Buffer.alloc(60_000, 1)),
    ])
    assert.deepEqual(
      some.map((answer) => answer.length).sort((a, b) => a - b),
      datagrams.map(({ length }) => length),
    )
    assert.equal(more[0]!.toString(), 'another sender')
    assert.equal(large[0]!.length, 60_000)
    await tunnel.stop()
  })

  it('-L with /udp: a rule for TCP does not open UDP, and is told', async () => {
    const tunnel = await connect('-L', `0:127.0.0.1:${target.port}/udp`)
    const socket = createSocket('udp4')
    socket.send('x', tunnel.port, '127.0.0.1')
    await said(tunnel, /does not allow 127\.0\.0\.1:\d+\/udp/)
    socket.close()
    await tunnel.stop()
  })

  it('-L with unix sockets on either end; an abandoned one is replaced, and it is gone afterwards', async () => {
    const path = join(folder, 'near.sock')
    for (let round = 0; round < 2; round++) {
      const tunnel = await connect('-L', `${path}:${unixTarget}`)
      const socket = net.connect(path)
      await say(socket, 'through two unix sockets')
      socket.destroy()
      await tunnel.stop(round === 0 ? 'SIGKILL' : 'SIGTERM')
      assert.equal(existsSync(path), round === 0)
    }
    const refused = sluice(['connect', server.url, '-L', `0:${join(folder, 'other.sock')}`, '-v'], ENV)
    await said(refused, /listening on 127.0.0.1:(\d+)/)
    const port = Number(/listening on 127.0.0.1:(\d+)/.exec(refused.stderr())![1])
    assert.equal((await readOn(await connectTo(port))).bytes.length, 0)
    await said(refused, /does not allow \S+other\.sock/)
    await refused.stop()
  })

  it('a reset that reaches a unix socket ends it, and nothing else', async () => {
    const out = await connect('-L', `0:${unixTarget}`)
    const inward = await connect('-R', `${join(folder, 'far.sock')}:127.0.0.1:${target.port}`)
    for (let round = 0; round < 3; round++) {
      const gone = once(unixServer, 'connection').then(([socket]: net.Socket[]) => once(socket!, 'close'))
      const socket = await connectTo(out.port)
      await say(socket, 'to a unix socket')
      socket.resetAndDestroy()
      await gone
      const near = net.connect(join(folder, 'far.sock'))
      await say(near, 'from a unix socket')
      const ended = once(near, 'close')
      for (const far of target.sockets) far.resetAndDestroy()
      await ended
    }
    assert.equal(server.child.exitCode, null, server.stderr())
    await Promise.all([out.stop(), inward.stop()])
  })

  it('-L with a range of ports', async () => {
    const first = await freeRange(3)
    const tunnel = await connect('-L', `${first}-${first + 2}:127.0.0.1:${target.port - 1}`)
    await until(() => (tunnel.stderr().match(/listening on/g) ?? []).length === 3, 'three ports')
    const socket = await connectTo(first + 1)
    await say(socket, 'the second of them')
    socket.destroy()
    await tunnel.stop()
  })

  it('without sessions, says what plain mode cannot carry', async () => {
    const refused = sluice(['connect', server.url, '-D', '0', '--plain'], ENV)
    assert.equal(await refused.exited, 2)
    assert.match(refused.stderr(), /plain mode carries -L to TCP targets and names only/)
  })

  it('status tells forwards, sessions and WebSockets, as text and as JSON', async () => {
    const env = { ...ENV, XDG_RUNTIME_DIR: folder }
    const tunnel = sluice(
      ['connect', server.url, '-L', `0:127.0.0.1:${target.port}`, '-D', '0', '--carriers', '2'],
      env,
    )
    await said(tunnel, /SOCKS and HTTP proxy/)
    const port = Number(/listening on \S+:(\d+) for 127/.exec(tunnel.stderr())![1])
    const socket = await connectTo(port)
    await say(socket, 'something to show')
    const json = async () => {
      const running = sluice(['status', '--json'], env)
      assert.equal(await running.exited, 0)
      return JSON.parse(running.stdout())[0]
    }
    let state = await json()
    for (let tries = 0; tries < 20 && state.sessions[0].carriers.length < 2; tries++) state = await json()
    assert.equal(state.role, 'connect')
    assert.deepEqual(state.forwards[0], {
      listen: `127.0.0.1:${port}`,
      target: `127.0.0.1:${target.port}`,
      connections: 1,
    })
    assert.equal(state.sessions[0].streams, 1)
    assert.equal(state.sessions[0].carriers.length, 2)
    assert.ok(state.sessions[0].carriers.some(({ roundTrip }: { roundTrip?: number }) => roundTrip! > 0))
    const text = sluice(['status'], env)
    await text.exited
    assert.match(text.stdout(), /session: 2 WebSockets, 1 stream, 0 resumes/)
    socket.destroy()
    await tunnel.stop()
    const none = sluice(['status'], env)
    await none.exited
    assert.match(none.stderr(), /nothing of sluice runs here/)
  })

  async function freeRange(count: number): Promise<number> {
    // The middle port leads to the target when the range begins one below it.
    for (let tries = 0; tries < 50; tries++) {
      const first = await closedPort()
      const servers = Array.from({ length: count }, () => net.createServer())
      try {
        for (const [index, one] of servers.entries()) {
          one.listen(first + index, '127.0.0.1')
          await once(one, 'listening')
        }
        return first
      } catch {
        // Taken: the next.
      } finally {
        for (const one of servers) one.close()
      }
    }
    throw new Error('no free range of ports')
  }
})
