// Real Chromium: the browser library over one tunnel, and a page of 200 objects through `sluice connect`.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { need, ROOT, which } from '../helpers/need.js'
import { closedPort, connectTo, echo, listen, say, until } from '../helpers/net.js'
import { CLI, connect, run, serve, start } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

const ENV = { SLUICE_TOKEN: TOKEN }
const FLAGS = ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update']

async function serveHttp(handler: http.RequestListener): Promise<{ port: number; close(): void }> {
  const server = http.createServer(handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, close: () => server.close() }
}

/** The browser library in one script, as a page would have it from its bundler; nothing of Node may be in it. */
async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, 'dist', 'client', 'index.js')],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    minify: true,
    write: false,
  })
  return outputFiles[0]!.text
}

/** Runs in the page: Redis and PostgreSQL's start-up at once, over one tunnel. */
const PAGE = `
  import { connect } from '/sluice.js'
  window.run = async (url, token, redisPort, databasePort) => {
    const tunnel = await connect(url, { token: async () => token })
    const text = new TextDecoder()
    const read = async (socket, enough) => {
      const reader = socket.readable.getReader()
      const chunks = []
      for (let all = new Uint8Array(); ; ) {
        const { value, done } = await reader.read()
        if (value) { chunks.push(value); all = new Uint8Array(await new Blob(chunks).arrayBuffer()) }
        if (done || enough(all)) return all
      }
    }
    const redis = async () => {
      const value = crypto.getRandomValues(new Uint8Array(65536))
      const socket = tunnel.connect({ hostname: '127.0.0.1', port: redisPort })
      const writer = socket.writable.getWriter()
      const head = new TextEncoder().encode('*3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$65536\\r\\n')
      const tail = new TextEncoder().encode('\\r\\n*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nk\\r\\n*1\\r\\n$4\\r\\nQUIT\\r\\n')
      for (const part of [head, value, tail]) await writer.write(part)
      const answer = await read(socket, () => false)
      const got = answer.subarray('+OK\\r\\n$65536\\r\\n'.length, -'\\r\\n+OK\\r\\n'.length)
      return got.length === 65536 && got.every((byte, index) => byte === value[index])
    }
    const database = async () => {
      const socket = tunnel.connect({ hostname: '127.0.0.1', port: databasePort })
      const writer = socket.writable.getWriter()
      await writer.write(Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47))
      const { remoteAddress } = await socket.opened
      return [text.decode(await read(socket, (all) => all.length >= 1)), remoteAddress]
    }
    const refused = async () => tunnel.connect({ hostname: '127.0.0.1', port: 1 }).opened.catch((error) => error.code)
    const results = await Promise.all([redis(), database(), refused()])
    await tunnel.close()
    return results
  }
  window.overHttp = async (url, token, port) => {
    // A WebSocket that never opens, as where it is blocked.
    class Blocked { constructor() { setTimeout(() => this.onclose?.({ code: 1006, reason: '' }), 5) } close() {} }
    const tunnel = await connect(url, { token, WebSocket: Blocked })
    const socket = tunnel.connect({ hostname: '127.0.0.1', port })
    const writer = socket.writable.getWriter()
    const value = crypto.getRandomValues(new Uint8Array(65536))
    const wanted = 32 * value.length
    const writing = (async () => { for (let i = 0; i < 32; i++) await writer.write(value) })()
    const reader = socket.readable.getReader()
    let came = 0
    let wrong = 0
    while (came < wanted) {
      const { value: bytes, done } = await reader.read()
      if (done) break
      for (const byte of bytes) if (byte !== value[came++ % value.length]) wrong++
    }
    await writing
    await tunnel.close()
    return [came === wanted, wrong]
  }
  window.byTicket = async (url, ports) => {
    const tunnel = await connect(url, { token: () => fetch('/my-ticket', { cache: 'no-store' }).then((answer) => answer.text()) })
    const ask = async (port) => {
      const socket = tunnel.connect({ hostname: '127.0.0.1', port })
      try {
        await socket.opened
        const writer = socket.writable.getWriter()
        await writer.write(new TextEncoder().encode('hello'))
        const { value } = await socket.readable.getReader().read()
        return new TextDecoder().decode(value)
      } catch (error) {
        return error.code
      }
    }
    const answers = []
    for (const port of ports) answers.push(await ask(port))
    await tunnel.close()
    return answers
  }
  window.ready = true
`

