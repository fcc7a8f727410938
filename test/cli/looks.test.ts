// How requests look: header fields from a file, another Host, another name for TLS, and cookies of a gateway.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parseServerUrl } from '#src/config/index.js'
import { CookieJar, clientLink } from '#src/node/index.js'
import { connectTo, echo, type Listening, listen, receive, until } from '../helpers/net.js'
import { box } from '../helpers/obstacles.js'
import { connect, serve, sluice } from '../helpers/process.js'
import { startServer, TOKEN } from '../helpers/rig.js'

describe('how requests look', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-looks-'))
  let target: Listening
  before(async () => {
    target = await listen(echo)
  })
  after(async () => {
    await target.close()
    rmSync(folder, { recursive: true })
  })

  it('fields of a file, read again for each connection', async () => {
    const headers = join(folder, 'headers')
    const write = (text: string) => writeFileSync(headers, text, { mode: 0o600 })
    const flags = ['--trusted-proxy', '127.0.0.0/8', '--user-header', 'X-Forwarded-User']
    const server = await serve([...flags, '--allow', `127.0.0.1:${target.port} for proxy:ann`])
    write('# who we are\n\nX-Forwarded-User: ann\nX-Other: 1\n')
    const client = await connect(server.url, `127.0.0.1:${target.port}`, ['--header-file', headers, '--plain'])
    const use = async () => {
      const socket = await connectTo(client.port)
      socket.write('hello')
      const got = await receive(socket, 5).then(String, () => 'closed')
      socket.destroy()
      return got
    }
    assert.equal(await use(), 'hello')
    write('X-Forwarded-User: eve\n')
    assert.equal(await use(), 'closed')
    write('X-Forwarded-User: ann\n')
    assert.equal(await use(), 'hello')
    // One that is being written leaves what was there.
    rmSync(headers)
    assert.equal(await use(), 'hello')
    await Promise.all([client.stop(), server.stop()])
    const wrong = join(folder, 'wrong')
    writeFileSync(wrong, 'no colon\n', { mode: 0o600 })
    const refused = sluice(['connect', server.url, '-L', '0:a:1', '--header-file', wrong])
    assert.equal(await refused.exited, 2)
    assert.match(refused.stderr(), /"no colon" is not "Name: value"/)
  })

  it('another Host, and another name for TLS, which is verified', async () => {
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert]
    const names = ['-subj', '/CN=front', '-addext', 'subjectAltName=DNS:front.example']
    execFileSync('openssl', ['req', '-x509', ...made, ...names], { stdio: 'pipe' })
    const allow = ['--allow', `127.0.0.1:${target.port}`, '--host', 'hidden.example']
    const server = await serve(['--tls-cert', cert, '--tls-key', key, ...allow], { SLUICE_TOKEN: TOKEN })
    for (const way of ['websocket', 'http2', 'poll']) {
      const flags = ['--ca', cert, '--sni', 'front.example', '-H', 'Host: hidden.example', '--transport', way]
      const client = await connect(server.url, `127.0.0.1:${target.port}`, flags, { SLUICE_TOKEN: TOKEN })
      const socket = await connectTo(client.port)
      socket.write('hello')
      assert.equal(String(await receive(socket, 5)), 'hello')
      socket.destroy()
      await client.stop()
    }
    const exit = async (...flags: string[]) => {
      const client = sluice(['connect', server.url, '-L', '0:a:1', '--no-retry', '--ca', cert, ...flags], {
        SLUICE_TOKEN: TOKEN,
      })
      return [await client.exited, client.stderr()] as const
    }
    assert.equal((await exit())[0], 4, 'the certificate is not for the address')
    assert.equal((await exit('--sni', 'other.example'))[0], 4)
    const [code, says] = await exit('--sni', 'front.example', '-H', 'Host: other.example')
    assert.equal(code, 6)
    assert.match(says, /this Host is not one of this server/)
    await server.stop()
  })

  it('a cookie that a gateway sets is shown again', async () => {
    const { server, bound } = await startServer({ allow: [`127.0.0.1:${target.port}`] })
    const seen: (string | undefined)[] = []
    const gateway = await box(bound.port, {
      up: (bytes) => {
        const text = bytes.toString('latin1')
        if (text.startsWith('GET ')) seen.push(/\r\nCookie: ([^\r]*)/.exec(text)?.[1])
        return bytes
      },
      down: (bytes) => {
        const text = bytes.toString('latin1')
        return text.startsWith('HTTP/1.1 101')
          ? Buffer.from(text.replace('\r\n', `\r\nSet-Cookie: lb=node${seen.length}; Path=/; HttpOnly\r\n`), 'latin1')
          : bytes
      },
    })
    const url = parseServerUrl(`ws://127.0.0.1:${gateway.port}`)
    const link = clientLink({ url, token: TOKEN, carriers: 2, transport: 'websocket', cookies: new CookieJar() })
    await link.connect()
    await until(() => seen.length === 2, 'the second WebSocket')
    assert.deepEqual(seen, [undefined, 'lb=node1'])
    await link.close()
    await gateway.close()
    await server.close(0)
  })

  it('cookies: the last one of a name, until it ends, and nothing that is none', () => {
    const jar = new CookieJar()
    assert.equal(jar.field(0), undefined)
    jar.take(
      [
        'a=1; Path=/',
        'b = two words ; Max-Age=10',
        'c=3; Expires=Thu, 01 Jan 1970 00:00:20 GMT',
        '=x',
        'nothing',
        'e=; secure',
      ],
      0,
    )
    assert.equal(jar.field(0), 'a=1; b=two words; c=3; e=')
    assert.equal(jar.field(10_000), 'a=1; c=3; e=')
    assert.equal(jar.field(20_000), 'a=1; e=')
    jar.take(['a=2', 'e=gone; Max-Age=0', 'f=1; Max-Age=5; Expires=Thu, 01 Jan 1970 00:00:01 GMT'], 2_000)
    assert.equal(jar.field(2_000), 'b=two words; c=3; a=2; f=1')
    jar.take(
      Array.from({ length: 60 }, (_, i) => `n${i}=1`),
      0,
    )
    assert.equal(jar.field(0)!.split('; ').length, 50)
  })
})
