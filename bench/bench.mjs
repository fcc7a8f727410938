// Measures the tunnel beside what does the same job, in turn within one run: direct, a plain Node relay, socat, websockify,
// ssh -L, sluice in plain mode, as a session, and over TLS. Every figure is a median of rounds, in absolute numbers and as a ratio to the plain
// Node relay; byte counts are checked. Writes JSON to artifacts/bench.json. `--rounds N` and `--seconds N` set how often and how long; `--quick` is
// for smoke only.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { cpus, tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../tools/free-port.mjs'
import { python, which } from '../tools/provision.mjs'
import { root } from '../tools/root.mjs'
import { argument, endAll, iperf, output, percentile, said, sleep, start } from './processes.mjs'
import { buildWithoutReplay } from './without-replay.mjs'

const quick = process.argv.includes('--quick')
const ROUNDS = quick ? 1 : argument('--rounds', 5)
const BULK_SECONDS = quick ? 1 : argument('--seconds', 4)
const WRK_SECONDS = quick ? 1 : argument('--seconds', 4)
const SAMPLES = quick ? 300 : 4_000
/** Idle connections: so many at first, in which a process grows its heap, and so many in all. */
const [IDLE, MANY_IDLE] = quick ? [100, 200] : [2_000, 8_000]
const HERTZ = 100

const run = (program, args) => output(start(program, args))

async function connectTo(port) {
  for (let tries = 0; ; tries++) {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    try {
      await once(socket, 'connect')
      return socket
    } catch (error) {
      if (tries > 200) throw error
      await sleep(25)
    }
  }
}

/** CPU seconds and resident bytes of processes so far. */
function usage(pids) {
  let ticks = 0
  let memory = 0
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14])
    memory += Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
  }
  return { cpu: ticks / HERTZ, memory }
}

const RELAY = `
import net from 'node:net'
const [listen, target] = process.argv.slice(1).map(Number)
net.createServer({ allowHalfOpen: true, noDelay: true }, (a) => {
  const b = net.connect({ port: target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  a.on('error', () => b.destroy()); b.on('error', () => a.destroy())
  a.pipe(b); b.pipe(a)
}).listen(listen, '127.0.0.1', 4096)`

const cli = ['dist/cli/main.js']

async function sluice(target, tls, flags = [], program = cli) {
  const server = start(process.execPath, [
    ...program,
    'serve',
    '--listen',
    '0',
    '--allow',
    `127.0.0.1:${target}`,
    '--grace',
    '0s',
    ...(tls ? ['--tls-self-signed'] : []),
  ])
  const [, url] = await said(server, /serving on (\S+)/)
  const pin = tls ? ['--pin', (await said(server, /--pin (\S+)/))[1]] : []
  const args = [...program, 'connect', url, '-L', `0:127.0.0.1:${target}`, ...pin, ...flags]
  const client = start(process.execPath, args)
  const [, port] = await said(client, /listening on \S+:(\d+) for/)
  return { port: Number(port), pids: [server.child.pid, client.child.pid] }
}

/** Each way to a target: where to connect, and whose CPU and memory count. websockify forks, so its children are missed. */
const WAYS = {
  direct: async (target) => ({ port: target, pids: [] }),
  relay: async (target) => {
    const port = await freePort()
    const running = start(process.execPath, ['--input-type=module', '-e', RELAY, String(port), String(target)])
    return { port, pids: [running.child.pid] }
  },
  socat: async (target) => {
    const port = await freePort()
    start('socat', [
      `TCP-LISTEN:${port},fork,reuseaddr,nodelay,backlog=4096,bind=127.0.0.1`,
      `TCP:127.0.0.1:${target},nodelay`,
    ])
    return { port, pids: undefined }
  },
  websockify: async (target) => {
    const listen = await freePort()
    start(python, ['-m', 'websockify', `127.0.0.1:${listen}`, `127.0.0.1:${target}`])
    ;(await connectTo(listen)).destroy()
    const client = start(process.execPath, [
      ...cli,
      'connect',
      `ws://127.0.0.1:${listen}`,
      '-L',
      `0:127.0.0.1:${target}`,
      '--url-template',
      '/websockify',
    ])
    const [, port] = await said(client, /listening on \S+:(\d+) for/)
    return { port: Number(port), pids: undefined }
  },
  'ssh -L': (target) => sshForward(target),
  'sluice plain': (target) => sluice(target, false, ['--plain']),
  sluice: (target) => sluice(target, false),
  'sluice, TLS': (target) => sluice(target, true),
}

