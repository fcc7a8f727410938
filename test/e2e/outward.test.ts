// Through proxies on the way out: real ones, and small ones that answer what real ones should not.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { pathToFileURL } from 'node:url'
import { generate } from 'selfsigned'
import { connectProxy } from '../helpers/connect-proxy.js'
import { need, ROOT, which } from '../helpers/need.js'
import { closedPort, connectTo, echo, type Listening, listen, receive } from '../helpers/net.js'
import { ntlmProxy } from '../helpers/ntlm.js'
import { connect, type Running, said, serve, sluice, start, untilOpen } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'
import { squid } from '../helpers/squid.js'

const ENV = { SLUICE_TOKEN: TOKEN }

/** MD4 of `a secret of ann` in UTF-16, as Windows keeps passwords. */
const NT_HASH = Buffer.from('42bae3a49a6ac009d751eade6cbc98ee', 'hex')

/** Speaks NTLM as far as squid's helper looks at it. */
const SPEAKER = `import { createInterface } from 'node:readline'
const field = (length, at) => [length & 255, length >> 8, length & 255, length >> 8, at, 0, 0, 0]
const message = (...bytes) => 'NTLM ' + Buffer.from([...Buffer.from('NTLMSSP\\0'), ...bytes]).toString('base64')
const one = message(1, 0, 0, 0, 0x02, 0x02, 0, 0, ...field(0, 0), ...field(0, 0))
const three = message(3, 0, 0, 0, ...field(24, 70), ...field(24, 70), ...field(4, 64), ...field(2, 68), ...field(0, 64), ...field(0, 64),
  0x02, 0x02, 0, 0, ...Buffer.from('CORPme'), ...Buffer.alloc(24, 1))
for await (const line of createInterface({ input: process.stdin })) console.log(/NTLM ./.test(line) ? three : one)
`

