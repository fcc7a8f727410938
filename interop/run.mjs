// The interop matrix: every WebSocket implementation that the project names, as client of `sluice serve` and as server of
// `sluice connect`. Each pair moves 16 MiB each way at once and compares SHA-256, and is tried on the end of stream, a
// refused target, a target that resets and a reader that stalls. Prints a table; `--json` prints data; `--only NAME`.
import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { join } from 'node:path'
import { freePort } from '../tools/free-port.mjs'
import { python, which } from '../tools/provision.mjs'
import { root } from '../tools/root.mjs'

const MIB = 1024 * 1024
const BULK = 16 * MIB
const STALL = 1_000
const TOKEN = randomBytes(24).toString('base64url')
const COLUMNS = ['16 MiB each way', 'end of stream', 'refused', 'reset', 'stall']
const json = process.argv.includes('--json')
const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1] : undefined
const sha = (bytes) => createHash('sha256').update(bytes).digest('hex')
const children = new Set()

function start(program, args, options = {}) {
  const child = spawn(program, args, { cwd: root, stdio: ['pipe', 'pipe', 'pipe'], ...options })
  children.add(child)
  const running = { child, out: '', err: '' }
  child.stdout.on('data', (chunk) => (running.out += chunk))
  child.stderr.on('data', (chunk) => (running.err += chunk))
  running.done = once(child, 'close').then(([code]) => {
    children.delete(child)
    return code
  })
  running.stop = async () => {
    child.kill('SIGTERM')
    const force = setTimeout(() => child.kill('SIGKILL'), 3_000)
    await running.done
    clearTimeout(force)
  }
  return running
}

async function until(condition, what, milliseconds = 30_000) {
  const deadline = Date.now() + milliseconds
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what()}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** A target that does what the scenario says, and remembers what it saw. */
async function makeTarget() {
  const target = { behave: () => {}, seen: undefined }
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => {})
    target.behave(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  target.port = server.address().port
  target.close = () => server.close()
  return target
}

/** Collects `length` bytes; resolves with their digest. */
function collect(socket, length) {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256')
    let got = 0
    socket.once('close', () => reject(new Error(`the connection was over after ${got} of ${length} bytes`)))
    socket.on('data', (chunk) => {
      got += chunk.length
      hash.update(chunk)
      if (got === length) resolve(hash.digest('hex'))
    })
  })
}

const down = randomBytes(BULK)
const short = randomBytes(MIB)

/** Sets the target for a scenario; resolves with what it received, where that matters. */
function scenario(target, name) {
  return new Promise((resolve) => {
    target.behave = (socket) => {
      if (name === 'transfer' || name === 'stall') {
        if (name === 'stall') socket.pause()
        const received = collect(socket, BULK)
        const written = new Promise((done) => socket.write(down, done))
        if (name === 'stall') setTimeout(() => socket.resume(), STALL)
        Promise.all([received, written]).then(
          ([digest]) => {
            resolve(digest)
            socket.end()
          },
          (error) => resolve(error.message),
        )
      } else if (name === 'eof') {
        socket.end(short)
        socket.resume()
        resolve()
      } else {
        socket.once('data', () => socket.resetAndDestroy())
        resolve()
      }
    }
  })
}

function expect(actual, wanted, what) {
  if (actual !== wanted) throw new Error(`${what}: got ${JSON.stringify(actual)}, expected ${JSON.stringify(wanted)}`)
}

/** A peer as client: `run(url, up, stall)` resolves with {sent, received, count, code, reason, protocol}. */
async function asClient(peer, world) {
  const { target, server } = world
  const url = (port) => `ws://127.0.0.1:${server.port}/tcp/127.0.0.1/${port}`
  const bulk = async (name, stall) => {
    const arrived = scenario(target, name)
    const seen = await peer.run(url(target.port), BULK, stall)
    expect(seen.received, sha(down), 'SHA-256 of what came down')
    expect(await arrived, seen.sent, 'SHA-256 of what went up')
    expect(seen.code, 1000, 'close code')
    expect(seen.protocol, 'binary', 'subprotocol')
  }
  return {
    '16 MiB each way': () => bulk('transfer', 0),
    'end of stream': async () => {
      void scenario(target, 'eof')
      const seen = await peer.run(url(target.port), 0, 0)
      expect(seen.received, sha(short), 'SHA-256')
      expect(seen.code, 1000, 'close code')
    },
    refused: async () => {
      const seen = await peer.run(url(world.closed), 0, 0)
      expect(`${seen.code} ${seen.reason}`, `1011 ECONNREFUSED 127.0.0.1:${world.closed}`, 'close')
    },
    reset: async () => {
      void scenario(target, 'reset')
      const seen = await peer.run(url(target.port), 65536, 0)
      expect(`${seen.code} ${seen.reason}`, `1011 ECONNRESET 127.0.0.1:${target.port}`, 'close')
    },
    stall: () => bulk('stall', peer.cannotStop ? 0 : STALL),
  }
}

