// The PROXY protocol with those who speak it: HAProxy in front of sluice, nginx as the target.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { need, which } from '../helpers/need.js'
import { closedPort, receiveAll } from '../helpers/net.js'
import { type Running, said, serve, start, untilOpen } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

const ENV = { SLUICE_TOKEN: TOKEN }

describe('the client’s address', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-proxied-'))
  let nginx: Running | undefined
  let webPort = 0

  before(async () => {
    if (which('nginx') === undefined) return
    webPort = await closedPort()
    const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `${name}_temp_path ${folder}/${name};`,
    )
    mkdirSync(join(folder, 'logs'))
    writeFileSync(
      join(folder, 'nginx.conf'),
      `daemon off; pid ${folder}/pid; error_log stderr crit; events {}
http { access_log off; ${temp.join(' ')} server { listen 127.0.0.1:${webPort} proxy_protocol;
location / { return 200 "client $proxy_protocol_addr\\n"; } } }`,
    )
    nginx = start(which('nginx')!, ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')])
    await untilOpen(webPort, nginx)
  })

  after(async () => {
    await nginx?.stop()
    rmSync(folder, { recursive: true })
  })

  /** A request to nginx over a WebSocket that comes from another address of loopback. */
  async function ask(url: string): Promise<string> {
    const ws = new WebSocket(`${url}/tcp/127.0.0.1/${webPort}`, ['binary'], {
      localAddress: '127.0.0.5',
      headers: { Authorization: `Bearer ${TOKEN}` },
      rejectUnauthorized: false,
    })
    let text = ''
    ws.on('message', (data: Buffer) => (text += data.toString()))
    await once(ws, 'open')
    ws.send(Buffer.from('GET / HTTP/1.0\r\n\r\n'))
    await once(ws, 'close')
    return text
  }

  for (const [version, option, flags] of [
    ['v1', 'send-proxy', []],
    ['v2', 'send-proxy-v2', []],
    ['v2 before TLS', 'send-proxy-v2', ['--tls-self-signed']],
  ] as const) {
    it(`comes from HAProxy (${version}) and goes on to nginx, as ${version.slice(0, 2)}`, async (t) => {
      if (!need(t, 'haproxy', 'nginx')) return
      const target = `127.0.0.1:${webPort}`
      const server = await serve(
        [
          '--allow',
          target,
          '--proxy-protocol-from',
          '127.0.0.1',
          '--send-proxy-protocol',
          `${target}=${version.slice(0, 2)}`,
          ...flags,
          '-v',
        ],
        ENV,
      )
      const port = await closedPort()
      writeFileSync(
        join(folder, 'haproxy.cfg'),
        `defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen tunnel
  bind 127.0.0.1:${port}
  server sluice 127.0.0.1:${server.port} ${option}
`,
      )
      const haproxy = start(which('haproxy')!, ['-db', '-f', join(folder, 'haproxy.cfg')])
      try {
        await untilOpen(port, haproxy)
        assert.match(await ask(`${flags.length > 0 ? 'wss' : 'ws'}://127.0.0.1:${port}`), /client 127\.0\.0\.5\n/)
        await said(server, /127\.0\.0\.5:\d+ \(env\): \S+ opened/)
      } finally {
        await haproxy.stop()
        await server.stop()
      }
    })
  }

  it('is believed of nobody else, and a proxy that does not tell it is not served', async () => {
    const forged =
      'PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
    const plain = forged.slice(forged.indexOf('GET'))
    const answers = async (flags: string[], text: string, told?: RegExp) => {
      const server = await serve(flags, ENV)
      const socket = net.connect(server.port, '127.0.0.1')
      socket.write(text)
      const { bytes } = await receiveAll(socket)
      if (told !== undefined) await said(server, told)
      await server.stop()
      return bytes.toString('latin1')
    }
    assert.match(await answers([], forged), /^HTTP\/1\.1 400/)
    assert.match(await answers(['--proxy-protocol-from', '10.0.0.0/8'], forged), /^HTTP\/1\.1 400/)
    assert.match(await answers(['--proxy-protocol-from', '127.0.0.0/8'], forged), /^HTTP\/1\.1 200/)
    assert.equal(
      await answers(['--proxy-protocol-from', '127.0.0.0/8'], plain, /no header of the PROXY protocol came first/),
      '',
    )
    assert.match(await answers(['--proxy-protocol-from', '10.0.0.0/8'], plain), /^HTTP\/1\.1 200/)
  })
})
