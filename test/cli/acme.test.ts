// Certificates by ACME, from Pebble, a CA made for tests.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { type DnsServer, dnsServer } from '../helpers/dns.js'
import { need, which } from '../helpers/need.js'
import { closedPort } from '../helpers/net.js'
import { type Running, said, sluice, start, untilOpen } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

describe('certificates by ACME', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-acme-'))
  const name = 'tunnel.test'
  let dns: DnsServer
  let pebble: Running | undefined
  let directory = ''
  let httpPort = 0
  let tlsPort = 0

  before(async () => {
    const program = which('pebble')
    if (program === undefined) return
    const ports = [await closedPort(), await closedPort(), await closedPort(), await closedPort()]
    ;[httpPort, tlsPort] = [ports[0]!, ports[1]!]
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    const files = ['-keyout', join(folder, 'pebble.key'), '-out', join(folder, 'pebble.pem')]
    const names = ['-addext', 'subjectAltName=IP:127.0.0.1']
    execFileSync('openssl', ['req', '-x509', ...key, ...files, '-subj', '/CN=pebble', ...names], { stdio: 'pipe' })
    const config = {
      pebble: {
        listenAddress: `127.0.0.1:${ports[2]}`,
        managementListenAddress: `127.0.0.1:${ports[3]}`,
        certificate: join(folder, 'pebble.pem'),
        privateKey: join(folder, 'pebble.key'),
        httpPort,
        tlsPort,
      },
    }
    writeFileSync(join(folder, 'pebble.json'), JSON.stringify(config))
    dns = await dnsServer({ [name]: [['127.0.0.1']] })
    const env = { ...process.env, PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0' }
    pebble = start(program, ['-config', join(folder, 'pebble.json'), '-dnsserver', dns.address], { env })
    await untilOpen(ports[2]!, pebble)
    directory = `https://127.0.0.1:${ports[2]}/dir`
  })
  after(async () => {
    await pebble?.stop()
    dns?.close()
    rmSync(folder, { recursive: true })
  })

  function serve(state: string, ...args: string[]): Running {
    const flags = ['--acme-domain', name, '--acme-directory', directory, '--acme-folder', join(folder, state)]
    const env = { SLUICE_TOKEN: TOKEN, NODE_EXTRA_CA_CERTS: join(folder, 'pebble.pem') }
    return sluice(['serve', ...flags, ...args], env)
  }

  const issuerAt = (port: number) =>
    new Promise<string>((resolve, reject) => {
      const socket = tls.connect({ port, host: '127.0.0.1', servername: name, rejectUnauthorized: false }, () => {
        const { issuer, subjectaltname } = socket.getPeerCertificate()
        resolve(`${issuer.CN} for ${subjectaltname}`)
        socket.destroy()
      })
      socket.on('error', reject)
    })

  for (const [kind, ...args] of [['http-01'], ['tls-alpn-01']]) {
    it(`by ${kind}: got, used, kept, and not asked for again`, async (t) => {
      if (!need(t, 'pebble')) return
      const flags =
        kind === 'http-01' ? ['--acme-http', `127.0.0.1:${httpPort}`, '--listen', '0'] : ['--listen', String(tlsPort)]
      const server = serve(kind!, ...args, ...flags)
      await said(server, /a certificate for tunnel\.test is there, good until/)
      const port = Number(/serving on wss:\/\/\S+:(\d+)/.exec(server.stderr())![1])
      assert.match(await issuerAt(port), /^Pebble Intermediate CA \w+ for DNS:tunnel\.test$/)
      await server.stop()
      const kept = join(folder, kind!)
      assert.deepEqual(readdirSync(kept).sort(), ['account.key', 'certificate.key', 'certificate.pem'])
      for (const file of readdirSync(kept)) assert.equal(statSync(join(kept, file)).mode & 0o77, 0)
      const again = serve(kind!, ...args, ...flags)
      await said(again, /serving on/)
      assert.match(await issuerAt(Number(/serving on wss:\/\/\S+:(\d+)/.exec(again.stderr())![1])), /^Pebble/)
      assert.doesNotMatch(again.stderr(), /is there, good until/)
      await again.stop()
    })
  }

  it('says why there is none, and serves all the same with one of its own', async (t) => {
    if (!need(t, 'pebble')) return
    // Nothing answers where the CA asks.
    const server = serve('none', '--listen', '0')
    await said(server, /no certificate for tunnel\.test: [\s\S]*The CA must reach this server by these names/)
    assert.match(
      await issuerAt(Number(/serving on wss:\/\/\S+:(\d+)/.exec(server.stderr())![1])),
      /for DNS:tunnel\.test$/,
    )
    await server.stop()
    const wrong = serve('none', '--listen', '0', '--acme-domain', 'localhost')
    assert.equal(await wrong.exited, 2)
    assert.match(wrong.stderr(), /"localhost" is not a name like tunnel\.example/)
  })
})