/** A peer as server: `start(port, target)` makes it listen. */
async function asServer(peer, world) {
  const { target } = world
  const open = async (port) => {
    const listen = await freePort()
    const server = start(...peer.start(listen, port))
    await until(
      () => peer.ready(server) || server.child.exitCode !== null,
      () => `${peer.name} to listen: ${server.err}`,
    )
    if (!peer.ready(server)) throw new Error(`${peer.name} does not listen: ${server.err.slice(-300)}`)
    const url = `ws://127.0.0.1:${listen}`
    const connect = start(process.execPath, [
      'dist/cli/main.js',
      'connect',
      url,
      '-L',
      `0:127.0.0.1:${port}`,
      '--url-template',
      peer.template,
    ])
    await until(
      () => /listening on \S+:(\d+) for/.test(connect.err) || connect.child.exitCode !== null,
      () => `connect to listen: ${connect.err}`,
    )
    const local = Number(/listening on \S+:(\d+) for/.exec(connect.err)?.[1])
    return { local, connect, stop: () => Promise.all([connect.stop(), server.stop()]) }
  }
  const way = await open(target.port)
  const socketTo = async (port) => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    await once(socket, 'connect')
    return socket
  }
  const ending = (socket) =>
    new Promise((resolve) => {
      socket.once('end', () => resolve('end'))
      socket.once('error', ({ code }) => resolve(code))
    })
  const bulk = async (stall) => {
    const arrived = scenario(target, 'transfer')
    const socket = await socketTo(way.local)
    const up = randomBytes(BULK)
    const end = ending(socket)
    socket.write(up)
    await new Promise((resolve) => setTimeout(resolve, stall))
    expect(await collect(socket, BULK), sha(down), 'SHA-256 of what came down')
    expect(await arrived, sha(up), 'SHA-256 of what went up')
    expect(await end, 'end', 'end of the local connection')
    socket.destroy()
  }
  return {
    stop: way.stop,
    '16 MiB each way': () => bulk(0),
    'end of stream': async () => {
      void scenario(target, 'eof')
      const socket = await socketTo(way.local)
      const end = ending(socket)
      expect(await collect(socket, MIB), sha(short), 'SHA-256')
      expect(await end, 'end', 'end of the local connection')
      socket.destroy()
    },
    refused: async () => {
      const other = await open(world.closed)
      try {
        const socket = await socketTo(other.local)
        socket.resume()
        expect(await ending(socket), 'ECONNRESET', 'end of the local connection')
        await until(
          () => peer.refusal.test(other.connect.err),
          () => `the refusal to be reported: ${other.connect.err}`,
          5_000,
        )
      } finally {
        await other.stop()
      }
    },
    reset: async () => {
      void scenario(target, 'reset')
      const socket = await socketTo(way.local)
      socket.resume()
      const end = ending(socket)
      socket.write('x')
      expect(await end, peer.resetSeen ?? 'ECONNRESET', 'end of the local connection')
    },
    stall: () => bulk(STALL),
  }
}

const classpath = () =>
  ['classes', join('dependency', '*')].map((name) => join(root, 'interop', 'java', 'target', name)).join(':')

/** A client that is a program: `arguments_` then URL, token, bytes up, stall in ms; one line of JSON comes back. */
const program =
  (path, ...fixed) =>
  async (url, up, stall) => {
    const running = start(path, [...fixed, url, TOKEN, String(up), String(stall)])
    if ((await running.done) !== 0) throw new Error(`it failed: ${running.err.slice(-500)}`)
    return JSON.parse(running.out.trim().split('\n').at(-1))
  }

const listening = (running) => running.out.includes('listening')
const KNOWN_1011 = /could not reach 127\.0\.0\.1:\d+ or lost it: ECONNREFUSED/