/** ssh's own forward, to an sshd of ours; what it costs is mostly in children of both, so their CPU is not counted. */
async function sshForward(target) {
  const folder = join(tmpdir(), `sluice-bench-ssh-${process.pid}-${target}`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  mkdirSync('/run/sshd', { recursive: true })
  for (const name of ['host', 'user'])
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)])
  writeFileSync(join(folder, 'authorized'), readFileSync(join(folder, 'user.pub')), { mode: 0o600 })
  const [sshPort, port] = [await freePort(), await freePort()]
  const lines = [
    `Port ${sshPort}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${folder}/host`,
    `AuthorizedKeysFile ${folder}/authorized`,
  ]
  writeFileSync(join(folder, 'config'), [...lines, 'StrictModes no', 'UsePAM no', 'PermitRootLogin yes', ''].join('\n'))
  start(which('sshd'), ['-D', '-e', '-f', join(folder, 'config')])
  ;(await connectTo(sshPort)).destroy()
  const quiet = ['-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR']
  const to = ['-p', String(sshPort), '-i', join(folder, 'user'), `${userInfo().username}@127.0.0.1`]
  start('ssh', ['-N', '-L', `127.0.0.1:${port}:127.0.0.1:${target}`, ...quiet, ...to])
  ;(await connectTo(port)).destroy()
  return { port, pids: undefined }
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]

async function bulk(way, ...flags) {
  const before = way.pids?.length ? usage(way.pids) : undefined
  const args = ['-c', '127.0.0.1', '-p', String(way.port), '-t', String(BULK_SECONDS), '-J', ...flags]
  const end = await iperf(() => start('iperf3', args))
  const sent = end.sum_sent.bytes
  const received = end.sum_received.bytes
  if (received === 0 || received > sent) throw new Error(`iperf3 counted ${received} received of ${sent} sent`)
  const cpu = before === undefined ? undefined : usage(way.pids).cpu - before.cpu
  return {
    gbits: end.sum_received.bits_per_second / 1e9,
    cpuPerGb: cpu === undefined ? undefined : cpu / (received / 1e9),
  }
}

/** 64 MiB through an echo, compared by SHA-256. */
async function echoCheck(port) {
  const socket = await connectTo(port)
  const block = Buffer.alloc(1024 * 1024, 'sluice bench ')
  const sent = createHash('sha256')
  const got = createHash('sha256')
  let left = 64 * block.length
  socket.on('data', (chunk) => {
    got.update(chunk)
    left -= chunk.length
  })
  for (let i = 0; i < 64; i++) {
    sent.update(block)
    if (!socket.write(block)) await once(socket, 'drain')
  }
  while (left > 0) await new Promise((resolve) => setTimeout(resolve, 2))
  socket.destroy()
  if (sent.digest('hex') !== got.digest('hex')) throw new Error('the echo came back different')
}

async function roundTrips(port) {
  const socket = await connectTo(port)
  const times = []
  let wake
  socket.on('data', () => wake())
  for (let i = 0; i < SAMPLES + 200; i++) {
    const arrived = new Promise((resolve) => {
      wake = resolve
    })
    const started = process.hrtime.bigint()
    socket.write('x')
    await arrived
    if (i >= 200) times.push(Number(process.hrtime.bigint() - started) / 1e3)
  }
  socket.destroy()
  return { p50: percentile(times, 50), p99: percentile(times, 99) }
}

