// What stands between a client and its server, one obstacle after another: whether connect gets through and how, and what
// check says. The table that this makes stands in docs/obstacles.md; SLUICE_WRITE=1 writes it.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { selfSigned } from '#src/server/index.js'
import { need, ROOT, which } from '../helpers/need.js'
import { closedPort, connectTo, echo, type Listening, listen, receive, sleep } from '../helpers/net.js'
import { answersItself, box, type Obstacle, reverseProxy, webSocketProxy } from '../helpers/obstacles.js'
import { connect, serve, sluice, start, untilOpen } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

const LONG = process.env.SLUICE_LONG === '1'
const BULK = (LONG ? 64 : 8) * 1024 * 1024
const TABLE = join(ROOT, 'docs', 'obstacles.md')
const MARK = '<!-- made by test/e2e/gallery.test.ts -->'

interface Case {
  readonly name: string
  /** A program without which there is nothing to try. */
  readonly needs?: string
  /** Puts it before the server. `secure` if what is in the way has TLS. */
  make(server: number, folder: string): Promise<Obstacle & { readonly flags?: string[]; readonly secure?: boolean }>
  /** How connect is to get through, or the exit code with which it must not. */
  readonly through: string | number
  /** What check must say, its verdict apart. */
  readonly names: RegExp
  /** Bytes each way; the line may be slow. */
  readonly bytes?: number
  /** Quiet before the end, in milliseconds. */
  readonly quiet?: number
  /** Whether connect says so itself, where it does not get through. */
  readonly says?: RegExp
}

const forbidden = 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
const portal = 'HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
const page =
  'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<!doctype html>'