const CLIENTS = [
  { name: 'Autobahn asyncio (Python)', needs: [python], run: program(python, 'interop/python/client.py', 'asyncio') },
  { name: 'Autobahn Twisted (Python)', needs: [python], run: program(python, 'interop/python/client.py', 'twisted') },
  {
    name: 'Tyrus (Java)',
    needs: ['java', 'mvn'],
    run: (...args) => program('java', '-cp', classpath(), 'sluice.Client')(...args),
  },
  { name: 'Chromium (W3C WebSocket)', needs: ['chromium'], cannotStop: true, run: (...args) => browserRun(...args) },
  { name: 'ws (Node)', needs: [], run: program(process.execPath, 'interop/node/client.mjs') },
]
const SERVERS = [
  {
    name: 'Autobahn asyncio (Python)',
    needs: [python],
    template: '/',
    start: (port, target) => [python, ['interop/python/bridge.py', 'asyncio', String(port), String(target)]],
    ready: listening,
    refusal: /with 4011: ECONNREFUSED/,
  },
  {
    name: 'Autobahn Twisted (Python)',
    needs: [python],
    template: '/',
    start: (port, target) => [python, ['interop/python/bridge.py', 'twisted', String(port), String(target)]],
    ready: listening,
    refusal: /with 4011: ECONNREFUSED/,
  },
  {
    name: 'Tyrus (Java)',
    needs: ['java', 'mvn'],
    template: '/tcp',
    start: (port, target) => ['java', ['-cp', classpath(), 'sluice.Bridge', String(port), String(target)]],
    ready: listening,
    refusal: KNOWN_1011,
  },
  {
    name: 'websockify (Python)',
    needs: [python],
    template: '/websockify',
    start: (port, target) => [python, ['-m', 'websockify', `127.0.0.1:${port}`, `127.0.0.1:${target}`]],
    ready: (running) => /proxying from/.test(running.out + running.err),
    refusal: /could not reach|1011/,
  },
  {
    name: 'ws (Node)',
    needs: [],
    template: '/',
    start: (port, target) => [process.execPath, ['interop/node/bridge.mjs', String(port), String(target)]],
    ready: listening,
    refusal: KNOWN_1011,
  },
]

/** Compiles the Java side when its sources are newer than its classes. */
function buildJava() {
  const folder = join(root, 'interop', 'java')
  const stamp = join(folder, 'target', 'dependency')
  const sources = [
    'pom.xml',
    ...readdirSync(join(folder, 'src', 'main', 'java', 'sluice')).map((file) => `src/main/java/sluice/${file}`),
  ]
  if (
    existsSync(stamp) &&
    sources.every(
      (file) => statSync(join(folder, file)).mtimeMs < statSync(join(folder, 'target', 'classes')).mtimeMs + 60_000,
    )
  )
    return
  const { status, stdout, stderr } = spawnSync('mvn', ['-q', '-B', 'package'], { cwd: folder, encoding: 'utf8' })
  if (status !== 0) throw new Error(`Maven failed: ${(stdout + stderr).slice(0, 800)}`)
}

