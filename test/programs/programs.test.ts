// Real programs through `sluice`: PostgreSQL, OpenSSH and curl, directly and through nginx, HAProxy, Apache httpd and Caddy ending TLS.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { selfSigned } from '#src/server/index.js'
import { need, needRoot, ROOT, which } from '../helpers/need.js'
import { closedPort, until } from '../helpers/net.js'
import { CLI, connect, run, serve, start, untilOpen } from '../helpers/process.js'
import { Relay } from '../helpers/relay.js'
import { TOKEN } from '../helpers/rig.js'
import { sshOptions, sshServer } from '../helpers/sshd.js'

const LONG = process.env.SLUICE_LONG === '1'
const ENV = { SLUICE_TOKEN: TOKEN }
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** The newest PostgreSQL's folder of programs. */
function postgresBin(): string {
  const base = '/usr/lib/postgresql'
  const versions = which(base) === undefined ? [] : readdirSync(base).sort((a, b) => Number(b) - Number(a))
  return join(base, versions[0] ?? 'none', 'bin')
}

/** How `connect` and `stdio` reach the server: its URL and the flags that go with it. */
interface Path {
  readonly name: string
  readonly url: string
  readonly flags: readonly string[]
}

describe('real programs', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-programs-'))
  const stops: (() => Promise<unknown>)[] = []
  const paths: Path[] = []
  const ports = { postgres: 0, ssh: 0, http: 0, nginx: 0, haproxy: 0, apache: 0, caddy: 0, redis: 0, mariadb: 0 }
  const large = randomBytes(8 * 1024 * 1024)
  let server: Awaited<ReturnType<typeof serve>>

  before(async () => {
    chmodSync(folder, 0o755)
    ports.postgres = await closedPort()
    ports.ssh = await closedPort()
    ports.nginx = await closedPort()
    ports.redis = await closedPort()
    ports.mariadb = await closedPort()
    ports.haproxy = await closedPort()
    ports.apache = await closedPort()
    ports.caddy = await closedPort()
    const web = http.createServer((request, response) => {
      if (request.method === 'PUT') {
        const hash = createHash('sha256')
        request.on('data', (chunk: Buffer) => hash.update(chunk))
        request.on('end', () => response.end(hash.digest('hex')))
      } else response.end(large)
    })
    web.listen(0, '127.0.0.1')
    await once(web, 'listening')
    ports.http = (web.address() as AddressInfo).port
    stops.push(async () => void web.close())
    server = await serve(
      ['--allow', `127.0.0.1:${ports.postgres},${ports.ssh},${ports.http},${ports.redis},${ports.mariadb}`],
      ENV,
    )
    stops.push(() => server.stop())
    paths.push({ name: 'direct', url: server.url, flags: [] })
    await startProxies()
  })

  after(async () => {
    for (const stop of stops.reverse()) await stop()
    rmSync(folder, { recursive: true, force: true })
  })

  /** nginx and HAProxy with the configurations of docs/deploy, their ports and files filled in. */
  async function startProxies(): Promise<void> {
    const made = await selfSigned(['localhost', '127.0.0.1'])
    writeFileSync(join(folder, 'cert.pem'), made.cert)
    writeFileSync(join(folder, 'key.pem'), made.key, { mode: 0o600 })
    writeFileSync(join(folder, 'both.pem'), `${made.cert}\n${made.key}\n`, { mode: 0o600 })
    const fill = (text: string, port: number) =>
      text
        .replaceAll('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
        .replaceAll('bind :443 ssl', `bind 127.0.0.1:${port} ssl`)
        .replaceAll('Listen 443', `Listen 127.0.0.1:${port}`)
        .replaceAll('*:443', `*:${port}`)
        .replaceAll('tunnel.example {', `https://localhost:${port} {\n\tbind 127.0.0.1`)
        .replaceAll('127.0.0.1:8443', `127.0.0.1:${server.port}`)
        .replaceAll('/etc/ssl/tunnel.example/fullchain.pem', join(folder, 'cert.pem'))
        .replaceAll('/etc/ssl/tunnel.example/key.pem', join(folder, 'key.pem'))
        .replaceAll('/etc/ssl/tunnel.example/both.pem', join(folder, 'both.pem'))
        .replaceAll('tunnel.example', 'localhost')
    const nginx = which('nginx')
    if (nginx !== undefined) {
      const site = fill(readFileSync(join(ROOT, 'docs', 'deploy', 'nginx.conf'), 'utf8'), ports.nginx)
      const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
        .map((name) => `${name}_temp_path ${folder}/${name};`)
        .join('\n')
      writeFileSync(
        join(folder, 'nginx.conf'),
        `daemon off;\npid ${folder}/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n${temp}\n${site}\n}\n`,
      )
      const running = start(nginx, ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')])
      stops.push(() => running.stop('SIGQUIT'))
      await untilOpen(ports.nginx, running)
      paths.push({ name: 'nginx', url: `wss://localhost:${ports.nginx}`, flags: ['--pin', made.pin] })
    }
    const haproxy = which('haproxy')
    if (haproxy !== undefined) {
      writeFileSync(
        join(folder, 'haproxy.cfg'),
        fill(readFileSync(join(ROOT, 'docs', 'deploy', 'haproxy.cfg'), 'utf8'), ports.haproxy),
      )
      const running = start(haproxy, ['-db', '-f', join(folder, 'haproxy.cfg')])
      stops.push(() => running.stop())
      await untilOpen(ports.haproxy, running)
      paths.push({ name: 'haproxy', url: `wss://localhost:${ports.haproxy}`, flags: ['--pin', made.pin] })
    }
    const apache = which('apache2')
    if (apache !== undefined) {
      const modules = ['mpm_event', 'ssl', 'proxy', 'proxy_http', 'authz_core', 'socache_shmcb']
      const head = [
        `ServerRoot ${folder}`,
        'ServerName localhost',
        `PidFile ${folder}/apache.pid`,
        `ErrorLog ${folder}/apache.log`,
        ...modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
        ...(process.getuid?.() === 0 ? ['User www-data', 'Group www-data'] : []),
      ]
      const site = fill(readFileSync(join(ROOT, 'docs', 'deploy', 'apache.conf'), 'utf8'), ports.apache)
      writeFileSync(join(folder, 'apache.conf'), `${head.join('\n')}\n${site}`)
      const running = start(apache, ['-D', 'FOREGROUND', '-f', join(folder, 'apache.conf')])
      stops.push(() => running.stop())
      await untilOpen(ports.apache, running)
      paths.push({ name: 'apache2', url: `wss://localhost:${ports.apache}`, flags: ['--pin', made.pin] })
    }
    const caddy = which('caddy')
    if (caddy !== undefined) {
      const site = fill(readFileSync(join(ROOT, 'docs', 'deploy', 'Caddyfile'), 'utf8'), ports.caddy)
      writeFileSync(join(folder, 'Caddyfile'), `{\n\tadmin off\n\tauto_https disable_redirects\n}\n${site}`)
      const env = { ...process.env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
      const running = start(caddy, ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')], { env })
      stops.push(() => running.stop())
      await untilOpen(ports.caddy, running)
      paths.push({ name: 'caddy', url: `wss://localhost:${ports.caddy}`, flags: ['--pin', made.pin] })
    }
  }

  /** The path of this name; the test is skipped if its program is not here. */
  function pathFor(t: Parameters<typeof need>[0], name: string): Path | undefined {
    const path = paths.find((candidate) => candidate.name === name)
    if (path === undefined) need(t, name)
    return path
  }

  /** A PostgreSQL of its own, run as a user that is not root. */
  let postgres: Promise<void> | undefined
  async function startPostgres(): Promise<void> {
    const data = join(folder, 'pg')
    mkdirSync(data)
    const root = process.getuid?.() === 0
    const as = (program: string, args: string[]) =>
      root
        ? { program: 'setpriv', args: ['--reuid=postgres', '--regid=postgres', '--clear-groups', program, ...args] }
        : { program, args }
    if (root) await run('chown', ['postgres', data])
    const init = as(join(postgresBin(), 'initdb'), [
      '-D',
      data,
      '-A',
      'trust',
      '-U',
      'postgres',
      '--no-sync',
      '-E',
      'UTF8',
    ])
    await run(init.program, init.args, { cwd: tmpdir() })
    const daemon = as(join(postgresBin(), 'postgres'), [
      '-D',
      data,
      '-p',
      String(ports.postgres),
      '-k',
      data,
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      'fsync=off',
    ])
    const running = start(daemon.program, daemon.args, { cwd: tmpdir() })
    stops.push(() => running.stop('SIGINT'))
    await untilOpen(ports.postgres, running)
    for (let tries = 0; ; tries++) {
      const ready = start(join(postgresBin(), 'pg_isready'), ['-h', '127.0.0.1', '-p', String(ports.postgres)])
      if ((await ready.exited) === 0) break
      if (tries > 100) throw new Error(`PostgreSQL does not start: ${running.stderr()}`)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  async function startSshd(): Promise<string> {
    const { keys, stop } = await sshServer(join(folder, 'ssh'), ports.ssh)
    stops.push(stop)
    return keys
  }
  let sshd: Promise<string> | undefined

  for (const name of ['direct', 'nginx', 'haproxy', 'apache2', 'caddy']) {
    it(`PostgreSQL through ${name}: pgbench made and run, and a dump equal to a direct one`, async (t) => {
      const bin = postgresBin()
      if (!need(t, join(bin, 'initdb'), join(bin, 'pgbench'), join(bin, 'pg_dump')) || !needRoot(t)) return
      const path = pathFor(t, name)
      if (path === undefined) return
      await (postgres ??= startPostgres())
      const tunnel = await connect(path.url, `127.0.0.1:${ports.postgres}`, path.flags, ENV)
      try {
        const through = ['-h', '127.0.0.1', '-p', String(tunnel.port), '-U', 'postgres']
        await run(join(bin, 'pgbench'), [...through, '-i', '-q', '-s', '2', 'postgres'])
        const bench = await run(join(bin, 'pgbench'), [
          ...through,
          '-c',
          '32',
          '-j',
          '2',
          '-t',
          LONG ? '500' : '20',
          'postgres',
        ])
        assert.match(bench.stdout, new RegExp(`number of transactions actually processed: ${LONG ? 16000 : 640}/`))
        assert.match(bench.stdout, /number of failed transactions: 0 /)
        const dump = ['-U', 'postgres', '-h', '127.0.0.1', 'postgres', '-p']
        const strip = (text: string) => text.replace(/^\\(un)?restrict .*$/gm, '')
        const tunnelled = strip((await run(join(bin, 'pg_dump'), [...dump, String(tunnel.port)])).stdout)
        const direct = strip((await run(join(bin, 'pg_dump'), [...dump, String(ports.postgres)])).stdout)
        assert.ok(direct.length > 1_000_000, 'the dump has something in it')
        assert.equal(sha256(Buffer.from(tunnelled)), sha256(Buffer.from(direct)))
      } finally {
        await tunnel.stop()
      }
    })

    it(`OpenSSH through ${name}: scp of 100 MiB by ProxyCommand, equal checksums`, async (t) => {
      if (!need(t, 'sshd', 'scp', 'ssh-keygen') || !needRoot(t)) return
      const path = pathFor(t, name)
      if (path === undefined) return
      const keys = await (sshd ??= startSshd())
      const source = join(folder, 'source.bin')
      const copy = join(folder, `copy-${name}.bin`)
      const bytes = randomBytes(100 * 1024 * 1024)
      writeFileSync(source, bytes)
      const command = [process.execPath, CLI, 'stdio', path.url, `127.0.0.1:${ports.ssh}`, ...path.flags].join(' ')
      const options = ['-o', `ProxyCommand=${command}`, ...sshOptions(keys)]
      await run('scp', [...options, source, `${userInfo().username}@far:${copy}`], { env: { ...process.env, ...ENV } })
      assert.equal(sha256(readFileSync(copy)), sha256(bytes))
      rmSync(copy)
    })

    it(`curl through ${name}: 8 MiB down and up`, async (t) => {
      if (!need(t, 'curl')) return
      const path = pathFor(t, name)
      if (path === undefined) return
      const tunnel = await connect(path.url, `127.0.0.1:${ports.http}`, path.flags, ENV)
      try {
        const out = join(folder, 'curl.out')
        writeFileSync(join(folder, 'curl.in'), large)
        const url = `http://127.0.0.1:${tunnel.port}/`
        await run('curl', ['-sS', '--noproxy', '*', '-o', out, url])
        assert.equal(sha256(readFileSync(out)), sha256(large))
        const { stdout } = await run('curl', ['-sS', '--noproxy', '*', '-T', join(folder, 'curl.in'), url])
        assert.equal(stdout, sha256(large))
      } finally {
        await tunnel.stop()
      }
    })
  }

  it('a transaction in psql, a login by ssh and an scp live through ten cuts at once', async (t) => {
    const bin = postgresBin()
    if (!need(t, join(bin, 'psql'), join(bin, 'initdb'), 'sshd', 'scp', 'ssh') || !needRoot(t)) return
    await (postgres ??= startPostgres())
    const keys = await (sshd ??= startSshd())
    const relay = await Relay.start(server.port)
    const tunnel = await connect(`ws://127.0.0.1:${relay.port}`, `127.0.0.1:${ports.postgres}`, [], ENV)
    const stdio = [process.execPath, CLI, 'stdio', `ws://127.0.0.1:${relay.port}`, `127.0.0.1:${ports.ssh}`].join(' ')
    const ssh = ['-o', `ProxyCommand=${stdio}`, ...sshOptions(keys)]
    const far = `${userInfo().username}@far`
    const env = { env: { ...process.env, ...ENV } }
    const bytes = randomBytes((LONG ? 1024 : 128) * 1024 * 1024)
    const [source, copy] = [join(folder, 'long.bin'), join(folder, 'long-copy.bin')]
    writeFileSync(source, bytes)
    const sql = ['begin', 'create table lived (n int)']
    for (let i = 1; i <= 30; i++) sql.push(`insert into lived values (${i})`, 'select pg_sleep(0.1)')
    sql.push('commit', 'select sum(n) from lived')
    const psql = ['-h', '127.0.0.1', '-p', String(tunnel.port), '-U', 'postgres', '-At', '-v', 'ON_ERROR_STOP=1']
    try {
      const work = Promise.all([
        run(join(bin, 'psql'), [...psql, '-c', `${sql.join(';')};`, 'postgres']),
        run('ssh', [...ssh, far, 'for i in $(seq 1 30); do echo $i; sleep 0.1; done'], env),
        run('scp', [...ssh, '-l', LONG ? '900000' : '300000', source, `${far}:${copy}`], env),
      ])
      // A first contact that is cut is told, not retried: all three must be there.
      work.catch(() => {})
      await until(() => relay.open >= 3, 'three WebSockets')
      const cutter = setInterval(() => relay.cut(), 300)
      const [answers, login] = await work.finally(() => clearInterval(cutter))
      assert.equal(answers.stdout.trim().split('\n').at(-1), String((30 * 31) / 2))
      assert.equal(login.stdout.trim().split('\n').at(-1), '30')
      assert.equal(sha256(readFileSync(copy)), sha256(bytes))
      t.diagnostic(`psql, ssh and scp of ${bytes.length >> 20} MiB: ${relay.cuts} WebSockets cut`)
      assert.ok(relay.cuts >= 20, `${relay.cuts} WebSockets cut: about three at a time`)
    } finally {
      await tunnel.stop()
      await relay.close()
      for (const file of [source, copy]) rmSync(file, { force: true })
    }
  })

  async function startRedis(): Promise<void> {
    const args = ['--port', String(ports.redis), '--bind', '127.0.0.1', '--save', '', '--dir', folder]
    const running = start(which('redis-server')!, args)
    stops.push(() => running.stop())
    await untilOpen(ports.redis, running)
  }

  async function startMariadb(): Promise<void> {
    const data = join(folder, 'mariadb')
    mkdirSync(data)
    await run('chown', ['mysql', data])
    const common = ['--no-defaults', `--datadir=${data}`, '--user=mysql']
    await run('mariadb-install-db', [...common, '--auth-root-authentication-method=normal'])
    const socket = join(data, 'socket')
    const args = [...common, `--port=${ports.mariadb}`, '--bind-address=127.0.0.1', `--socket=${socket}`]
    const running = start(which('mariadbd')!, [...args, '--skip-name-resolve', '--max-allowed-packet=16M'])
    stops.push(() => running.stop())
    await untilOpen(ports.mariadb, running)
  }

  const libraries: readonly [
    example: string,
    programs: string[],
    begin: () => Promise<unknown>,
    port: () => number,
    says: string,
  ][] = [
    [
      'postgres',
      [join(postgresBin(), 'initdb')],
      () => (postgres ??= startPostgres()),
      () => ports.postgres,
      '5000000',
    ],
    ['mysql', ['mariadbd', 'mariadb-install-db'], startMariadb, () => ports.mariadb, '2000000'],
    ['redis', ['redis-server'], startRedis, () => ports.redis, '1000000'],
    ['ssh', ['sshd', 'ssh-keygen'], () => (sshd ??= startSshd()), () => ports.ssh, '3000000'],
  ]
  for (const [example, programs, begin, port, says] of libraries) {
    it(`examples/clients/${example}.mjs: a driver on a tunnel's stream`, async (t) => {
      if (!need(t, ...programs) || !needRoot(t)) return
      const keys = await begin()
      const env = {
        ...process.env,
        SLUICE_URL: server.url,
        SLUICE_TOKEN: TOKEN,
        SSH_USER: userInfo().username,
        ...(typeof keys === 'string' ? { SSH_KEY: join(keys, 'user') } : {}),
      }
      const script = join(ROOT, 'examples', 'clients', `${example}.mjs`)
      const { stdout } = await run(process.execPath, [script, `127.0.0.1:${port()}`], { env, cwd: ROOT })
      assert.equal(stdout.trim(), `answer 42, ${says} bytes`)
    })
  }
})