const CASES: readonly Case[] = [
  {
    name: 'nothing',
    make: (server) => box(server, {}),
    through: 'WebSocket',
    names: /^ok {3}websocket/m,
  },
  {
    name: 'a reverse proxy that strips `Upgrade`',
    make: (server) => reverseProxy(server, {}),
    through: 'HTTP, with answers that are streamed',
    names: /FAIL websocket .*200[\s\S]*nginx needs/,
  },
  {
    name: 'nginx as it comes, without the lines for `Upgrade`',
    needs: 'nginx',
    make: (server, folder) => nginx(server, folder),
    through: 'HTTP, with answers that are streamed',
    names: /FAIL websocket .*200[\s\S]*nginx needs/,
  },
  {
    name: 'a firewall that answers 403 to upgrades',
    make: (server) => reverseProxy(server, { upgrade: (_, socket) => void socket.end(forbidden) }),
    through: 'HTTP, with answers that are streamed',
    names: /FAIL websocket .*403/,
  },
  {
    name: 'deep inspection that resets on `Sec-WebSocket-*`',
    make: (server) =>
      box(server, {
        up: (bytes, connection) => {
          if (!/sec-websocket/i.test(bytes.toString('latin1'))) return bytes
          connection.cut()
          return undefined
        },
      }),
    through: 'HTTP, with answers that are streamed',
    names: /FAIL websocket [\s\S]*something on the way forbids it/,
  },
  {
    name: 'a box that answers 101 and then drops frames',
    make: (server) => {
      const upgraded = new WeakSet<object>()
      return box(server, {
        up: (bytes, connection) => {
          if (upgraded.has(connection)) return undefined
          if (/sec-websocket/i.test(bytes.toString('latin1'))) upgraded.add(connection)
          return bytes
        },
        down: (bytes, connection) => {
          const end = bytes.indexOf('\r\n\r\n')
          return upgraded.has(connection) ? bytes.subarray(0, end < 0 ? 0 : end + 4) : bytes
        },
      })
    },
    through: 'HTTP, with answers that are streamed',
    names: /FAIL websocket [\s\S]*drops what is in the WebSocket/,
  },
  {
    name: 'a proxy that keeps whole requests back',
    make: (server) => reverseProxy(server, { buffersRequests: true }),
    through: 'HTTP, with answers that are streamed',
    names: /^ok {3}stream/m,
  },
  {
    name: 'a proxy that keeps whole answers back',
    make: (server) => reverseProxy(server, { buffersAnswers: true, buffersRequests: true }),
    through: 'HTTP, with long polling',
    names: /FAIL stream [\s\S]*^ok {3}poll/m,
  },
  {
    name: 'a proxy that allows 1 request at a time',
    make: (server) => reverseProxy(server, { atOnce: 1, buffersAnswers: true, buffersRequests: true }),
    through: 'HTTP, one request at a time',
    names: /FAIL poll [\s\S]*^ok {3}turns/m,
  },
  {
    name: 'a proxy that opens WebSockets of its own and answers pings itself',
    make: (server) => webSocketProxy(server),
    through: 'WebSocket',
    names: /websocket/,
  },
  {
    name: 'a box that cuts what is idle for 5 s',
    make: (server) => {
      const last = new WeakMap<object, NodeJS.Timeout>()
      const touch = (bytes: Buffer, connection: { cut(): void }) => {
        clearTimeout(last.get(connection))
        last.set(
          connection,
          setTimeout(() => connection.cut(), 5_000),
        )
        return bytes
      }
      return box(server, { up: touch, down: touch })
    },
    through: 'WebSocket',
    names: /^ok {3}websocket/m,
    quiet: 7_000,
  },
  {
    name: `a box that cuts what is ${LONG ? 30 : 3} s old`,
    make: (server) => box(server, { begun: ({ cut }) => void setTimeout(cut, LONG ? 30_000 : 3_000) }),
    through: 'WebSocket',
    names: /^ok {3}websocket/m,
    quiet: LONG ? 32_000 : 4_000,
  },
  {
    name: 'a box that cuts after 1 MiB',
    make: (server) => {
      const count = (bytes: Buffer, connection: { bytes: number; cut(): void }) => {
        if (connection.bytes <= 1024 * 1024) return bytes
        connection.cut()
        return undefined
      }
      return box(server, { up: count, down: count })
    },
    through: 'WebSocket',
    names: /^ok {3}websocket/m,
  },
  {
    name: 'a line of 100 kbit/s',
    make: (server) => box(server, { rate: 12_500 }),
    through: 'WebSocket',
    names: /^ok {3}websocket/m,
    bytes: 48 * 1024,
  },
  {
    name: 'TLS opened by somebody in the middle',
    make: async (server) => {
      const { cert, key } = await selfSigned(['127.0.0.1'])
      return tlsMiddle(server, cert, key)
    },
    through: 4,
    names: /FAIL tls .*not trusted .*it is signed by/,
    says: /certificate is not trusted/,
  },
  {
    name: 'the same, and its CA is given with `--ca`',
    make: async (server, folder) => {
      const { cert, key } = await selfSigned(['127.0.0.1'])
      const ca = join(folder, 'ca.pem')
      writeFileSync(ca, cert)
      return { ...(await tlsMiddle(server, cert, key)), flags: ['--ca', ca] }
    },
    through: 'WebSocket',
    names: /^ok {3}tls .*signed by/m,
  },
  {
    name: 'the sign-in page of a network',
    make: () => answersItself(portal),
    through: 5,
    names: /FAIL http .*302[\s\S]*login\.example/,
    says: /302/,
  },
  {
    name: 'a page of somebody else for every request',
    make: () => answersItself(page),
    through: 5,
    names: /FAIL http .*200/,
    says: /200/,
  },
  {
    name: 'a proxy that knows neither WebSocket nor POST',
    make: (server) => reverseProxy(server, { methods: ['GET'] }),
    through: 5,
    names: /FAIL websocket [\s\S]*FAIL turns/,
    says: /did not switch to WebSocket: 200/,
  },
]

/** Debian's nginx with its own defaults: HTTP/1.0 to the server, whole requests, bodies of at most 1 MiB. */
async function nginx(to: number, folder: string): Promise<Obstacle> {
  const port = await closedPort()
  const site = `server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${to}; } }`
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const temporary = places.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')
  writeFileSync(
    join(folder, 'nginx.conf'),
    // Its worker must be able to write bodies where it is told to.
    `${process.getuid?.() === 0 ? 'user root;' : ''}\ndaemon off;\npid ${folder}/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n${temporary}\n${site}\n}\n`,
  )
  const running = start(which('nginx')!, ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')])
  await untilOpen(port, running)
  return { port, close: async () => void (await running.stop()) }
}

/** Opens TLS with a key of its own, and passes what is inside on. */
async function tlsMiddle(to: number, cert: string, key: string): Promise<Obstacle & { secure: boolean }> {
  const inner = await box(to, {})
  const sockets = new Set<net.Socket>()
  const server = tls.createServer({ cert, key, ALPNProtocols: ['http/1.1'] }, (socket) => {
    sockets.add(socket)
    void connectTo(inner.port).then((far) => {
      socket.pipe(far).pipe(socket)
      far.on('error', () => socket.destroy())
      socket.on('close', () => far.destroy())
    })
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as net.AddressInfo).port,
    secure: true,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await inner.close()
    },
  }
}

