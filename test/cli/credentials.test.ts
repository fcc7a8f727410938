// Who may come in, by the command line: passwords, JWT, client certificates, a proxy's word, tickets; certificates by name; and
// what the server refuses to start with.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { connect as openTunnel } from '#src/node/index.js'
import { connectTo, echo, type Listening, listen, receive, until } from '../helpers/net.js'
import { connect, type Running, said, serve, sluice } from '../helpers/process.js'
import { exchange, handshake } from '../helpers/raw.js'
import { TOKEN } from '../helpers/rig.js'

const PASSWORD = 'correct horse battery staple'
const ISSUER = 'https://issuer.example'

describe('credentials on the command line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-credentials-'))
  let target: Listening
  let allow: string[]
  const file = (name: string, text: string, mode = 0o600) => {
    const path = join(folder, name)
    writeFileSync(path, text, { mode })
    return path
  }
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  /** A certificate that this CA signs, or one that signs itself. */
  function certificate(
    name: string,
    subject: string,
    { ca, names, days = '30' }: { ca?: string; names?: string; days?: string } = {},
  ) {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    const signed = ca === undefined ? [] : ['-CA', `${ca}.pem`, '-CAkey', `${ca}.key`]
    const alternative = names === undefined ? [] : ['-addext', `subjectAltName=${names}`]
    const out = ['-keyout', `${name}.key`, '-out', `${name}.pem`]
    openssl('req', '-x509', ...key, ...out, '-subj', subject, '-days', days, ...signed, ...alternative)
    return { cert: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) }
  }

  before(async () => {
    target = await listen(echo)
    allow = ['--allow', `127.0.0.1:${target.port}`]
  })
  after(async () => {
    await target.close()
    rmSync(folder, { recursive: true })
  })

  /** Whether a client with these flags is let in: what comes back, or its exit code. */
  async function use(
    url: string,
    flags: readonly string[],
    env: Record<string, string> = {},
  ): Promise<string | number> {
    const client = sluice(['connect', url, '-L', `0:127.0.0.1:${target.port}`, '--no-retry', ...flags], env)
    const up = said(client, /listening on \S+:(\d+) for/).then(
      () => 'up' as const,
      () => 'down' as const,
    )
    if ((await up) === 'down') return client.exited
    const socket = await connectTo(Number(/listening on \S+:(\d+) for/.exec(client.stderr())![1]))
    socket.write('hello')
    const got = await receive(socket, 5).then(String, () => 'closed')
    socket.destroy()
    await client.stop()
    return got
  }

  it('a password, made by sluice token, by Basic authentication', async () => {
    const tokens = join(folder, 'passwords')
    const made = sluice(['token', 'new', 'ann', '--token-file', tokens, '--password-file', '-', ...allow])
    made.child.stdin!.end(`${PASSWORD}\n`)
    assert.equal(await made.exited, 0, made.stderr())
    assert.equal(made.stdout(), '')
    const short = sluice([
      'token',
      'new',
      'bob',
      '--token-file',
      tokens,
      '--password-file',
      file('short', 'too short\n'),
    ])
    assert.equal(await short.exited, 2)
    assert.match(short.stderr(), /is only 9 characters long \(at least 15\)/)
    const listed = sluice(['token', 'list', '--token-file', tokens])
    assert.equal(await listed.exited, 0)
    assert.match(listed.stdout(), /^ann: for good, by password, allow 127/)
    const server = await serve(['--token-file', tokens])
    assert.equal(await use(server.url, ['--login-file', file('login', `ann:${PASSWORD}\n`)]), 'hello')
    assert.equal(await use(server.url, ['--login-file', file('wrong', `ann:${PASSWORD}!\n`)]), 4)
    assert.equal(await use(server.url, ['--login-file', file('other', `bob:${PASSWORD}\n`)]), 4)
    const revoked = sluice(['token', 'revoke', 'ann', '--token-file', tokens])
    assert.equal(await revoked.exited, 0)
    await said(server, /token file read again: 0 tokens/)
    assert.equal(await use(server.url, ['--login-file', join(folder, 'login')]), 4)
    await server.stop()
  })

  it('a JWT of an issuer whose keys are at a URL; rules for its groups; it is read again when it is renewed', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256')
    const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'a', alg: 'ES256' }] })
    const issuer = http.createServer((_, response) => response.end(jwks))
    issuer.listen(0, '127.0.0.1')
    await once(issuer, 'listening')
    const keys = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/jwks.json`
    const jwt = (claims: object) =>
      new SignJWT({ iss: ISSUER, aud: 'sluice', exp: Math.floor(Date.now() / 1000) + 600, ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: 'a' })
        .sign(privateKey)
    const rule = ['--allow', `127.0.0.1:${target.port} for group:dba`]
    const flags = ['--jwt-issuer', ISSUER, '--jwt-audience', 'sluice', ...rule]
    const server = await serve(['--jwt-keys', keys, ...flags])
    const token = (claims: object) => jwt(claims).then((text) => ['--token-file', file('jwt', `${text}\n`)])
    assert.equal(await use(server.url, await token({ sub: 'ann', groups: ['dba'] })), 'hello')
    assert.equal(await use(server.url, await token({ sub: 'bob', groups: ['ops'] })), 6)
    assert.equal(await use(server.url, await token({ sub: 'ann', aud: 'other', groups: ['dba'] })), 4)
    assert.equal(await use(server.url, await token({ groups: ['dba'] })), 4)
    await server.stop()
    // The same from a file, which is read again.
    const held = file('jwks.json', jwks)
    const local = await serve(['--jwt-keys', held, ...flags])
    assert.equal(await use(local.url, await token({ sub: 'ann', groups: ['dba'] })), 'hello')
    writeFileSync(held, '{"keys":[]}')
    await said(local, /file of keys read again/)
    assert.equal(await use(local.url, await token({ sub: 'ann', groups: ['dba'], jti: 'another' })), 4)
    await local.stop()
    issuer.close()
    const gone = sluice(['serve', '--listen', '0', '--jwt-keys', keys, ...flags])
    assert.equal(await gone.exited, 3)
    assert.match(gone.stderr(), /the keys at \S+ cannot be had: .*\nsluice: {3}It must answer with a JWKS/)
  })

  it('a client’s certificate, over TLS alone and beside a token; and the server’s by the name that is asked for', async () => {
    certificate('ca', '/CN=a CA of clients')
    certificate('other', '/CN=another CA')
    const ann = certificate('ann', '/CN=ann/OU=dba', { ca: 'ca' })
    const eve = certificate('eve', '/CN=ann', { ca: 'other' })
    const one = certificate('one', '/CN=one', { names: 'DNS:one.example,IP:127.0.0.1' })
    const two = certificate('two', '/CN=two', { names: 'DNS:two.example' })
    const certificates = ['--tls-cert', one.cert, '--tls-key', one.key, '--tls-cert', two.cert, '--tls-key', two.key]
    const rule = ['--allow', `127.0.0.1:${target.port} for cert:ann`]
    const server = await serve([...certificates, '--client-ca', join(folder, 'ca.pem'), ...rule], {
      SLUICE_TOKEN: TOKEN,
    })
    const ca = ['--ca', one.cert]
    assert.equal(await use(server.url, [...ca, '--cert', ann.cert, '--key', ann.key]), 'hello')
    assert.equal(await use(server.url, [...ca, '--cert', ann.cert, '--key', ann.key, '--transport', 'http2']), 'hello')
    assert.equal(await use(server.url, [...ca, '--cert', ann.cert, '--key', ann.key, '--transport', 'poll']), 'hello')
    assert.equal(await use(server.url, [...ca, '--cert', eve.cert, '--key', eve.key]), 4)
    assert.equal(await use(server.url, ca), 4)
    assert.equal(await use(server.url, ca, { SLUICE_TOKEN: TOKEN }), 6, 'let in, but the rule is for another')
    const subjectFor = (servername: string | undefined) =>
      new Promise((resolve, reject) => {
        const named = servername === undefined ? {} : { servername }
        const socket = tls.connect(
          { port: server.port, host: '127.0.0.1', rejectUnauthorized: false, ...named },
          () => {
            resolve(`${socket.getPeerCertificate().subject.CN} ${socket.getProtocol()}`)
            socket.destroy()
          },
        )
        socket.on('error', reject)
      })
    assert.equal(await subjectFor('two.example'), 'two TLSv1.3')
    assert.equal(await subjectFor('one.example'), 'one TLSv1.3')
    assert.equal(await subjectFor('three.example'), 'one TLSv1.3')
    assert.equal(await subjectFor(undefined), 'one TLSv1.3')
    await server.stop()
  })

  it('a user whom a proxy names, and the address that it forwards', async () => {
    const log = join(folder, 'audit')
    const flags = ['--trusted-proxy', '127.0.0.0/8', '--user-header', 'X-Forwarded-User', '--audit-log', log]
    const server = await serve([...flags, '--allow', `127.0.0.1:${target.port} for proxy:ann`])
    const named = ['-H', 'X-Forwarded-User: ann', '-H', 'X-Forwarded-For: 203.0.113.9, 127.0.0.9']
    assert.equal(await use(server.url, named), 'hello')
    assert.equal(await use(server.url, []), 4)
    const { readFileSync } = await import('node:fs')
    await until(() => /"event":"opened"/.test(readFileSync(log, 'utf8')), 'the record')
    assert.match(readFileSync(log, 'utf8'), /"event":"opened","from":"203.0.113.9:0","principal":"proxy:ann"/)
    await server.stop()
  })

  it('a ticket, for a page that has no token: good once', async () => {
    const server = await serve([...allow, '--origin', 'https://app.example'], { SLUICE_TOKEN: TOKEN })
    const base = server.url.replace('ws', 'http')
    const ask = (headers: Record<string, string>, method = 'POST') => fetch(`${base}/ticket`, { method, headers })
    const answer = await ask({ Authorization: `Bearer ${TOKEN}`, Origin: 'https://app.example' })
    assert.equal(answer.headers.get('access-control-allow-origin'), 'https://app.example')
    const { ticket, seconds } = (await answer.json()) as { ticket: string; seconds: number }
    assert.equal(seconds, 30)
    const use = (token: string) =>
      exchange(
        server.port,
        handshake(`/tcp/127.0.0.1/${target.port}`, {
          Authorization: undefined,
          'Sec-WebSocket-Protocol': `binary, authorization.bearer.${token}`,
        }),
        undefined,
        300,
      )
    const first = await use(ticket)
    assert.equal(first.status, 101)
    assert.ok(!first.head.includes(ticket))
    assert.equal((await use(ticket)).status, 401)
    assert.equal((await ask({})).status, 401)
    assert.equal((await ask({ Authorization: `Bearer ${TOKEN}` }, 'GET')).status, 405)
    const other = ((await (await ask({ Authorization: `Bearer ${TOKEN}` })).json()) as { ticket: string }).ticket
    assert.equal((await ask({ Authorization: `Bearer ${other}` })).status, 403)
    // The library asks for one each time that it needs one.
    let asked = 0
    const token = async () => {
      asked++
      return ((await (await ask({ Authorization: `Bearer ${TOKEN}` })).json()) as { ticket: string }).ticket
    }
    const tunnel = await openTunnel(server.url, { token })
    const socket = tunnel.createConnection({ host: '127.0.0.1', port: target.port })
    socket.write('by ticket')
    assert.equal(String((await once(socket, 'data'))[0]), 'by ticket')
    socket.destroy()
    await tunnel.close()
    assert.ok(asked >= 1)
    await server.stop()
  })

  it('a site for whoever is not let in: nothing tells of sluice', async () => {
    const site = mkdtempSync(join(folder, 'site-'))
    writeFileSync(join(site, 'index.html'), '<h1>Bakery</h1>')
    writeFileSync(join(site, '404.html'), '<h1>Sold out</h1>')
    const backend = http.createServer((request, response) => {
      response.setHeader('Server', 'bakery')
      response.statusCode = request.url === '/' ? 200 : 404
      response.end(`${request.method} ${request.url} ${request.headers.authorization ?? 'nobody'}`)
    })
    backend.listen(0, '127.0.0.1')
    await once(backend, 'listening')
    const { port } = backend.address() as AddressInfo
    for (const [given, home, missing] of [
      [site, '<h1>Bakery</h1>', '<h1>Sold out</h1>'],
      [`http://127.0.0.1:${port}`, 'GET / nobody', 'GET /healthz nobody'],
    ] as const) {
      const server = await serve([...allow, '--site', given], { SLUICE_TOKEN: TOKEN })
      const get = (request: string) => exchange(server.port, request, undefined, 2_000)
      const page = await get('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n')
      assert.equal(page.status, 200)
      assert.equal(page.body, home)
      const strangers = [
        'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n',
        handshake('/', { Authorization: 'Bearer wrong-wrong-wrong-wrong', 'Sec-WebSocket-Protocol': 'sluice.1' }),
        handshake(`/tcp/127.0.0.1/${target.port}`, { Authorization: undefined }),
        handshake('/tcp/127.0.0.1/', { Authorization: undefined }),
        handshake(`/tcp/127.0.0.1/${target.port}`, { Host: 'other.example' }),
        handshake(`/tcp/127.0.0.1/${target.port}`, { Origin: 'https://evil.example' }),
        'POST /http HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
        'OPTIONS /http HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nConnection: close\r\n\r\n',
        'GET /ticket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n',
      ]
      for (const request of strangers) {
        const { status, head, body } = await get(request)
        assert.ok([200, 404, 405].includes(status), `${status} to ${request}`)
        assert.doesNotMatch(`${head}${body}`, /sluice|websocket|bearer|nosniff|access-control/i, request)
      }
      assert.equal((await get(strangers[0]!)).body, missing)
      assert.equal(await use(server.url, [], { SLUICE_TOKEN: TOKEN }), 'hello')
      await server.stop()
    }
    backend.close()
  })

  it('metrics for Prometheus, on an address of their own', async () => {
    const server: Running & { url: string; port: number } = await serve([...allow, '--metrics-listen', '0'], {
      SLUICE_TOKEN: TOKEN,
    })
    await said(server, /metrics on (\S+)/)
    const url = /metrics on (\S+)/.exec(server.stderr())![1]!
    assert.equal(await use(server.url, [], { SLUICE_TOKEN: TOKEN }), 'hello')
    assert.equal(await use(server.url, [], { SLUICE_TOKEN: `${TOKEN}x` }), 4)
    const client = await connect(server.url, `127.0.0.1:${target.port}`, [], { SLUICE_TOKEN: TOKEN })
    const socket = await connectTo(client.port)
    socket.write('still here')
    await receive(socket, 10)
    const text = await (await fetch(url)).text()
    for (const line of [
      'sluice_sessions 1',
      'sluice_connections 1',
      'sluice_connections_opened_total 2',
      'sluice_bytes_total{direction="up"} 5',
      'sluice_bytes_total{direction="down"} 5',
      'sluice_requests_refused_total{status="401"} ',
      'sluice_session_events_total{event="started"} 2',
      'sluice_connection_seconds_count 1',
      'nodejs_eventloop_lag_seconds ',
      'process_resident_memory_bytes ',
    ]) {
      assert.ok(text.includes(`\n${line}`), `${line} in\n${text}`)
    }
    assert.ok(!text.includes(TOKEN))
    assert.equal((await fetch(url.replace('/metrics', '/'))).status, 404)
    assert.equal((await fetch(`${server.url.replace('ws', 'http')}/metrics`)).status, 404)
    socket.destroy()
    await Promise.all([client.stop(), server.stop()])
  })

  it('limits and rules of the configuration file hold at once when it changes', async () => {
    const config = (limit: string, rule: string) =>
      file(
        'sluice.yaml',
        `serve:\n  listen: "0"\n  limit: ["${limit}"]\n  allow: ["${rule}", "127.0.0.1:${target.port}"]\n`,
      )
    const path = config('streams=9', '!127.0.0.1:1')
    const server = sluice(['serve', '--config', path], { SLUICE_TOKEN: TOKEN })
    await said(server, /serving on (\S+)/)
    const url = /serving on (\S+)/.exec(server.stderr())![1]!
    assert.equal(await use(url, [], { SLUICE_TOKEN: TOKEN }), 'hello')
    const client = await connect(url, `127.0.0.1:${target.port}`, [], { SLUICE_TOKEN: TOKEN })
    const running = await connectTo(client.port)
    running.on('error', () => {})
    running.write('runs')
    await receive(running, 4)
    config('streams=0 for env', '!127.0.0.1:1')
    const ended = new Promise((resolve) => running.on('close', resolve))
    await said(server, /configuration file read again: its rules hold, 1 ended that are not allowed any more/)
    await ended
    await client.stop()
    assert.equal(await use(url, [], { SLUICE_TOKEN: TOKEN }), 'closed')
    config('streams=9', `!127.0.0.1:${target.port} for env`)
    await until(() => server.stderr().split('read again').length === 3, 'the second')
    assert.equal(await use(url, [], { SLUICE_TOKEN: TOKEN }), 6)
    config('streams=9', `127.0.0.1:${target.port}`)
    await said(server, /can never match/)
    await server.stop()
  })

  it('refuses to start with what would not do what it says', async () => {
    certificate('ca3', '/CN=x')
    const fresh = certificate('fresh', '/CN=fresh', { names: 'DNS:fresh.example' })
    openssl('x509', '-in', 'fresh.pem', '-signkey', 'fresh.key', '-days', '-1', '-out', 'old.pem')
    const tokens = file('tokens', `ann:${TOKEN}\n`)
    openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      'rsa.key',
      '-out',
      'rsa.pem',
      '-subj',
      '/CN=rsa',
    )
    const mixed = ['--tls-cert', join(folder, 'rsa.pem'), '--tls-key', join(folder, 'rsa.key')]
    const base = ['--token-file', tokens]
    for (const [args, exit, says] of [
      [
        ['--allow', '10.0.0.0/8:*', '--allow', '10.1.0.0/16:22'],
        3,
        /rule 10.1.0.0\/16:22 can never match: 10.0.0.0\/8:\*, which is before it/,
      ],
      [['--allow', '*:*', '--allow', '!*.corp:22'], 3, /rule !\*\.corp:22 can never match/],
      [
        ['--allow', '@web'],
        3,
        /rule @web can never match: there is no such target\nsluice: {3}Name it with --target web=HOST:PORT/,
      ],
      [['--allow-reverse', '*:*', '--allow-reverse', '127.0.0.1:80'], 0, /serving/],
      [
        ['--tls-cert', join(folder, 'old.pem'), '--tls-key', fresh.key],
        3,
        /the certificate of .*fresh.* has expired: /,
      ],
      [
        ['--tls-cert', fresh.cert, '--tls-key', fresh.key, ...mixed],
        3,
        /the certificates have keys of several kinds: ec, rsa\nsluice: {3}Give certificates of one kind/,
      ],
      [['--tls-cert', fresh.cert], 2, /--tls-cert and --tls-key go together/],
      [['--client-ca', fresh.cert], 2, /--client-ca needs TLS/],
      [
        ['--user-header', 'X-User'],
        2,
        /--user-header needs to know which proxy to believe\nsluice: {3}Give its address: --trusted-proxy/,
      ],
      [['--trusted-proxy', 'proxy.corp'], 2, /"proxy.corp" is not the address or network of a proxy/],
      [['--jwt-keys', 'http://issuer.example/jwks'], 2, /needs --jwt-issuer and --jwt-audience/],
      [
        ['--jwt-keys', 'http://issuer.example/jwks', '--jwt-issuer', 'a', '--jwt-audience', 'b'],
        2,
        /is not an https:\/\/ URL/,
      ],
      [['--jwt-keys', tokens, '--jwt-issuer', 'a', '--jwt-audience', 'b'], 3, /tokens is not a JWKS/],
      [['--limit', 'session=1'], 2, /"session=1" is not one of sessions, streams/],
      [['--site', join(folder, 'nosuch')], 3, /nosuch cannot be read/],
      [['--site', 'http://127.0.0.1/path'], 2, /is not the URL of a web server/],
      [['--resolver', 'dns.corp'], 2, /--resolver dns.corp: .*\nsluice: {3}Write an address/],
      [['--no-auth'], 2, /contradict each other/],
    ] as const) {
      const running = sluice(['serve', '--listen', '0', ...base, ...args])
      if (exit === 0) {
        await said(running, says)
        await running.stop()
        continue
      }
      assert.equal(await running.exited, exit, `${args.join(' ')}: ${running.stderr()}`)
      assert.match(running.stderr(), says)
    }
    const bad = sluice([
      'serve',
      '--listen',
      '0',
      '--token-file',
      file('cheap', 'ann:$scrypt$ln=10,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g\n'),
    ])
    assert.equal(await bad.exited, 2)
    assert.match(bad.stderr(), /the hash of the password is not/)
  })
})
