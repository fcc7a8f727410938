// Tokens and certificates change while a server runs: what is new is let in, and what a change forbids ends, and only that.
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { generate } from 'selfsigned'
import { connectTo, echo, type Listening, listen, receive } from '../helpers/net.js'
import { connect, type Running, said, serve, sluice } from '../helpers/process.js'

describe('what changes while a server runs', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-reload-'))
  const file = join(folder, 'tokens')
  let target: Listening

  before(async () => {
    target = await listen(echo)
  })

  after(async () => {
    await target.close()
    rmSync(folder, { recursive: true })
  })

  async function token(...args: string[]): Promise<{ code: number | string; out: string; err: string }> {
    const running = sluice(['token', ...args, '--token-file', file])
    const code = await running.exited
    return { code, out: running.stdout(), err: running.stderr() }
  }

  async function ping(socket: net.Socket): Promise<void> {
    socket.write('ping')
    assert.equal((await receive(socket, 4)).toString(), 'ping')
  }

  /** Its end, in whichever way. */
  function closed(socket: net.Socket): Promise<void> {
    socket.on('error', () => {})
    return new Promise((resolve) => socket.once('close', () => resolve()))
  }

  async function user(
    url: string,
    secret: string,
    ...flags: string[]
  ): Promise<{ tunnel: Running; socket: net.Socket }> {
    const tunnel = await connect(url, `127.0.0.1:${target.port}`, flags, { SLUICE_TOKEN: secret })
    const socket = await connectTo(tunnel.port)
    await ping(socket)
    return { tunnel, socket }
  }

  it('makes, lists and refuses tokens', async () => {
    const made = await token('new', 'ann', '--expires', '2999-01-31')
    assert.equal(made.code, 0, made.err)
    assert.match(made.out, /^[A-Za-z0-9_-]{32}\n$/)
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.ok(!readFileSync(file, 'utf8').includes(made.out.trim()), 'only its hash is kept')
    const listed = await token('list')
    assert.equal(listed.out, 'ann: until 2999-01-31T23:59:59.999Z\n')
    const again = await token('new', 'ann')
    assert.equal(again.code, 2)
    assert.match(again.err, /the name "ann" stands there twice/)
    const odd = await token('new', 'bob', '--expires', 'tomorrow')
    assert.equal(odd.code, 2)
    assert.match(odd.err, /after the token is not expires=2027-01-31,/)
    const name = await token('new', 'ann smith')
    assert.match(name.err, /the name "ann smith" is not/)
    const day = await token('new', 'bob', '--expires', '2999-02-29')
    assert.match(day.err, /after the token is not expires=2027-01-31,/)
    const nobody = await token('revoke', 'carl')
    assert.match(nobody.err, /has no token of the name "carl"/)
    assert.equal((await token('revoke', 'ann')).code, 0)
    assert.equal((await token('list')).out, '')
  })

  it('lets new tokens in, and ends what a revoked or expired one has open, and only that', async () => {
    const ann = (await token('new', 'ann')).out.trim()
    const server = await serve(['--allow', `127.0.0.1:${target.port}`, '--token-file', file])
    const first = await user(server.url, ann)
    const bob = (await token('new', 'bob')).out.trim()
    await said(server, /token file read again: 2 tokens/)
    const second = await user(server.url, bob)
    const plain = await user(server.url, bob, '--plain')
    const soon = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 3_000).toISOString().replace('.000', '')
    const carl = (await token('new', 'carl', '--expires', soon)).out.trim()
    await said(server, /read again: 3 tokens/)
    const third = await user(server.url, carl)
    const ends = [second, plain, third].map(({ socket }) => closed(socket))
    await token('revoke', 'bob')
    await Promise.all(ends)
    await said(server, /read again: 2 tokens, \d ended that are not allowed any more/)
    await ping(first.socket)
    for (const { tunnel } of [second, third]) {
      assert.equal(await tunnel.exited, 6, tunnel.stderr())
      assert.match(tunnel.stderr(), /the server ended the session: the credentials are not valid any more/)
    }
    const gone = closed(first.socket)
    await token('revoke', 'ann')
    await token('revoke', 'carl')
    await gone
    writeFileSync(file, 'no token file\n')
    await said(server, /is not name:token/)
    await said(server, /the token file stays as it was/)
    await Promise.all([plain.tunnel.stop(), server.stop()])
    rmSync(file)
  })

  it('takes a new certificate, at a change and at SIGHUP, and keeps the old one when it is broken', async () => {
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    const write = async (name: string) => {
      const made = await generate([{ name: 'commonName', value: name }])
      writeFileSync(key, made.private, { mode: 0o600 })
      writeFileSync(cert, made.cert)
    }
    await write('first')
    const server = await serve(['--tls-cert', cert, '--tls-key', key], { SLUICE_TOKEN: 'a-token-for-this-test-0123' })
    const served = () =>
      new Promise<string>((resolve, reject) => {
        const socket = tls.connect({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false })
        socket.once('error', reject)
        socket.once('secureConnect', () => {
          resolve(socket.getPeerX509Certificate()!.subject)
          socket.destroy()
        })
      })
    assert.equal(await served(), 'CN=first')
    await write('second')
    await said(server, /certificate read again/)
    assert.equal(await served(), 'CN=second')
    writeFileSync(cert, 'broken')
    await said(server, /cannot be used[\s\S]*the certificate stays as it was/)
    assert.equal(await served(), 'CN=second')
    chmodSync(folder, 0o700)
    await write('third')
    server.child.kill('SIGHUP')
    let subject = ''
    for (let tries = 0; tries < 100 && subject !== 'CN=third'; tries++) subject = await served()
    assert.equal(subject, 'CN=third')
    await server.stop()
  })

  it('takes the rules of its configuration file, ends what they forbid, and says what waits for a restart', async () => {
    const other = await listen(echo)
    const config = join(folder, 'sluice.yaml')
    const write = (...lines: string[]) =>
      writeFileSync(config, ['serve:', ...lines.map((line) => `  ${line}`)].join('\n'))
    write(`allow: ["127.0.0.1:${target.port}", "127.0.0.1:${other.port}"]`)
    const env = { SLUICE_TOKEN: 'a-token-for-the-reload-of-rules' }
    const server = await serve(['--config', config], env)
    const [stays, goes] = await Promise.all(
      [target, other].map((to) => connect(server.url, `127.0.0.1:${to.port}`, [], env)),
    )
    const kept = await connectTo(stays!.port)
    const lost = await connectTo(goes!.port)
    await ping(kept)
    await ping(lost)
    const gone = closed(lost)
    write(`allow: ["127.0.0.1:${target.port}"]`, 'grace: 5s')
    await said(server, /configuration file read again: its rules hold, 1 ended .*; only a restart changes grace/)
    await gone
    await ping(kept)
    write('allow: ["127.0.0.1:1", "no rule"]', 'grcae: 5s')
    await said(server, /has 2 problems[\s\S]*Did you mean grace[\s\S]*the configuration file stays as it was/)
    await ping(kept)
    kept.destroy()
    await Promise.all([stays!.stop(), goes!.stop(), server.stop()])
    await other.close()
  })
})