let browser
async function browserPage() {
  if (browser !== undefined) return browser
  const { chromium } = await import('playwright-core')
  const page = readFileSync(join(root, 'interop', 'browser', 'page.html'))
  const web = http.createServer((_, response) => response.end(page)).listen(world.pagePort, '127.0.0.1')
  const app = await chromium.launch({
    executablePath: which('chromium'),
    args: [
      '--no-sandbox',
      '--disable-quic',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
  const tab = await app.newPage({ viewport: { width: 800, height: 460 } })
  await tab.goto(`http://127.0.0.1:${world.pagePort}/`)
  browser = { tab, version: app.version(), close: async () => (await app.close(), web.close()) }
  return browser
}

async function browserRun(url, up) {
  const { tab } = await browserPage()
  return tab.evaluate(([u, t, n]) => window.transfer(u, t, n), [url, TOKEN, up])
}

/** The page speaks Redis; its screenshot is kept as an artefact. */
async function browserRedis() {
  const redis = start(which('redis-server'), [
    '--port',
    String(world.redisPort),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    '/tmp',
  ])
  try {
    await until(
      () => /Ready to accept connections/.test(redis.out),
      () => `Redis: ${redis.out}`,
    )
    const { tab } = await browserPage()
    const seen = await tab.evaluate(
      ([u, t, n]) => window.redis(u, t, n),
      [`ws://127.0.0.1:${world.server.port}/tcp/127.0.0.1/${world.redisPort}`, TOKEN, `127.0.0.1:${world.redisPort}`],
    )
    expect(
      JSON.stringify(seen),
      JSON.stringify({ pong: '+PONG', set: '+OK', header: '$1048576', equal: true, code: 1000 }),
      'what the page saw',
    )
    mkdirSync(join(root, 'artifacts'), { recursive: true })
    await tab.screenshot({ path: join(root, 'artifacts', 'browser-redis.png') })
  } finally {
    await redis.stop()
  }
}

const world = {
  target: await makeTarget(),
  closed: await freePort(),
  pagePort: await freePort(),
  redisPort: await freePort(),
}

async function startServer() {
  const allow = [world.target.port, world.closed, world.redisPort].join(',')
  const args = [
    'dist/cli/main.js',
    'serve',
    '--listen',
    '0',
    '--allow',
    `127.0.0.1:${allow}`,
    '--origin',
    `http://127.0.0.1:${world.pagePort}`,
  ]
  const running = start(process.execPath, args, {
    env: { ...process.env, SLUICE_TOKEN: TOKEN, SLUICE_LOG_FORMAT: 'text' },
  })
  await until(
    () => /serving on \S+:(\d+)/.test(running.err),
    () => `sluice serve: ${running.err}`,
  )
  return { ...running, port: Number(/serving on \S+:(\d+)/.exec(running.err)[1]) }
}

/** Runs the cells of one row; a cell is '✔', 'skipped: why' or 'FAILED: why'. */
async function row(role, peer, make) {
  const cells = {}
  const missing = peer.needs.filter((name) => !which(name))
  let tries
  try {
    if (missing.length === 0 && peer.name.startsWith('Tyrus')) buildJava()
    tries = missing.length === 0 ? await make(peer, world) : {}
  } catch (error) {
    return {
      role,
      peer: peer.name,
      cells: Object.fromEntries(COLUMNS.map((column) => [column, `FAILED: ${error.message}`])),
    }
  }
  for (const column of COLUMNS) {
    try {
      if (missing.length > 0) cells[column] = `skipped: ${missing.join(', ')} not here`
      else {
        await Promise.race([
          tries[column](),
          new Promise((_, reject) => setTimeout(() => reject(new Error('not done within 60 s')), 60_000).unref()),
        ])
        cells[column] = '✔'
      }
    } catch (error) {
      cells[column] = `FAILED: ${error.message}`
    }
    if (!json) console.error(`${role} · ${peer.name} · ${column}: ${cells[column]}`)
  }
  await tries.stop?.()
  return { role, peer: peer.name, cells }
}

const chosen = (peers) =>
  peers.filter(({ name }) => only === undefined || name.toLowerCase().includes(only.toLowerCase()))
const rows = []
try {
  world.server = await startServer()
  for (const peer of chosen(CLIENTS)) rows.push(await row('client of sluice serve', peer, asClient))
  for (const peer of chosen(SERVERS)) rows.push(await row('server of sluice connect', peer, asServer))
  if (only === undefined || 'redis'.includes(only)) {
    const missing = ['chromium', 'redis-server'].filter((name) => !which(name))
    const cell =
      missing.length > 0
        ? `skipped: ${missing.join(', ')} not here`
        : await browserRedis().then(
            () => '✔',
            (error) => `FAILED: ${error.message}`,
          )
    rows.push({ role: 'page in Chromium', peer: 'Redis: SET and GET of 1 MiB', cells: { '16 MiB each way': cell } })
  }
} finally {
  await browser?.close()
  for (const child of children) child.kill('SIGKILL')
  world.target.close()
}

if (json) console.log(JSON.stringify(rows))
else {
  console.log(`| | ${COLUMNS.join(' | ')} |\n| --- |${COLUMNS.map(() => ' --- |').join('')}`)
  for (const { role, peer, cells } of rows)
    console.log(`| ${peer}, ${role} | ${COLUMNS.map((column) => cells[column] ?? '').join(' | ')} |`)
}
process.exit(rows.some(({ cells }) => Object.values(cells).some((cell) => cell.startsWith('FAILED'))) ? 1 : 0)