async function wrk(way, close) {
  const before = way.pids?.length ? usage(way.pids) : undefined
  const header = close ? ['-H', 'Connection: close'] : []
  const out = await run('wrk', [
    '-t',
    '1',
    '-c',
    close ? '8' : '16',
    '-d',
    `${WRK_SECONDS}s`,
    ...header,
    `http://127.0.0.1:${way.port}/`,
  ])
  const [, rate] = /Requests\/sec:\s+([0-9.]+)/.exec(out)
  const [, count] = /(\d+) requests in/.exec(out)
  const errors = /Non-2xx/.test(out)
  if (errors || Number(count) === 0) throw new Error(`wrk saw errors: ${out}`)
  const cpu = before === undefined ? undefined : usage(way.pids).cpu - before.cpu
  return { rate: Number(rate), cpuPerRequest: cpu === undefined ? undefined : (cpu / Number(count)) * 1e6 }
}

/** What an idle connection costs, in KiB: one of the first, and one of those that come after them. */
async function idleMemory(way) {
  if (!way.pids?.length) return { first: undefined, more: undefined }
  const sockets = []
  const openUpTo = async (count) => {
    const before = usage(way.pids).memory
    const had = sockets.length
    while (sockets.length < count) {
      const socket = await connectTo(way.port)
      socket.write('x')
      await once(socket, 'data')
      sockets.push(socket)
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    return (usage(way.pids).memory - before) / (count - had) / 1024
  }
  await openUpTo(20)
  const first = await openUpTo(IDLE)
  const more = await openUpTo(MANY_IDLE)
  for (const socket of sockets) socket.destroy()
  return { first, more }
}

/** The targets: iperf3, nginx with one small page, and an echo. */
async function startTargets() {
  const iperfPort = await freePort()
  start('iperf3', ['-s', '-p', String(iperfPort), '-B', '127.0.0.1'])
  const nginxPort = await freePort()
  const folder = join(tmpdir(), `sluice-bench-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join(' ')
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off; master_process off; pid ${folder}/pid; error_log stderr crit; events { worker_connections 8192; }
http { access_log off; ${temp} keepalive_requests 1000000000; server { listen 127.0.0.1:${nginxPort} backlog=4096; location / { return 200 "ok\\n"; } } }`,
  )
  start(which('nginx'), ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')])
  const echo = start(process.execPath, [
    '-e',
    "require('net').createServer({noDelay:true},s=>{s.on('error',()=>{});s.pipe(s)}).listen(0,'127.0.0.1',4096,function(){console.log(this.address().port)})",
  ])
  const [, echoPort] = await said(echo, /(\d+)/)
  for (const port of [nginxPort, Number(echoPort)]) (await connectTo(port)).destroy()
  return { iperf: iperfPort, nginx: nginxPort, echo: Number(echoPort) }
}

/** Runs every way's measurement in turn, round after round; medians of each field. */
async function compare(ways, measure, rounds = ROUNDS) {
  const seen = Object.fromEntries(Object.keys(ways).map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, way] of Object.entries(ways)) seen[name].push(await measure(way))
  }
  return Object.fromEntries(
    Object.entries(seen).map(([name, results]) => {
      const fields = Object.keys(results[0] ?? {})
      return [
        name,
        Object.fromEntries(
          fields.map((field) => [
            field,
            results[0][field] === undefined ? undefined : median(results.map((result) => result[field])),
          ]),
        ),
      ]
    }),
  )
}

const waysTo = async (port, names) => {
  const ways = {}
  for (const name of names) ways[name] = await WAYS[name](port)
  await new Promise((resolve) => setTimeout(resolve, 500))
  return ways
}

const missing = ['iperf3', 'wrk', 'nginx', 'socat', 'sshd', 'ssh'].filter((name) => !which(name))
if (!existsSync(python)) missing.push('python environment')
if (missing.length > 0) {
  console.error(`bench: ${missing.join(', ')} not here (tools/provision.mjs installs them where it may)`)
  process.exit(1)
}