describe('obstacles', { concurrency: false }, () => {
  const rows: string[] = []
  const folder = mkdtempSync(join(tmpdir(), 'sluice-gallery-'))
  let target: Listening
  let server: Awaited<ReturnType<typeof serve>>
  // What is learned of one obstacle must not help with the next: a state of its own for each.
  let states = 0
  const env = () => ({ SLUICE_TOKEN: TOKEN, XDG_STATE_HOME: join(folder, `state${states}`) })

  before(async () => {
    target = await listen(echo)
    server = await serve(['--allow', `127.0.0.1:${target.port}`], env())
  })

  after(async () => {
    await server.stop()
    await target.close()
    rmSync(folder, { recursive: true })
  })

  for (const one of CASES) {
    it(one.name, async (t) => {
      if (one.needs !== undefined && !need(t, one.needs)) return
      states++
      const { port, close, flags = [], secure } = await one.make(server.port, folder)
      const url = `${secure ? 'wss' : 'ws'}://127.0.0.1:${port}`
      try {
        const refused = typeof one.through === 'number'
        const checking = sluice(['check', url, '--timeout', '3s', ...flags], env())
        const code = await checking.exited
        const told = checking.stdout()
        assert.equal(code, refused ? one.through : 0, told + checking.stderr())
        assert.match(told, one.names)
        const verdict = told.trim().split('\n').at(-1)!
        const outcome = refused ? await cannot(one, url, flags) : await can(one, url, flags)
        rows.push(`| ${one.name} | ${outcome} | ${shown(verdict, url)} |`)
        console.log(rows.at(-1))
      } finally {
        await close()
      }
    })
  }

  async function cannot(one: Case, url: string, flags: string[]): Promise<string> {
    const trying = ['connect', url, '-L', `0:127.0.0.1:${target.port}`, '--no-retry', '--timeout', '3s', ...flags]
    const running = sluice(trying, env())
    assert.equal(await running.exited, one.through, running.stderr())
    assert.match(running.stderr(), one.says!)
    return `no: exit ${one.through} | – | –`
  }

  async function can(one: Case, url: string, flags: string[]): Promise<string> {
    const started = performance.now()
    const tunnel = await connect(url, `127.0.0.1:${target.port}`, ['-v', ...flags], env())
    const line = await connectTo(tunnel.port)
    await says(line, 'first')
    console.log(`first byte after ${(performance.now() - started).toFixed(0)} ms, the start of the process included`)
    const bytes = randomBytes(one.bytes ?? BULK)
    const bulk = await connectTo(tunnel.port)
    const back = receive(bulk, bytes.length)
    bulk.write(bytes)
    assert.equal(digest(await back), digest(bytes), 'what came back is what was sent')
    bulk.destroy()
    await says(line, 'beside bulk')
    if (one.quiet !== undefined) await sleep(one.quiet)
    await says(line, 'at the end')
    line.destroy()
    const ways = [...tunnel.stderr().matchAll(/the session goes over (.*)$/gm)].map(([, way]) => way)
    const way = ways[0] ?? 'WebSocket'
    assert.equal(way, one.through, tunnel.stderr())
    await tunnel.stop()
    return `yes, over ${way} | equal | up`
  }

  it('the table in the docs is the one that was made here', () => {
    const table = [
      '| In the way | `connect` gets through | bulk both ways | a connection beside it | `check` says |',
      '| --- | --- | --- | --- | --- |',
      ...rows,
    ].join('\n')
    const text = readFileSync(TABLE, 'utf8')
    const [before = '', , rest = ''] = text.split(MARK)
    const fresh = `${before}${MARK}\n\n${table}\n\n${MARK}${rest}`
    if (process.env.SLUICE_WRITE === '1') writeFileSync(TABLE, fresh)
    else assert.equal(fresh.replace(/30 s old/, '3 s old'), text, 'run with SLUICE_WRITE=1 to write it')
  })
})

async function says(socket: net.Socket, text: string): Promise<void> {
  const back = receive(socket, text.length)
  socket.write(text)
  assert.equal((await back).toString(), text)
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** A verdict without what differs from run to run. */
function shown(verdict: string, url: string): string {
  return verdict
    .replaceAll(url, 'URL')
    .replace(/: sluice connect URL -L PORT:HOST:PORT$/, '')
    .replace(/: sluice connect URL -L PORT:HOST:PORT finds/, ': `connect` finds')
}
