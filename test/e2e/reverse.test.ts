// Reverse forwards: what the server listens on for clients, with real processes.
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { need, ROOT } from '../helpers/need.js'
import { ask, closedPort, connectTo, echo, type Listening, listen, readOn, say, sleep, until } from '../helpers/net.js'
import { type Running, run, said, serve, sluice, start } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

const LONG = process.env.SLUICE_LONG === '1'
const [MANY, PROCESSES] = LONG ? [1_000, 4] : [100, 2]
const MANY_CLIENTS = join(ROOT, 'dist', 'test', 'helpers', 'many-clients.js')
const OTHER = 'another-token-that-is-long-enough'

describe('reverse forwards', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-reverse-'))
  const tokens = join(folder, 'tokens')
  const far = join(folder, 'far.sock')
  const web = http.createServer((request, response) =>
    response.end(`${request.method} ${request.url} proxy:${request.headers['proxy-connection'] ?? 'none'}`),
  )
  const udp = createSocket('udp4')
  let server: Awaited<ReturnType<typeof serve>>
  let target: Listening
  let [webPort, udpPort, reversePort, sharedPort] = [0, 0, 0, 0]

  before(async () => {
    target = await listen(echo)
    web.listen(0, '127.0.0.1')
    udp.on('message', (message, from) => udp.send(message, from.port, from.address))
    udp.bind(0, '127.0.0.1')
    await Promise.all([once(web, 'listening'), once(udp, 'listening')])
    webPort = (web.address() as net.AddressInfo).port
    udpPort = udp.address().port
    reversePort = await closedPort()
    sharedPort = await closedPort()
    writeFileSync(tokens, `me:${TOKEN}\nother:${OTHER}\n`, { mode: 0o600 })
    const rules = [
      `127.0.0.1:${reversePort}`,
      `127.0.0.1:${reversePort}/udp`,
      `shared:127.0.0.1:${sharedPort}`,
      `shared:127.0.0.1:${sharedPort}/udp`,
      far,
    ]
    server = await serve([
      '--token-file',
      tokens,
      '--resume-for',
      '4s',
      ...rules.flatMap((rule) => ['--allow-reverse', rule]),
    ])
  })

  after(async () => {
    await server.stop()
    web.close()
    udp.close()
    await target.close()
    rmSync(folder, { recursive: true })
  })

  /** A client, once the server listens for it. */
  async function connect(spec: string, token: string = TOKEN, url: string = server.url): Promise<Running> {
    const running = sluice(['connect', url, '-v', '-R', spec], { SLUICE_TOKEN: token })
    await said(running, /the server listens on \S+ for/)
    return running
  }

  it('-R: a port of the server leads here, half-close kept; it is free at once after the end', async () => {
    const here = await listen(echo)
    const tunnel = await connect(`${reversePort}:127.0.0.1:${here.port}`)
    const socket = await connectTo(reversePort)
    await say(socket, 'from the far side')
    socket.end('and the rest')
    assert.equal((await readOn(socket)).bytes.toString(), 'and the rest')
    await tunnel.stop('SIGINT')
    await assert.rejects(connectTo(reversePort), /ECONNREFUSED/)
    await here.close()
  })

  it('-R: a client that was killed gets its port back at once as a new session', async () => {
    const here = await listen(echo)
    const first = await connect(`${reversePort}:127.0.0.1:${here.port}`)
    await first.stop('SIGKILL')
    const second = await connect(`${reversePort}:127.0.0.1:${here.port}`)
    const socket = await connectTo(reversePort)
    await say(socket, 'again')
    socket.destroy()
    const third = sluice(['connect', server.url, '-R', `${reversePort}:127.0.0.1:${here.port}`], {
      SLUICE_TOKEN: TOKEN,
    })
    assert.equal(await third.exited, 5, third.stderr())
    assert.match(third.stderr(), /cannot listen on 127\.0\.0\.1:\d+: EADDRINUSE/)
    await second.stop()
    await here.close()
  })

  it('-R socks: programs at the server reach what is here, by SOCKS and HTTP', async (t) => {
    if (!need(t, 'curl')) return
    const tunnel = await connect(`127.0.0.1:${reversePort}`)
    const url = `http://127.0.0.1:${webPort}/x`
    for (const via of [
      ['--socks5', `127.0.0.1:${reversePort}`],
      ['-x', `http://127.0.0.1:${reversePort}`],
    ]) {
      const { stdout } = await run('curl', ['-sS', '--noproxy', '', ...via, url])
      assert.equal(stdout, 'GET /x proxy:none')
    }
    await tunnel.stop()
  })

  it('-R with a unix socket at the server', async () => {
    const here = await listen(echo)
    const path = far
    const tunnel = await connect(`${path}:127.0.0.1:${here.port}`)
    const socket = net.connect(path)
    await say(socket, 'by a path')
    socket.destroy()
    await tunnel.stop()
    await until(() => !existsSync(path), 'the path to be gone')
    await here.close()
  })

  it('-R: what no rule allows ends it with exit code 6 and the remedy', async () => {
    const refused = sluice(['connect', server.url, '-R', '1:localhost:22'], { SLUICE_TOKEN: TOKEN })
    assert.equal(await refused.exited, 6, refused.stderr())
    assert.match(
      refused.stderr(),
      /does not let us listen on 127\.0\.0\.1:1\nsluice: {3}On the server, allow it: --allow-reverse 127\.0\.0\.1:1/,
    )
  })

  it('-R with /udp: senders at the server reach what is here, each with its answers', async () => {
    const tunnel = await connect(`${reversePort}:127.0.0.1:${udpPort}/udp`)
    const [some, large] = await Promise.all([
      ask(reversePort, Buffer.from('one'), Buffer.from('two'), Buffer.alloc(0)),
      ask(reversePort, Buffer.alloc(60_000, 1)),
    ])
    assert.deepEqual(some.map(String).sort(), ['', 'one', 'two'])
    assert.equal(large[0]!.length, 60_000)
    await tunnel.stop()
    // The port is free again.
    const again = createSocket('udp4')
    await until(() => tunnel.child.exitCode !== null, 'the end of the client')
    again.bind(reversePort, '127.0.0.1')
    await once(again, 'listening')
    again.close()
  })

  it('-R with a range of ports, and several -R at once', async () => {
    const first = 22_100
    const ranged = await serve(
      ['--token-file', tokens, '--allow-reverse', `127.0.0.1:${first}-${first + 3}`, '--allow-reverse', '127.0.0.2:*'],
      {},
    )
    const here = [await listen((socket) => socket.end('a')), await listen((socket) => socket.end('b'))]
    const specs = [
      `${first}-${first + 1}:127.0.0.1:${here[0]!.port}-${here[0]!.port + 1}`,
      `127.0.0.2:${first + 2}:127.0.0.1:${here[1]!.port}`,
    ]
    const flags = specs.flatMap((spec) => ['-R', spec])
    const tunnel = sluice(['connect', ranged.url, ...flags], { SLUICE_TOKEN: TOKEN })
    await until(() => (tunnel.stderr().match(/the server listens on/g) ?? []).length === 3, 'three ports')
    assert.equal((await readOn(await connectTo(first))).bytes.toString(), 'a')
    const other = net.connect({ host: '127.0.0.2', port: first + 2, allowHalfOpen: true })
    assert.equal((await readOn(other)).bytes.toString(), 'b')
    await tunnel.stop()
    await ranged.stop()
    for (const one of here) await one.close()
  })

  it('-R with /udp: a rule for TCP does not open it', async () => {
    const refused = sluice(['connect', server.url, '-R', `${webPort}:127.0.0.1:53/udp`], { SLUICE_TOKEN: TOKEN })
    assert.equal(await refused.exited, 6, refused.stderr())
    assert.match(refused.stderr(), /--allow-reverse 127\.0\.0\.1:\d+\/udp/)
  })

  describe('an address that a rule lets several clients share', () => {
    /** A target that says who it is. */
    const named = (name: string) => listen((socket) => socket.end(name))
    const answer = async () => (await readOn(await connectTo(sharedPort))).bytes.toString()

    it('gives each connection to the next of them, and leaves out who is gone', async () => {
      const targets = [await named('a'), await named('b'), await named('c')]
      const clients: Running[] = []
      for (const [index, { port }] of targets.entries()) {
        clients.push(await connect(`${sharedPort}:127.0.0.1:${port}`, index === 1 ? OTHER : TOKEN))
      }
      const seen: string[] = []
      for (let i = 0; i < 6; i++) seen.push(await answer())
      assert.deepEqual(seen.slice(0, 3).sort(), ['a', 'b', 'c'])
      assert.deepEqual(seen.slice(3), seen.slice(0, 3))
      // Killed: its session waits to be resumed, and gets nothing meanwhile.
      await clients[1]!.stop('SIGKILL')
      const rest: string[] = []
      for (let i = 0; i < 6; i++) rest.push(await answer())
      assert.deepEqual([...new Set(rest)].sort(), ['a', 'c'])
      await clients[0]!.stop()
      assert.deepEqual([await answer(), await answer()], ['c', 'c'])
      await clients[2]!.stop()
      // The address is kept for the one that was killed, as long as its session may come back.
      let free = false
      const waiting = await connectTo(sharedPort)
      waiting.once('close', () => (free = true)).on('error', () => {})
      await until(() => free, 'the session to be given up')
      await assert.rejects(connectTo(sharedPort), /ECONNREFUSED/)
      for (const one of targets) await one.close()
    })

    it('does the same with senders of datagrams, who keep the one they have', async () => {
      const here = createSocket('udp4')
      here.on('message', (_, from) => here.send('second', from.port, from.address))
      here.bind(0, '127.0.0.1')
      await once(here, 'listening')
      const first = await connect(`${sharedPort}:127.0.0.1:${udpPort}/udp`)
      const second = await connect(`${sharedPort}:127.0.0.1:${here.address().port}/udp`, OTHER)
      const answers = []
      for (let i = 0; i < 4; i++) answers.push((await ask(sharedPort, Buffer.from('first')))[0]!.toString())
      assert.deepEqual(answers.sort(), ['first', 'first', 'second', 'second'])
      const twice = await ask(sharedPort, Buffer.from('first'), Buffer.from('first'))
      assert.equal(String(twice[0]), String(twice[1]))
      here.close()
      await first.stop()
      await second.stop()
    })

    it('is refused to a second client where the rule does not share it', async () => {
      const first = await connect(`${reversePort}:127.0.0.1:${target.port}`)
      const second = sluice(['connect', server.url, '-R', `${reversePort}:127.0.0.1:1`], { SLUICE_TOKEN: OTHER })
      assert.equal(await second.exited, 5, second.stderr())
      assert.match(second.stderr(), /cannot listen on 127\.0\.0\.1:\d+: EADDRINUSE/)
      await first.stop()
    })
  })

  it('with --resume-for 0, the port of a client that was killed is free at once for others', async () => {
    const port = await closedPort()
    const strict = await serve(
      ['--token-file', tokens, '--resume-for', '0', '--allow-reverse', `127.0.0.1:${port}`],
      {},
    )
    const first = await connect(`${port}:127.0.0.1:${target.port}`, TOKEN, strict.url)
    await say(await connectTo(port), 'the first')
    await first.stop('SIGKILL')
    const second = await connect(`${port}:127.0.0.1:${target.port}`, OTHER, strict.url)
    await say(await connectTo(port), 'the second')
    await second.stop()
    await strict.stop()
  })

  it(`${MANY} sessions in ${PROCESSES} processes have a port each; those of a process that is killed are free in time, or its own again`, async () => {
    const first = 21_000
    const many = await serve(
      ['--token-file', tokens, '--resume-for', '3s', '--allow-reverse', `127.0.0.1:${first}-${first + MANY - 1}`],
      {},
    )
    const each = MANY / PROCESSES
    const begin = (index: number) => {
      const args = [MANY_CLIENTS, many.url, first + index * each, each, target.port].map(String)
      return start(process.execPath, args, { env: { ...process.env, SLUICE_TOKEN: TOKEN } })
    }
    const ready = async (one: Running) => {
      await until(() => /all \d+ listen/.test(one.stdout()) || one.child.exitCode !== null, 'all to listen', 60_000)
      assert.match(one.stdout(), /all \d+ listen/, one.stderr())
    }
    const clients = Array.from({ length: PROCESSES }, (_, index) => begin(index))
    await Promise.all(clients.map(ready))
    const ports = Array.from({ length: MANY }, (_, index) => first + index)
    const speak = async (port: number) => {
      const socket = await connectTo(port)
      await say(socket, `by port ${port}`)
      socket.destroy()
    }
    await Promise.all(ports.map(speak))
    // Killed and back within the time in which its sessions could be resumed: the ports are given to it at once.
    await clients[0]!.stop('SIGKILL')
    clients[0] = begin(0)
    await ready(clients[0])
    await Promise.all(ports.map(speak))
    // Killed for good: free once that time is over, and the others are not touched.
    await clients[1]!.stop('SIGKILL')
    const gone = ports.slice(each, 2 * each)
    const free = (port: number) =>
      connectTo(port).then(
        (socket) => {
          socket.on('error', () => {}).destroy()
          return false
        },
        () => true,
      )
    let left = gone
    const deadline = Date.now() + 15_000
    while (left.length > 0 && Date.now() < deadline) {
      const now = await Promise.all(left.map(free))
      left = left.filter((_, index) => !now[index])
      await sleep(100)
    }
    assert.deepEqual(left, [])
    await Promise.all(ports.filter((port) => !gone.includes(port)).map(speak))
    for (const client of clients) await client.stop()
    await many.stop()
  })
})