describe('in Chromium', () => {
  it('the library speaks Redis and the start-up of PostgreSQL over one tunnel', async (t) => {
    if (!need(t, 'chromium', 'redis-server')) return
    const script = await bundle()
    assert.ok(script.length < 85_000, `the bundle has ${script.length} bytes`)
    assert.doesNotMatch(script, /node:/)
    // What PostgreSQL answers an SSLRequest with, when it has no TLS.
    const database = await listen((socket) => socket.once('data', () => socket.write('N')))
    const redisPort = await closedPort()
    const redis = start(which('redis-server')!, ['--port', String(redisPort), '--bind', '127.0.0.1', '--save', ''])
    await until(() => /Ready to accept|ready to accept/.test(redis.stdout()), 'Redis')
    ;(await connectTo(redisPort)).destroy()
    const site = await serveHttp((request, response) => {
      const isScript = request.url === '/sluice.js'
      response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html')
      response.end(isScript ? script : `<script type="module">${PAGE}</script>`)
    })
    const origin = `http://127.0.0.1:${site.port}`
    const server = await serve(['--allow', `127.0.0.1:${redisPort},${database.port}`, '--origin', origin], ENV)
    const browser = await chromium.launch({ executablePath: which('chromium')!, args: FLAGS })
    try {
      const page = await browser.newPage()
      await page.goto(origin)
      await page.waitForFunction('window.ready')
      const call = `window.run(${JSON.stringify(server.url)}, ${JSON.stringify(TOKEN)}, ${redisPort}, ${database.port})`
      const results = await page.evaluate(call)
      assert.deepEqual(results, [true, ['N', `127.0.0.1:${database.port}`], 'EACCES'])
    } finally {
      await browser.close()
      await server.stop()
      await redis.stop()
      await database.close()
      site.close()
    }
  })

  it('the library gets through over requests of fetch, where WebSocket is blocked', async (t) => {
    if (!need(t, 'chromium')) return
    const script = await bundle()
    const target = await listen(echo)
    const site = await serveHttp((request, response) => {
      const isScript = request.url === '/sluice.js'
      response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html')
      response.end(isScript ? script : `<script type="module">${PAGE}</script>`)
    })
    const origin = `http://127.0.0.1:${site.port}`
    const server = await serve(['--allow', `127.0.0.1:${target.port}`, '--origin', origin], ENV)
    const browser = await chromium.launch({ executablePath: which('chromium')!, args: FLAGS })
    try {
      const page = await browser.newPage()
      await page.goto(origin)
      await page.waitForFunction('window.ready')
      const call = `window.overHttp(${JSON.stringify(server.url)}, ${JSON.stringify(TOKEN)}, ${target.port})`
      assert.deepEqual(await page.evaluate(call), [true, 0])
    } finally {
      await browser.close()
      await server.stop()
      await target.close()
      site.close()
    }
  })

  it('two users with rules of their own, over TLS: one by a token, one a page with a ticket (docs/operations.md)', async (t) => {
    if (!need(t, 'chromium', 'openssl')) return
    const folder = mkdtempSync(join(tmpdir(), 'sluice-page-'))
    const [tokens, cert, key] = ['tokens', 'cert.pem', 'key.pem'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ]
    const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert]
    await run('openssl', ['req', '-x509', ...made, '-subj', '/CN=x', '-addext', 'subjectAltName=IP:127.0.0.1'])
    const [database, cache] = [await listen(echo), await listen(echo)]
    const token = async (name: string, port: number) => {
      const rule = ['--allow', `127.0.0.1:${port}`]
      const { stdout } = await run(process.execPath, [CLI, 'token', 'new', name, '--token-file', tokens, ...rule])
      return stdout.trim()
    }
    const [ann, web] = [await token('ann', database.port), await token('web', cache.port)]
    let ticketAt = ''
    const script = await bundle()
    const site = await serveHttp((request, response) => {
      if (request.url === '/my-ticket') {
        const asked = https.request(ticketAt, {
          method: 'POST',
          ca: readFileSync(cert),
          headers: { Authorization: `Bearer ${web}` },
        })
        asked.on('response', async (answer) => response.end(JSON.parse(String(await answer.toArray())).ticket))
        return void asked.end()
      }
      const isScript = request.url === '/sluice.js'
      response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html')
      response.end(isScript ? script : `<script type="module">${PAGE}</script>`)
    })
    const origin = `http://127.0.0.1:${site.port}`
    const server = await serve(['--tls-cert', cert, '--tls-key', key, '--token-file', tokens, '--origin', origin])
    ticketAt = `${server.url.replace('wss', 'https')}/ticket`
    const client = await connect(server.url, `127.0.0.1:${database.port}`, ['--ca', cert], { SLUICE_TOKEN: ann })
    const browser = await chromium.launch({
      executablePath: which('chromium')!,
      args: [...FLAGS, '--ignore-certificate-errors'],
    })
    try {
      const local = await connectTo(client.port)
      await say(local, 'by token')
      local.destroy()
      const page = await browser.newPage()
      await page.goto(origin)
      await page.waitForFunction('window.ready')
      const call = `window.byTicket(${JSON.stringify(server.url)}, [${cache.port}, ${database.port}])`
      assert.deepEqual(await page.evaluate(call), ['hello', 'EACCES'])
    } finally {
      await browser.close()
      await client.stop()
      await server.stop()
      await Promise.all([database.close(), cache.close()])
      site.close()
      rmSync(folder, { recursive: true })
    }
  })

  it('a page of 200 objects comes through sluice connect whole', async (t) => {
    if (!need(t, 'chromium')) return
    const body = (index: number) => String(index).repeat(2_000 + index * 37)
    const site = await serveHttp((request, response) => {
      const index = /^\/object\/(\d+)$/.exec(request.url ?? '')?.[1]
      response.setHeader('Content-Type', 'text/html')
      response.end(index === undefined ? '<title>200</title>' : body(Number(index)))
    })
    const server = await serve(['--allow', `127.0.0.1:${site.port}`], ENV)
    const tunnel = await connect(server.url, `127.0.0.1:${site.port}`, [], ENV)
    const browser = await chromium.launch({ executablePath: which('chromium')!, args: FLAGS })
    try {
      const page = await browser.newPage()
      await page.goto(`http://127.0.0.1:${tunnel.port}/`)
      const load =
        'Promise.all(Array.from({ length: 200 }, async (_, i) => (await (await fetch("/object/" + i)).text()).length))'
      const lengths = await page.evaluate(load)
      assert.deepEqual(
        lengths,
        Array.from({ length: 200 }, (_, index) => body(index).length),
      )
    } finally {
      await browser.close()
      await tunnel.stop()
      await server.stop()
      site.close()
    }
  })
})