describe('through a proxy on the way out', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-outward-'))
  const good = join(folder, 'good')
  const wrong = join(folder, 'wrong')
  let target: Listening
  let plain: Awaited<ReturnType<typeof serve>>
  let secure: Awaited<ReturnType<typeof serve>>
  let pin: string[] = []

  before(async () => {
    writeFileSync(good, 'ann:a secret of ann\n', { mode: 0o600 })
    writeFileSync(wrong, 'ann:something else\n', { mode: 0o600 })
    target = await listen(echo)
    const allow = ['--allow', `127.0.0.1:${target.port}`]
    plain = await serve(allow, ENV)
    secure = await serve([...allow, '--tls-self-signed'], ENV)
    await said(secure, /--pin (\S+)/)
    pin = ['--pin', /--pin (\S+)/.exec(secure.stderr())![1]!]
  })

  after(async () => {
    await Promise.all([plain.stop(), secure.stop()])
    await target.close()
    rmSync(folder, { recursive: true })
  })

  async function carries(url: string, flags: string[], env: Record<string, string> = {}): Promise<void> {
    const tunnel = await connect(url, `127.0.0.1:${target.port}`, flags, { ...ENV, ...env })
    const socket = await connectTo(tunnel.port)
    const bytes = Buffer.alloc(300_000, 'through a proxy ')
    const back = receive(socket, bytes.length)
    socket.write(bytes)
    assert.ok((await back).equals(bytes))
    socket.destroy()
    await tunnel.stop()
  }

  async function refused(url: string, flags: string[], env: Record<string, string> = {}, code = 5): Promise<Running> {
    const running = sluice(
      ['connect', url, '-L', `0:127.0.0.1:${target.port}`, '--no-retry', '--timeout', '2s', ...flags],
      {
        ...ENV,
        ...env,
      },
    )
    assert.equal(await running.exited, code, running.stderr())
    assert.doesNotMatch(running.stderr(), /a secret of ann|something else/)
    return running
  }

  for (const scheme of ['basic', 'digest'] as const) {
    it(`squid, ${scheme}: with TLS and without, and who is not known is told what to give`, async (t) => {
      if (!need(t, 'squid', 'openssl')) return
      const proxy = await squid(folder, scheme)
      const url = `http://127.0.0.1:${proxy.port}`
      try {
        await carries(plain.url, ['--proxy', url, '--proxy-auth-file', good])
        await carries(secure.url, ['--proxy', url, '--proxy-auth-file', good, ...pin])
        const nobody = await refused(plain.url, ['--proxy', url], {}, 4)
        assert.match(nobody.stderr(), new RegExp(`asks who you are \\(407, it offers: ${scheme}\\)`))
        assert.match(nobody.stderr(), /--proxy-auth-file FILE/)
        const other = await refused(plain.url, ['--proxy', url, '--proxy-auth-file', wrong], {}, 4)
        assert.match(other.stderr(), /does not accept the user and password/)
      } finally {
        await proxy.stop('SIGKILL')
      }
    })
  }

  it('squid, NTLM: by a command that speaks it, which is asked on each connection', async (t) => {
    if (!need(t, 'squid')) return
    const proxy = await squid(folder, 'ntlm')
    const url = `http://127.0.0.1:${proxy.port}`
    // The helper of squid's takes every name, but wants all the messages on one connection.
    const speaker = join(folder, 'speaker.mjs')
    writeFileSync(speaker, SPEAKER)
    const command = ['--proxy', url, '--proxy-auth-command', `${process.execPath} ${speaker}`]
    try {
      await carries(plain.url, command)
      await carries(secure.url, [...command, ...pin])
      await carries(secure.url, [...command, ...pin, '--transport', 'http2'])
      await carries(plain.url, [...command, '--transport', 'poll'])
      const nobody = await refused(plain.url, ['--proxy', url, '--proxy-auth-file', good], {}, 4)
      assert.match(
        nobody.stderr(),
        /what sluice does not speak itself \(407, it offers: ntlm\)[\s\S]*--proxy-auth-command/,
      )
      const none = await refused(plain.url, ['--proxy', url, '--proxy-auth-command', 'echo sorry >&2; exit 1'], {}, 4)
      assert.match(none.stderr(), /--proxy-auth-command: it ended with 1 without an answer; it said: sorry/)
      const odd = await refused(plain.url, ['--proxy', url, '--proxy-auth-command', 'printf "\\001\\n"; cat'], {}, 4)
      assert.match(odd.stderr(), /its answer is not the value of a header field/)
    } finally {
      await proxy.stop('SIGKILL')
    }
  })

  it('NTLMv2, proved: by the example, which has Samba speak it', async (t) => {
    if (!need(t, 'ntlm_auth', 'python3')) return
    const proxy = await listen((socket) => ntlmProxy(socket, NT_HASH))
    const password = join(folder, 'ntlm-password')
    const by = (text: string) => {
      writeFileSync(password, `${text}\n`, { mode: 0o600 })
      const program = join(ROOT, 'examples', 'proxy-auth', 'ntlm.py')
      return ['--proxy', `http://127.0.0.1:${proxy.port}`, '--proxy-auth-command', `${program} CORP ann ${password}`]
    }
    await carries(secure.url, [...by('a secret of ann'), ...pin])
    const wrong = await refused(plain.url, by('something else'), {}, 4)
    assert.match(wrong.stderr(), /does not accept what --proxy-auth-command answers \(407, it offers: ntlm\)/)
    await proxy.close()
  })

  it('squid, NTLM: by cntlm, a proxy that speaks it for us', async (t) => {
    if (!need(t, 'squid', 'cntlm')) return
    const proxy = await squid(folder, 'ntlm')
    const port = await closedPort()
    const config = join(folder, 'cntlm.conf')
    const lines = [
      'Username ann',
      'Domain CORP',
      'Password secret',
      'Auth NTLM',
      `Proxy 127.0.0.1:${proxy.port}`,
      `Listen 127.0.0.1:${port}`,
    ]
    writeFileSync(config, `${lines.join('\n')}\n`, { mode: 0o600 })
    const cntlm = start(which('cntlm')!, ['-f', '-c', config])
    try {
      await untilOpen(port, cntlm)
      await carries(secure.url, ['--proxy', `http://127.0.0.1:${port}`, ...pin])
    } finally {
      await cntlm.stop('SIGKILL')
      await proxy.stop('SIGKILL')
    }
  })

  it('SOCKS5 with user and password, and the HTTP proxy on the same port', async () => {
    const far = await serve(['--allow', `127.0.0.1:${plain.port},${secure.port}`], ENV)
    const door = sluice(['connect', far.url, '-D', '0', '--dynamic-auth-file', good], ENV)
    await said(door, /listening on \S+?:(\d+) for/)
    const port = /listening on \S+?:(\d+) for/.exec(door.stderr())![1]
    await carries(plain.url, ['--proxy', `socks5://127.0.0.1:${port}`, '--proxy-auth-file', good])
    await carries(secure.url, ['--proxy', `socks5://127.0.0.1:${port}`, '--proxy-auth-file', good, ...pin])
    await carries(secure.url, ['--proxy', `http://127.0.0.1:${port}`, '--proxy-auth-file', good, ...pin])
    const other = await refused(plain.url, ['--proxy', `socks5://127.0.0.1:${port}`, '--proxy-auth-file', wrong], {}, 4)
    assert.match(other.stderr(), /does not accept the user and password/)
    await door.stop()
    await far.stop()
  })

  it('a proxy over TLS, with TLS inside', async () => {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
    })
    const ca = join(folder, 'ca.pem')
    writeFileSync(ca, cert)
    const server = tls.createServer({ cert, key }, (socket) => connectProxy(socket)).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const url = `https://localhost:${(server.address() as net.AddressInfo).port}`
    await carries(plain.url, ['--proxy', url], { NODE_EXTRA_CA_CERTS: ca })
    await carries(secure.url, ['--proxy', url, ...pin], { NODE_EXTRA_CA_CERTS: ca })
    await carries(plain.url, ['--proxy', url, '--ca', ca])
    const untrusted = await refused(plain.url, ['--proxy', url], {}, 4)
    assert.match(
      untrusted.stderr(),
      /the certificate of the proxy https:\/\/localhost:\d+ is not trusted[\s\S]*--ca FILE/,
    )
    server.close()
  })

  it('is found in the environment, except for loopback and what no_proxy names', async () => {
    const seen: string[] = []
    const proxy = await listen((socket) => connectProxy(socket, (line) => seen.push(line)))
    const env = { http_proxy: `http://127.0.0.1:${proxy.port}` }
    await carries(plain.url, [], env)
    assert.deepEqual(seen, [])
    const named = await refused('ws://server.invalid', [], env)
    assert.match(named.stderr(), /does not connect to server\.invalid:80: 502/)
    assert.deepEqual(seen, ['CONNECT server.invalid:80 HTTP/1.1'])
    const direct = await refused('ws://server.invalid', [], { ...env, no_proxy: '.invalid' })
    assert.match(direct.stderr(), /the name server\.invalid cannot be resolved/)
    const none = await refused('ws://server.invalid', ['--proxy', 'none'], env)
    assert.match(none.stderr(), /the name server\.invalid cannot be resolved/)
    await proxy.close()
  })

  for (const [what, answer, expected] of [
    [
      'a port that it does not let through',
      'HTTP/1.1 403 Forbidden\r\n\r\n',
      /does not connect to \S+: 403 Forbidden[\s\S]*port 443/,
    ],
    [
      'schemes that we do not speak',
      'HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n',
      /it offers: negotiate, ntlm[\s\S]*--proxy-auth-command[\s\S]*cntlm/,
    ],
    ['what is no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n', /the proxy http:\S+: the answer is not HTTP/],
    ['a header without end', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}`, /longer than 16384 bytes/],
    ['an end in the middle', 'HTTP/1.1 200', /closed before its answer was whole/],
    ['nothing', '', /took the connection, but did not answer in time/],
  ] as const) {
    it(`says so when the proxy answers ${what}`, async () => {
      const proxy = await listen((socket) => {
        socket.on('error', () => {})
        socket.once('data', () => (what === 'an end in the middle' ? socket.end(answer) : socket.write(answer)))
      })
      const flags = ['--proxy', `http://127.0.0.1:${proxy.port}`, '--proxy-auth-file', good]
      const running = await refused(plain.url, flags, {}, /407/.test(answer) ? 4 : 5)
      assert.match(running.stderr(), expected)
      for (const socket of proxy.sockets) socket.destroy()
      await proxy.close()
    })
  }

  describe('a PAC file', () => {
    const pac = (name: string, script: string) => {
      const file = join(folder, `${name}.pac`)
      writeFileSync(file, script)
      return ['--proxy', `pac+${pathToFileURL(file)}`]
    }
    const saying = (text: string) => `function FindProxyForURL(url, host) { return ${JSON.stringify(text)} }`

    it('from a file: the first of the proxies it names that answers, or none', async () => {
      const seen: string[] = []
      const proxy = await listen((socket) => connectProxy(socket, (line) => seen.push(line)))
      const dead = await closedPort()
      const names = saying(`PROXY 127.0.0.1:${dead}; SOCKS4 x:1; PROXY 127.0.0.1:${proxy.port}; DIRECT`)
      await carries(secure.url, [...pac('names', names), ...pin])
      assert.ok(seen.length > 0 && seen.every((line) => line === `CONNECT 127.0.0.1:${secure.port} HTTP/1.1`))
      seen.splice(0)
      const direct = `function FindProxyForURL(url, host) {
        return isInNet(host, '127.0.0.0', '255.0.0.0') ? 'DIRECT' : 'PROXY 127.0.0.1:${proxy.port}'
      }`
      await carries(plain.url, pac('direct', direct))
      await carries(secure.url, [...pac('direct', direct), ...pin, '--transport', 'http2'])
      assert.deepEqual(seen, [])
      await proxy.close()
    })

    it('from a web server, with a proxy that asks who we are', async (t) => {
      if (!need(t, 'squid', 'openssl')) return
      const proxy = await squid(folder, 'basic')
      const script = saying(`PROXY 127.0.0.1:${proxy.port}`)
      const web = await listen((socket) =>
        socket.once('data', () => socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${script.length}\r\n\r\n${script}`)),
      )
      const url = `pac+http://127.0.0.1:${web.port}/wpad.dat`
      try {
        await carries(secure.url, ['--proxy', url, '--proxy-auth-file', good, ...pin])
        const nobody = await refused(plain.url, ['--proxy', url], {}, 4)
        assert.match(nobody.stderr(), /the proxy http:\S+ asks who you are/)
      } finally {
        await proxy.stop('SIGKILL')
        await web.close()
      }
    })

    for (const [what, script, expected] of [
      ['that is not JavaScript', 'function (', /the PAC file at pac\+file:\S+: it fails: /],
      ['that does not end', 'function FindProxyForURL() { for (;;); }', /it fails: .*interrupted/],
      ['that throws', 'function FindProxyForURL() { throw new Error("no idea") }', /it fails: .*no idea/],
      ['that names what we do not speak', saying('SOCKS4 x:1; FTP y:2'), /names no proxy that sluice can use: "SOCKS4/],
      ['that names a port that is none', saying('PROXY x:99999'), /port "99999"/],
      [
        'that wants the host',
        'function FindProxyForURL() { return String(typeof process) }',
        /names no proxy.*undefined/,
      ],
    ] as const) {
      it(`says so of one ${what}`, async () => {
        const running = sluice(['check', plain.url, '--timeout', '3s', '--quick', ...pac('bad', script)], ENV)
        assert.notEqual(await running.exited, 0)
        assert.match(running.stdout(), expected)
      })
    }

    it('says so of one that is not there', async () => {
      const gone = await refused(plain.url, ['--proxy', `pac+http://127.0.0.1:${await closedPort()}/p.pac`], {}, 5)
      assert.match(gone.stderr(), /the PAC file at pac\+http:\S+: it cannot be had: .*ECONNREFUSED/)
      const odd = sluice(['check', plain.url, '--proxy', 'pac+ftp://x/p.pac'], ENV)
      assert.equal(await odd.exited, 2)
      assert.match(odd.stderr(), /a PAC file is at http:\/\/, https:\/\/ or file:\/\/\//)
    })
  })

  it('refuses a command beside a file, and for SOCKS5', async () => {
    const both = ['--proxy', 'http://x', '--proxy-auth-file', good, '--proxy-auth-command', 'true']
    const two = sluice(['connect', plain.url, '-L', '0:x:1', ...both], ENV)
    assert.equal(await two.exited, 2)
    assert.match(two.stderr(), /contradict each other/)
    const socks = sluice(['check', plain.url, '--proxy', 'socks5://x', '--proxy-auth-command', 'true'], ENV)
    assert.equal(await socks.exited, 2)
    assert.match(socks.stderr(), /is for HTTP proxies/)
  })

  it('refuses what would show a password, and a password for no proxy', async () => {
    const shown = sluice(['connect', plain.url, '-L', '0:x:1', '--proxy', 'http://ann:secret@proxy'], ENV)
    assert.equal(await shown.exited, 2)
    assert.match(shown.stderr(), /a password does not belong where others can read it/)
    const useless = sluice(['connect', plain.url, '-L', '0:x:1', '--proxy-auth-file', good], ENV)
    assert.equal(await useless.exited, 2)
    assert.match(useless.stderr(), /there is no proxy/)
  })
})