/** Titles, and flags of iperf3. */
const BULK = [
  ['bulk up', '-P', '1'],
  ['bulk down', '-R'],
  ['bulk up, 8 at once', '-P', '8'],
  ['bulk down, 8 at once', '-P', '8', '-R'],
]
const table = {}
/** What it costs that what was sent is kept, and what several WebSockets cost where one is enough: ratios, by what and test. */
const price = {}
const put = (metric, results, field, digits = 2) => {
  table[metric] = Object.fromEntries(
    Object.entries(results).map(([name, result]) => [
      name,
      result[field] === undefined ? undefined : Number(result[field].toFixed(digits)),
    ]),
  )
}
const all = Object.keys(WAYS)
try {
  const targets = await startTargets()
  const streams = await waysTo(targets.iperf, all)
  for (const [title, ...flags] of BULK) {
    const results = await compare(streams, (way) => bulk(way, ...flags))
    put(`${title}, Gbit/s`, results, 'gbits')
    put(`${title}, CPU s/GB`, results, 'cpuPerGb', 3)
  }
  for (const [what, base, dear] of [
    [
      'replay, beside the same build without',
      await sluice(targets.iperf, false, [], [buildWithoutReplay()]),
      streams.sluice,
    ],
    ['8 WebSockets, beside one', streams.sluice, await sluice(targets.iperf, false, ['--carriers', '8'])],
  ]) {
    price[what] = {}
    for (const [title, ...flags] of BULK) {
      // All code is compiled by then.
      for (const way of [base, dear]) await bulk(way, ...flags)
      const results = await compare({ base, dear }, (way) => bulk(way, ...flags), quick ? 1 : 3 * ROUNDS)
      const ratio = (field) => Number((results.dear[field] / results.base[field]).toFixed(3))
      price[what][title] = { rate: ratio('gbits'), cpu: ratio('cpuPerGb') }
    }
  }
  const echo = await waysTo(targets.echo, all)
  for (const way of Object.values(echo)) await echoCheck(way.port)
  const latency = await compare(echo, (way) => roundTrips(way.port))
  put('round trip p50, µs', latency, 'p50', 1)
  put('round trip p99, µs', latency, 'p99', 1)
  const web = await waysTo(targets.nginx, all)
  const requests = await compare(web, (way) => wrk(way, false))
  put('requests/s', requests, 'rate', 0)
  put('CPU µs per request', requests, 'cpuPerRequest', 1)
  const fresh = await compare(
    Object.fromEntries(Object.entries(web).filter(([name]) => name !== 'websockify')),
    (way) => wrk(way, true),
    quick ? 1 : 3,
  )
  put('new connections/s', fresh, 'rate', 0)
  const idle = {}
  for (const [name, way] of Object.entries(echo)) idle[name] = await idleMemory(way)
  put(`idle connection, of the first ${IDLE}, KiB`, idle, 'first', 1)
  put(`idle connection, of ${MANY_IDLE - IDLE} more, KiB`, idle, 'more', 1)
} finally {
  await endAll()
}

const show = (value, relay) =>
  value === undefined
    ? '–'
    : relay === undefined || relay === 0
      ? `${value}`
      : `${value} (${(value / relay).toFixed(2)})`
console.log(
  `Medians of ${ROUNDS} rounds, Node ${process.version}, ${cpus().length} cores; in brackets the ratio to the plain Node relay.\n`,
)
console.log(`| | ${all.join(' | ')} |\n| --- |${all.map(() => ' --- |').join('')}`)
for (const [metric, row] of Object.entries(table))
  console.log(`| ${metric} | ${all.map((name) => show(row[name], row.relay)).join(' | ')} |`)
for (const [what, tests] of Object.entries(price)) {
  for (const [title, { rate, cpu }] of Object.entries(tests))
    console.log(`Price of ${what}, ${title}: ${rate} of its rate, ${cpu} of its CPU`)
}
mkdirSync(join(root, 'artifacts'), { recursive: true })
writeFileSync(
  join(root, 'artifacts', 'bench.json'),
  JSON.stringify({ node: process.version, rounds: ROUNDS, table, price }, undefined, 2),
)
process.exit(0)
