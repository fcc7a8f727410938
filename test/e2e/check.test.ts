// What is in the way, named: a sluice behind obstacles, each a small program that does what real ones do.
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { connectProxy } from '../helpers/connect-proxy.js'
import { closedPort, echo, type Listening, listen } from '../helpers/net.js'
import { said, serve, sluice } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

const ENV = { SLUICE_TOKEN: TOKEN }

describe('sluice check', () => {
  let target: Listening
  let plain: Awaited<ReturnType<typeof serve>>
  let secure: Awaited<ReturnType<typeof serve>>

  before(async () => {
    target = await listen(echo)
    const allow = ['--allow', `127.0.0.1:${target.port}`]
    plain = await serve(allow, ENV)
    secure = await serve([...allow, '--tls-self-signed'], ENV)
    await said(secure, /--pin (\S+)/)
  })

  after(async () => {
    await Promise.all([plain.stop(), secure.stop()])
    await target.close()
  })

  async function check(args: string[], code: number, env: Record<string, string> = ENV): Promise<string> {
    const running = sluice(['check', '--timeout', '1s', ...args], env)
    assert.equal(await running.exited, code, running.stdout() + running.stderr())
    return running.stdout()
  }

  /** A server whose every answer this makes. */
  async function obstacle(act: (socket: net.Socket) => void): Promise<{ url: string; close(): Promise<void> }> {
    const server = await listen((socket) => {
      socket.on('error', () => {})
      act(socket)
    })
    return {
      url: `ws://127.0.0.1:${server.port}`,
      close: async () => {
        for (const socket of server.sockets) socket.destroy()
        await server.close()
      },
    }
  }

  it('says that all is well, step by step, and how to go on', async () => {
    const text = await check([plain.url, '--target', `127.0.0.1:${target.port}`], 0)
    assert.match(text, /^ok {3}tcp .* answers in [0-9.]+ ms/m)
    assert.match(text, /^ok {3}http .*sluice answers, and accepts the credentials/m)
    assert.match(text, /^ok {3}websocket .*round trip [0-9.]+ ms/m)
    assert.match(text, new RegExp(`^ok {3}target .*connects us to 127\\.0\\.0\\.1:${target.port}`, 'm'))
    assert.match(text, /works: sluice connect ws:/)
  })

  it('says the same as JSON', async () => {
    const pin = /--pin (\S+)/.exec(secure.stderr())![1]!
    const result = JSON.parse(await check([secure.url, '--pin', pin, '--json'], 0))
    assert.equal(result.ok, true)
    assert.deepEqual(
      result.steps.map(({ name, ok }: { name: string; ok: boolean }) => [name, ok]),
      ['tcp', 'tls', 'http', 'websocket', 'user', 'rate'].map((name) => [name, true]),
    )
    assert.equal(result.steps[1].facts.pin, pin)
    assert.ok(result.steps[3].facts.roundTrip > 0)
    const { user, rules, time } = result.steps[4].facts
    assert.deepEqual([user, rules], ['env', [`127.0.0.1:${target.port}`]])
    assert.ok(Math.abs(time - Date.now()) < 10_000)
    const { down, up, bytes } = result.steps[5].facts
    assert.ok(down > 0 && up > 0 && bytes >= 2 * 16 * 1024, JSON.stringify(result.steps[5].facts))
    assert.match(result.verdict, new RegExp(`sluice connect ${secure.url} --pin `), 'what to give is in the command')
  })

  it('says who we are, with our groups and what is listened on; and is told nothing where a rule forbids it', async () => {
    const reverse = ['--allow-reverse', '127.0.0.1:8000-8100']
    const silent = await serve(['--allow', '*:443', '--allow', '!@sluice-check for ann', ...reverse], ENV)
    const text = await check([silent.url, '--quick'], 0)
    assert.match(text, /^ok {3}user .*we are env, and may reach \*:443; it listens for us on 127\.0\.0\.1:8000-8100/m)
    assert.doesNotMatch(text, /^ok {3}rate/m)
    await silent.stop()
    const shut = await serve(['--allow', '*:443', '--allow', '!@sluice-check'], ENV)
    const none = await check([shut.url], 0)
    assert.match(none, /^ok {3}user .*does not tell[\s\S]*^ok {3}rate .*not measured/m)
    await shut.stop()
  })

  it('keeps to the limits that a user has', async () => {
    const slow = await serve(['--allow', '*:443', '--limit', 'rate=1M'], ENV)
    const result = JSON.parse(await check([slow.url, '--json'], 0))
    const { down, up } = result.steps.at(-1).facts
    assert.ok(down < 20e6 && up < 20e6, `${down} down and ${up} up bits per second, where 8e6 are allowed`)
    assert.ok(down > 2e6 && up > 2e6)
    await slow.stop()
  })

  it('names a target that is not allowed', async () => {
    const text = await check([plain.url, '--target', '127.0.0.1:1'], 6)
    assert.match(text, /^FAIL target .*does not allow 127\.0\.0\.1:1/m)
    assert.match(text, /the server is fine, the target is not/)
  })

  it('names who signed a certificate that is not trusted', async () => {
    const text = await check([secure.url], 4)
    assert.match(text, /^FAIL tls .*not trusted \(\S+\): it is signed by CN=/m)
    assert.match(text, /somebody is in the middle/)
  })

  it('names a wrong token, a name that is none, a port where nothing is, and TLS where none is', async () => {
    assert.match(
      await check([plain.url], 4, { SLUICE_TOKEN: 'another-token-0123456789' }),
      /FAIL http .*credentials: 401/,
    )
    assert.match(await check(['wss://nowhere.invalid'], 5), /FAIL name .*nowhere\.invalid cannot be resolved/)
    assert.match(await check([`ws://127.0.0.1:${await closedPort()}`], 5), /FAIL tcp .*ECONNREFUSED/)
    assert.match(await check([plain.url.replace('ws:', 'wss:')], 4), /FAIL tls .*does not speak TLS/)
  })

  it('goes through a proxy, and says when that is in the way', async () => {
    const proxy = await listen((socket) => connectProxy(socket, () => {}, '403 Forbidden'))
    const url = `http://127.0.0.1:${proxy.port}`
    assert.match(await check([plain.url, '--proxy', url], 0), /^ok {3}proxy .*works/ms)
    const text = await check(['ws://tunnel.invalid', '--proxy', url], 5)
    assert.match(text, /FAIL proxy .*tunnel\.invalid:80: 403[\s\S]*port 443 only[\s\S]*the proxy is in the way/)
    for (const socket of proxy.sockets) socket.destroy()
    await proxy.close()
  })

  for (const [what, answer, expected, code = 5] of [
    [
      'another web server',
      'HTTP/1.1 404 Not Found\r\nServer: Apache',
      /FAIL http .*Apache answers 404 Not Found[\s\S]*path/,
    ],
    ['a sign-in page', 'HTTP/1.1 302 Found\r\nLocation: http://login.example/', /points to http:\/\/login\.example\//],
    [
      'a reverse proxy without its sluice',
      'HTTP/1.1 502 Bad Gateway\r\nServer: nginx',
      /nginx is there, but not the sluice behind it/,
    ],
    [
      'a 403 of somebody else',
      'HTTP/1.1 403 Forbidden\r\nServer: gate',
      /whether it is sluice's, the next step tells[\s\S]*FAIL websocket/,
      6,
    ],
    ['Cloudflare', 'HTTP/1.1 521 Down\r\nCF-RAY: 1', /Cloudflare answers 521/],
  ] as const) {
    it(`names ${what}`, async () => {
      const there = await obstacle((socket) =>
        socket.once('data', () => socket.end(`${answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`)),
      )
      assert.match(await check([there.url], code), expected)
      await there.close()
    })
  }

  /** Passes everything on, except that what the client says goes through this first. */
  const between = (change: (text: string, count: number, socket: net.Socket) => string | undefined) =>
    obstacle((socket) => {
      const far = net.connect(plain.port, '127.0.0.1')
      far.on('error', () => socket.destroy())
      let count = 0
      socket.on('data', (bytes) => {
        const text = change(bytes.toString('latin1'), count++, socket)
        if (text !== undefined) far.write(Buffer.from(text, 'latin1'))
      })
      far.on('data', (bytes) => socket.destroyed || socket.write(bytes))
      socket.on('close', () => far.destroy())
      far.on('end', () => socket.end())
    })

  it('names a proxy that strips Upgrade', async () => {
    const there = await between((text) =>
      text.replace(/^Upgrade:.*\r\n/m, '').replace('Connection: Upgrade', 'Connection: close'),
    )
    const text = await check([there.url], 0)
    assert.match(text, /^ok {3}http/m)
    assert.match(text, /FAIL websocket [\s\S]*nginx needs "proxy_http_version 1\.1"/)
    assert.match(text, /^ok {3}stream .*a session over HTTP, with answers that are streamed, round trip/m)
    assert.match(
      text,
      /works, though something removes Upgrade from requests.*: sluice connect .* finds its way by itself, and goes over HTTP, with answers/m,
    )
    await there.close()
  })

  for (const [what, fields, expected] of [
    [
      'Cloudflare',
      'Server: cloudflare\r\nCF-RAY: 7d-FRA',
      /\(server: cloudflare; cf-ray: 7d-FRA\)[\s\S]*WebSockets for the zone/,
    ],
    ['an AWS load balancer', 'Server: awselb/2.0', /server: awselb\/2\.0\)[\s\S]*protocol version is HTTP1/],
    ['Varnish', 'Via: 1.1 varnish (Varnish/7.1)', /via: 1\.1 varnish[\s\S]*return \(pipe\)/],
    ['Apache', 'Server: Apache/2.4.57 (Debian)', /server: Apache[\s\S]*upgrade=websocket/],
  ] as const) {
    it(`shows what a refused upgrade was answered with, and what helps: ${what}`, async () => {
      const there = await between((text, _, socket) => {
        if (!/Sec-WebSocket-Key/i.test(text)) return text
        socket.end(`HTTP/1.1 400 No\r\n${fields}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`)
        return undefined
      })
      assert.match(await check([there.url, '--quick'], 0), expected)
      const { steps } = JSON.parse(await check([there.url, '--quick', '--json'], 0))
      const { facts } = steps.find(({ name }: { name: string }) => name === 'websocket')
      const [name] = fields.split(': ')
      assert.ok(facts.fields.some(([field]: [string]) => field.toLowerCase() === name!.toLowerCase()))
      await there.close()
    })
  }

  it('names a box that resets what asks for a WebSocket', async () => {
    const there = await between((text, _, socket) => {
      if (!/Sec-WebSocket-Key/i.test(text)) return text
      socket.resetAndDestroy()
      return undefined
    })
    const text = await check([there.url], 0)
    assert.match(text, /FAIL websocket [\s\S]*something on the way forbids it[\s\S]*^ok {3}stream/m)
    assert.match(await check([there.url, '--transport', 'websocket'], 5), /neither WebSocket nor requests/)
    await there.close()
  })

  it('names a box that answers 101 and then drops what is said', async () => {
    const there = await between((text, count) => (count > 0 && !/^(GET|POST) /.test(text) ? undefined : text))
    const text = await check([there.url], 0)
    assert.match(text, /FAIL websocket [\s\S]*nothing comes through[\s\S]*drops what is in the WebSocket/)
    assert.match(text, /^ok {3}stream/m)
    await there.close()
  })
})
