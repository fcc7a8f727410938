// Through proxies on the way out: real ones, and small ones that answer what real ones should not.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { generate } from 'selfsigned'
import { connectProxy } from '../helpers/connect-proxy.js'
import { need, which } from '../helpers/need.js'
import { closedPort, connectTo, echo, type Listening, listen, receive } from '../helpers/net.js'
import { connect, type Running, said, serve, sluice, start, untilOpen } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

const ENV = { SLUICE_TOKEN: TOKEN }
const SQUID_AUTH = '/usr/lib/squid'

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

  /** Debian's squid with users, by Basic or Digest; it lets CONNECT through to every port here. */
  async function squid(scheme: 'basic' | 'digest'): Promise<Running & { port: number }> {
    const port = await closedPort()
    const users = join(folder, `users-${scheme}`)
    const md5 = (text: string) => createHash('md5').update(text).digest('hex')
    const line =
      scheme === 'basic' ? `ann:${password('a secret of ann')}` : `ann:sluice:${md5('ann:sluice:a secret of ann')}`
    writeFileSync(users, `${line}\n`, { mode: 0o644 })
    const helper =
      scheme === 'basic'
        ? `${join(SQUID_AUTH, 'basic_ncsa_auth')} ${users}`
        : `${join(SQUID_AUTH, 'digest_file_auth')} -c ${users}`
    writeFileSync(
      join(folder, `${scheme}.conf`),
      `http_port 127.0.0.1:${port}
pid_filename none
cache deny all
cache_log stdio:/dev/stderr
access_log none
netdb_filename none
pinger_enable off
coredump_dir ${folder}
auth_param ${scheme} program ${helper}
auth_param ${scheme} realm sluice
auth_param ${scheme} children 1
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
`,
    )
    // Started as root it becomes another user, who must be able to read its files.
    chmodSync(folder, 0o755)
    const running = start(which('squid')!, ['-N', '-f', join(folder, `${scheme}.conf`)])
    await untilOpen(port, running)
    return { ...running, port }
  }

  /** As htpasswd writes it. */
  const password = (text: string) => execFileSync('openssl', ['passwd', '-apr1', text], { encoding: 'utf8' }).trim()

  for (const scheme of ['basic', 'digest'] as const) {
    it(`squid, ${scheme}: with TLS and without, and who is not known is told what to give`, async (t) => {
      if (!need(t, 'squid', 'openssl')) return
      const proxy = await squid(scheme)
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
      /it offers: negotiate, ntlm[\s\S]*cntlm/,
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

  it('refuses what would show a password, and a password for no proxy', async () => {
    const shown = sluice(['connect', plain.url, '-L', '0:x:1', '--proxy', 'http://ann:secret@proxy'], ENV)
    assert.equal(await shown.exited, 2)
    assert.match(shown.stderr(), /a password does not belong where others can read it/)
    const useless = sluice(['connect', plain.url, '-L', '0:x:1', '--proxy-auth-file', good], ENV)
    assert.equal(await useless.exited, 2)
    assert.match(useless.stderr(), /there is no proxy/)
  })
})
