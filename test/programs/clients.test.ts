// Programs that know nothing of sluice, through every kind of forward: git, redis-cli, dig, socksify, Chromium, noVNC.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { extname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { chromium } from 'playwright-core'
import { selfSigned } from '#src/server/index.js'
import { need, needRoot, which } from '../helpers/need.js'
import { closedPort } from '../helpers/net.js'
import { CLI, type Running, run, said, serve, sluice, start, untilOpen } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'
import { sshOptions, sshServer } from '../helpers/sshd.js'

const ENV = { SLUICE_TOKEN: TOKEN }
const CHROMIUM = ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update']
const NOVNC = '/usr/share/novnc'

/** git's own server side (git-http-backend), as CGI (RFC 3875) has it. */
function gitBackend(backend: string, root: string): http.RequestListener {
  return (request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://localhost')
    const child = spawn(backend, {
      env: {
        ...process.env,
        GIT_PROJECT_ROOT: root,
        GIT_HTTP_EXPORT_ALL: '1',
        PATH_INFO: pathname,
        QUERY_STRING: searchParams.toString(),
        REQUEST_METHOD: request.method,
        CONTENT_TYPE: request.headers['content-type'],
        HTTP_CONTENT_ENCODING: request.headers['content-encoding'],
        GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    request.pipe(child.stdin)
    let head = Buffer.alloc(0)
    const onHead = (chunk: Buffer) => {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      child.stdout.off('data', onHead)
      for (const line of head.subarray(0, end).toString().split('\r\n')) {
        const [name, value] = line.split(': ') as [string, string]
        if (name === 'Status') response.statusCode = Number.parseInt(value, 10)
        else response.setHeader(name, value)
      }
      response.write(head.subarray(end + 4))
      child.stdout.pipe(response)
    }
    child.stdout.on('data', onHead)
  }
}

/** In the page: the desktop's name and size, once all of it has been drawn; then a key is pressed. */
const LOOK = `async (url, token) => {
  const { default: RFB } = await import('/novnc/core/rfb.js')
  const place = document.createElement('div')
  document.body.append(place)
  const rfb = new RFB(place, url, { wsProtocols: ['binary', 'authorization.bearer.' + token] })
  const name = new Promise((resolve, reject) => {
    rfb.addEventListener('desktopname', ({ detail }) => resolve(detail.name))
    rfb.addEventListener('disconnect', ({ detail }) => reject(new Error('disconnected, clean: ' + detail.clean)))
  })
  await Promise.race([name, new Promise((resolve) => rfb.addEventListener('connect', resolve))])
  const canvas = place.querySelector('canvas')
  while (canvas.width !== 640) await new Promise((resolve) => setTimeout(resolve, 10))
  rfb.sendKey(0x61, 'KeyA')
  return [await name, canvas.width, canvas.height]
}`

describe('programs through forwards', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-clients-'))
  const stops: (() => Promise<unknown>)[] = []
  let server: Awaited<ReturnType<typeof serve>>
  let page: { port: number; seen: string[] }
  let [sshPort, redisPort, gitPort, vncPort] = [0, 0, 0, 0]

  before(async () => {
    ;[sshPort, redisPort, vncPort] = [await closedPort(), await closedPort(), await closedPort()]
    gitPort = await closedPort()
    page = await servePages()
    server = await serve(
      [
        ...['--allow', `127.0.0.1:${sshPort},${redisPort},${gitPort},${vncPort},${page.port}`],
        ...['--allow', `localhost:${gitPort},${page.port}`],
        ...['--origin', `http://127.0.0.1:${page.port}`],
      ],
      ENV,
    )
    stops.push(() => server.stop())
  })

  after(async () => {
    for (const stop of stops.reverse()) await stop()
    rmSync(folder, { recursive: true, force: true })
  })

  /** A web server: one page that says who asked for it by which name, and noVNC. */
  async function servePages(): Promise<{ port: number; seen: string[] }> {
    const seen: string[] = []
    const types: Record<string, string> = { '.js': 'text/javascript', '.html': 'text/html' }
    const web = http.createServer((request, response) => {
      const { pathname } = new URL(request.url!, 'http://localhost')
      const file = pathname.startsWith('/novnc/') ? join(NOVNC, pathname.slice(6)) : undefined
      if (file !== undefined && existsSync(file)) {
        response.setHeader('Content-Type', types[extname(file)] ?? 'application/octet-stream')
        return response.end(readFileSync(file))
      }
      seen.push(`${request.headers.host}${pathname}`)
      response.setHeader('Content-Type', 'text/html')
      return response.end(`<title>it came</title><p>${request.headers.host}`)
    })
    web.listen(0, '127.0.0.1')
    await once(web, 'listening')
    stops.push(async () => {
      web.closeAllConnections()
      web.close()
    })
    return { port: (web.address() as AddressInfo).port, seen }
  }

  async function connect(...flags: string[]): Promise<Running & { port: number }> {
    const running = sluice(['connect', server.url, ...flags], ENV)
    await said(running, /listening on \S+ for/)
    return { ...running, port: Number(/listening on \S+?:(\d+)(?:\/udp)? for/.exec(running.stderr())?.[1]) }
  }

  /** A repository with something in it, and what `git log` says of it. */
  let made: Promise<{ path: string; log: string }> | undefined
  function repository(): Promise<{ path: string; log: string }> {
    made ??= (async () => {
      const path = join(folder, 'source.git')
      const work = join(folder, 'work')
      await run('git', ['init', '-q', work])
      const git = (...args: string[]) =>
        run('git', ['-C', work, '-c', 'user.name=a', '-c', 'user.email=a@example', ...args])
      for (let i = 0; i < 3; i++) {
        writeFileSync(join(work, `file-${i}`), randomBytes(1024 * 1024))
        await git('add', '.')
        await git('commit', '-q', '-m', `number ${i}`)
      }
      await run('git', ['clone', '-q', '--bare', work, path])
      return { path, log: (await git('log', '--format=%H %s')).stdout }
    })()
    return made
  }

  async function cloned(url: string, config: string[], env: NodeJS.ProcessEnv): Promise<string> {
    const copy = mkdtempSync(join(folder, 'clone-'))
    await run('git', [...config.flatMap((one) => ['-c', one]), 'clone', '-q', url, copy], {
      env: { ...process.env, GIT_TERMINAL_PROMPT: '0', ...env },
    })
    await run('git', ['-C', copy, 'fsck', '--strict'])
    return (await run('git', ['-C', copy, 'log', '--format=%H %s'])).stdout
  }

  it('git clone over SSH: through -L, and through stdio as ProxyCommand', async (t) => {
    if (!need(t, 'git', 'sshd', 'ssh', 'ssh-keygen') || !needRoot(t)) return
    const { path, log } = await repository()
    const { keys, stop } = await sshServer(join(folder, 'ssh'), sshPort)
    stops.push(stop)
    const tunnel = await connect('-L', `0:127.0.0.1:${sshPort}`)
    const proxy = [process.execPath, CLI, 'stdio', server.url, `127.0.0.1:${sshPort}`].join(' ')
    const quoted = sshOptions(keys).map((part) => `'${part}'`)
    const user = userInfo().username
    const ssh = (more: string) => ({ ...ENV, HOME: folder, GIT_SSH_COMMAND: `ssh ${quoted.join(' ')} ${more}` })
    assert.equal(await cloned(`ssh://${user}@127.0.0.1:${tunnel.port}${path}`, [], ssh('')), log)
    assert.equal(await cloned(`ssh://${user}@far${path}`, [], ssh(`-o 'ProxyCommand=${proxy}'`)), log)
    await tunnel.stop()
  })

  it('git clone over HTTPS: through -D, as SOCKS and as HTTP proxy', async (t) => {
    const [git] = need(t, 'git') ?? []
    if (git === undefined) return
    const { log } = await repository()
    const certificate = await selfSigned(['localhost'])
    const ca = join(folder, 'ca.pem')
    writeFileSync(ca, certificate.cert)
    const backend = join((await run(git, ['--exec-path'])).stdout.trim(), 'git-http-backend')
    const web = https.createServer({ cert: certificate.cert, key: certificate.key }, gitBackend(backend, folder))
    web.listen(gitPort, '127.0.0.1')
    await once(web, 'listening')
    const tunnel = await connect('-D', '0')
    for (const scheme of ['socks5h', 'http']) {
      const config = [`http.proxy=${scheme}://127.0.0.1:${tunnel.port}`]
      assert.equal(
        await cloned(`https://localhost:${gitPort}/source.git`, config, { no_proxy: '', GIT_SSL_CAINFO: ca }),
        log,
      )
    }
    await tunnel.stop()
    web.closeAllConnections()
    web.close()
  })

  it('redis-cli through -L: sets, gets, and pipes ten thousand commands', async (t) => {
    const [redis] = need(t, 'redis-server', 'redis-cli') ?? []
    if (redis === undefined) return
    const args = ['--port', String(redisPort), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
    const running = start(redis, args, { cwd: folder })
    stops.push(() => running.stop())
    await untilOpen(redisPort, running)
    const tunnel = await connect('-L', `0:127.0.0.1:${redisPort}`)
    const cli = (args: string[], input?: string) =>
      run('redis-cli', ['-h', '127.0.0.1', '-p', String(tunnel.port), ...args], {
        ...(input === undefined ? {} : { input: Buffer.from(input) }),
      })
    assert.match((await cli(['set', 'key', 'value'])).stdout, /^OK/)
    assert.match((await cli(['get', 'key'])).stdout, /^value/)
    const many = Array.from({ length: 10_000 }, (_, i) => `SET k${i} ${i}\r\n`).join('')
    assert.match((await cli(['--pipe'], many)).stdout, /errors: 0, replies: 10000/)
    await tunnel.stop()
  })

  it('dig through -L with /udp; drill under socksify, by UDP ASSOCIATE', async (t) => {
    if (!need(t, 'dnsmasq', 'dig', 'drill', 'socksify', 'unshare', 'nsenter', 'ip') || !needRoot(t)) return
    // socksify goes directly to addresses of its machine's interfaces: in a namespace of its own there is one that is none of them.
    const setUp = 'ip link set lo up && ip route add local 198.51.100.0/24 dev lo && echo there && exec sleep 300'
    const holder = start('unshare', ['-n', 'sh', '-c', setUp])
    const inside = (program: string, args: string[], env: NodeJS.ProcessEnv = {}) =>
      start('nsenter', ['-t', String(holder.child.pid), '-n', program, ...args], { env: { ...process.env, ...env } })
    const all = [holder]
    try {
      while (!/there/.test(holder.stdout())) await new Promise((resolve) => setTimeout(resolve, 10))
      const answers = ['--address=/db.example/10.1.2.3', '--no-resolv', '--no-hosts', '--conf-file=/dev/null']
      const where = ['--no-daemon', '--port=53', '--listen-address=198.51.100.53', '--bind-interfaces']
      all.push(inside(which('dnsmasq')!, [...where, ...answers]))
      const far = inside(
        process.execPath,
        [CLI, 'serve', '-v', '--listen', '8443', '--allow', '198.51.100.53:53/udp'],
        ENV,
      )
      all.push(far)
      await said(far, /serving on/)
      const forwards = ['-D', '1080', '-L', '5353:198.51.100.53:53/udp']
      const near = inside(process.execPath, [CLI, 'connect', 'ws://127.0.0.1:8443', ...forwards], ENV)
      all.push(near)
      await said(near, /SOCKS and HTTP proxy/)
      const byForward = inside('dig', ['@127.0.0.1', '-p', '5353', 'db.example', '+short', '+tries=5', '+time=2'])
      assert.equal(await byForward.exited, 0, byForward.stdout())
      assert.equal(byForward.stdout(), '10.1.2.3\n')
      const settings = join(folder, 'socks.conf')
      writeFileSync(
        settings,
        'route {\n from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = 1080\n proxyprotocol: socks_v5\n protocol: tcp udp\n command: connect udpassociate\n method: none\n}\n',
      )
      // Not dig: it sends by calls that socksify does not know.
      const bySocks = inside('socksify', ['drill', '-Q', '@198.51.100.53', 'db.example'], { SOCKS_CONF: settings })
      assert.equal(await bySocks.exited, 0, bySocks.stdout())
      assert.equal(bySocks.stdout(), '10.1.2.3\n')
      // Not directly, and not the answer of the first: the server had two flows.
      assert.equal(far.stderr().match(/198\.51\.100\.53:53\/udp opened/g)?.length, 2, far.stderr())
    } finally {
      for (const one of all.reverse()) await one.stop('SIGKILL')
    }
  })

  for (const scheme of ['socks5', 'http']) {
    it(`Chromium with --proxy-server=${scheme}://…: the name is resolved on the far side`, async (t) => {
      const [program] = need(t, 'chromium') ?? []
      if (program === undefined) return
      const tunnel = await connect('-D', '0')
      const browser = await chromium.launch({
        executablePath: program,
        // Without <-loopback> Chromium uses no proxy for localhost.
        args: [...CHROMIUM, `--proxy-server=${scheme}://127.0.0.1:${tunnel.port}`, '--proxy-bypass-list=<-loopback>'],
      })
      try {
        const tab = await browser.newPage()
        await tab.goto(`http://localhost:${page.port}/by-${scheme}`)
        assert.equal(await tab.title(), 'it came')
        assert.ok(page.seen.includes(`localhost:${page.port}/by-${scheme}`))
        const refused = await tab.goto(`http://localhost:${await closedPort()}/`).then(
          (response) => `${response?.status()} ${response?.statusText()}`,
          (error: Error) => error.message,
        )
        assert.match(refused, scheme === 'http' ? /^403 Forbidden/ : /ERR_SOCKS_CONNECTION_FAILED/)
      } finally {
        await browser.close()
        await tunnel.stop()
      }
    })
  }

  it("noVNC's client in Chromium, through plain mode, sees and moves a desktop of TigerVNC's", async (t) => {
    const [program, vnc] = need(t, 'chromium', 'Xtigervnc', join(NOVNC, 'core', 'rfb.js')) ?? []
    if (program === undefined || vnc === undefined) return
    mkdirSync('/tmp/.X11-unix', { recursive: true, mode: 0o1777 })
    const desktop = start(vnc, [
      `:${vncPort}`,
      ...['-rfbport', String(vncPort), '-SecurityTypes', 'None', '-localhost', '-geometry', '640x480', '-depth', '24'],
      ...['-desktop', 'a far desktop', '-nolisten', 'tcp'],
    ])
    stops.push(() => desktop.stop())
    await untilOpen(vncPort, desktop)
    const browser = await chromium.launch({ executablePath: program, args: CHROMIUM })
    try {
      const tab = await browser.newPage()
      await tab.goto(`http://127.0.0.1:${page.port}/`)
      const url = `${server.url}/tcp/127.0.0.1/${vncPort}`
      const seen = await tab.evaluate(`(${LOOK})(${JSON.stringify(url)}, ${JSON.stringify(TOKEN)})`)
      assert.deepEqual(seen, ['a far desktop', 640, 480])
    } finally {
      await browser.close()
    }
  })
})
