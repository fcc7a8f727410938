// What stands between a client and its server, one obstacle after another: whether connect gets through and how, and what
// check says. The table that this makes stands in docs/obstacles.md; SLUICE_WRITE=1 writes it.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { need, needRoot, ROOT, which } from '../helpers/need.js'
import { closedPort, connectTo, echo, receive, sleep, until } from '../helpers/net.js'
import { CLI, type Running, said, serve, start } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'
import { sshOptions, sshServer } from '../helpers/sshd.js'
import { CASES, type Case, LONG, type Placed } from './cases.js'

const BULK = (LONG ? 64 : 8) * 1024 * 1024
const TABLE = join(ROOT, 'docs', 'obstacles.md')
const MARK = '<!-- made by test/gallery/gallery.test.ts -->'

describe('obstacles', { concurrency: false }, () => {
  const rows: string[] = []
  const folder = mkdtempSync(join(tmpdir(), 'sluice-gallery-'))
  const path = (name: string) => join(folder, name)
  const targets: net.Server[] = []
  const sockets = new Set<net.Socket>()
  let ssh: Awaited<ReturnType<typeof sshServer>> | undefined
  let server: Awaited<ReturnType<typeof serve>>
  // What is learned of one obstacle must not help with the next: a state of its own for each.
  let states = 0
  const env = () => ({ SLUICE_TOKEN: TOKEN, XDG_STATE_HOME: path(`state${states}`), XDG_RUNTIME_DIR: folder })
  /** Targets are unix sockets, so that they are reached from every network namespace. */
  const allowed = ['--allow', path('echo'), '--allow', path('sshd')]

  before(async () => {
    await listenAt('echo', echo)
    if (which('sshd') !== undefined && process.getuid?.() === 0) {
      const port = await closedPort()
      ssh = await sshServer(path('keys'), port)
      await listenAt('sshd', (socket) => {
        void connectTo(port).then((far) => {
          sockets.add(far)
          socket.pipe(far).pipe(socket)
          far.on('error', () => socket.destroy())
        })
      })
    }
    server = await serve(allowed, env())
  })

  after(async () => {
    await server.stop()
    await ssh?.stop()
    for (const socket of sockets) socket.destroy()
    for (const target of targets) target.close()
    rmSync(folder, { recursive: true })
  })

  async function listenAt(name: string, act: (socket: net.Socket) => void): Promise<void> {
    const listening = net.createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      socket.on('error', () => {})
      act(socket)
    })
    listening.listen(path(name))
    await once(listening, 'listening')
    targets.push(listening)
  }

  for (const one of CASES) {
    it(one.name, async (t) => {
      if (!needRoot(t) || need(t, 'sshd', 'ssh', 'socat', ...(one.needs ?? [])) === undefined) return
      states++
      const placed = await one.make(server.port, folder, allowed)
      const url = `${placed.secure ? 'wss' : 'ws'}://${placed.host ?? '127.0.0.1'}:${placed.port}`
      const { flags = [] } = placed
      try {
        const refused = typeof one.through === 'number'
        const checking = behind(placed, ['check', url, '--timeout', '3s', ...flags, ...(one.look ?? [])])
        const code = await checking.exited
        const told = checking.stdout()
        assert.equal(code, refused ? one.through : 0, told + checking.stderr())
        assert.match(told, one.names)
        const verdict = told.trim().split('\n').at(-1)!
        const outcome = refused ? await cannot(one, placed, url) : await can(one, placed, url)
        rows.push(`| ${one.name} | ${outcome} | ${shown(verdict, url)} |`)
        console.log(rows.at(-1))
      } finally {
        await placed.close()
      }
    })
  }

  /** Runs sluice where the obstacle is in its way. */
  function behind({ inside = [] }: Placed, args: readonly string[]): Running {
    const [program = '', ...rest] = [...inside, process.execPath, CLI, ...args]
    return start(program, rest, { env: { ...process.env, ...env() } })
  }

  async function cannot(one: Case, placed: Placed, url: string): Promise<string> {
    const trying = ['connect', url, '-L', `${path('near')}:${path('echo')}`, '--no-retry', '--timeout', '3s']
    const running = behind(placed, [...trying, ...(placed.flags ?? [])])
    assert.equal(await running.exited, one.through, running.stderr())
    assert.match(running.stderr(), one.says!)
    return `no: exit ${one.through} | – | –`
  }

  async function can(one: Case, placed: Placed, url: string): Promise<string> {
    const started = performance.now()
    const [near, nearSsh] = [path(`near${states}`), path(`ssh${states}`)]
    const forwards = ['-L', `${near}:${path('echo')}`, '-L', `${nearSsh}:${path('sshd')}`]
    const tunnel = behind(placed, ['connect', url, ...forwards, '-v', ...(placed.flags ?? [])])
    await said(tunnel, /listening on [\s\S]*listening on/)
    const line = await connectAt(near)
    await says(line, 'first')
    console.log(`first byte after ${(performance.now() - started).toFixed(0)} ms, the start of the process included`)
    const session = new SshSession(nearSsh, ssh!.keys)
    await session.says('at the start')
    const bytes = randomBytes(one.bytes ?? BULK)
    const bulk = await connectAt(near)
    const back = receive(bulk, bytes.length)
    bulk.write(bytes)
    assert.equal(digest(await back), digest(bytes), 'what came back is what was sent')
    bulk.destroy()
    await session.says('beside bulk')
    if (one.quiet !== undefined) await sleep(one.quiet)
    await session.says('at the end')
    await says(line, 'at the end')
    await session.end()
    line.destroy()
    const ways = [...tunnel.stderr().matchAll(/the session goes over (.*)$/gm)].map(([, way]) => way)
    const way = ways[0] ?? 'WebSocket'
    assert.equal(way, one.through, tunnel.stderr())
    await tunnel.stop()
    return `yes, over ${way} | equal | up`
  }

  it('the table in the docs is the one that was made here', (t) => {
    if (!needRoot(t) || need(t, 'sshd', 'squid', 'nft', 'nginx') === undefined) return
    const table = [
      '| In the way | `connect` gets through | bulk both ways | an `ssh` session | `check` says |',
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

/** OpenSSH's client with a `cat` at the other end, from which everything comes back. */
class SshSession {
  readonly #running: Running

  constructor(socket: string, keys: string) {
    const proxy = ['-o', `ProxyCommand=socat - UNIX-CONNECT:${socket}`]
    this.#running = start('ssh', [...sshOptions(keys), ...proxy, 'root@sluice', 'cat'])
  }

  async says(text: string): Promise<void> {
    this.#running.child.stdin!.write(`${text}\n`)
    const whole = () => this.#running.stdout().endsWith(`${text}\n`)
    await until(() => whole() || this.#running.child.exitCode !== null, `ssh to say ${text}`, 60_000)
    assert.ok(whole(), this.#running.stderr())
  }

  async end(): Promise<void> {
    this.#running.child.stdin!.end()
    assert.equal(await this.#running.exited, 0, this.#running.stderr())
  }
}

async function connectAt(path: string): Promise<net.Socket> {
  const socket = net.connect({ path, allowHalfOpen: true })
  await once(socket, 'connect')
  return socket
}

async function says(socket: net.Socket, text: string): Promise<void> {
  const back = receive(socket, text.length)
  socket.write(text)
  assert.equal((await back).toString(), text)
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** A verdict without what differs from run to run, and without the command where that is all that was asked for. */
function shown(verdict: string, url: string): string {
  return verdict
    .replaceAll(url, 'URL')
    .replace(/http:\/\/127\.0\.0\.1:\d+/g, 'PROXY')
    .replace(/\/\S+\/(\S+)/g, '/$1')
    .replace(/: sluice connect URL [^:]*-L PORT:HOST:PORT$/, '')
    .replace(/: sluice connect URL [^:]*-L PORT:HOST:PORT finds/, ': `connect` finds')
}
