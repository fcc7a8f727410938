// Measures sluice over an emulated long line: two network namespaces joined by bench/wan/wanlink.c, 50 ms round trip. First byte of
// a new connection, bulk with and without loss, and keystrokes beside bulk on a slow line; each beside the direct connection in
// the same minutes. Needs root, ip, cc and iperf3. Writes artifacts/line.json. `--seconds N` for each bulk test, `--quick`,
// `--scenes open,flow,loss,keys,http,udp,return` for some of it.
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from '../tools/root.mjs'
import { argument, endAll, iperf, output, percentile, said, sleep, start } from './processes.mjs'

const self = fileURLToPath(import.meta.url)

/** Inside the client's namespace: how long until the first byte of the answer on a new connection, in ms. */
async function firstBytes(host, port, count) {
  const times = []
  for (let i = 0; i < count; i++) {
    const started = performance.now()
    const socket = net.connect({ host, port, noDelay: true })
    socket.write('x')
    await once(socket, 'data')
    times.push(performance.now() - started)
    socket.destroy()
  }
  return times
}

/** One byte every `pause` ms, and when each came back, in ms. */
async function keystrokes(host, port, count, pause = 10) {
  const socket = net.connect({ host, port, noDelay: true })
  await once(socket, 'connect')
  const sent = []
  const times = []
  socket.on('data', (chunk) => {
    for (let i = 0; i < chunk.length; i++) times.push(performance.now() - sent[times.length])
  })
  for (let i = 0; i < count; i++) {
    sent.push(performance.now())
    socket.write('k')
    await sleep(pause)
  }
  while (times.length < count) await sleep(10)
  socket.destroy()
  return times
}

/** A flow as games have it: a datagram 60 times a second; when each came back, in ms, null for those that did not. */
async function game(host, port, count) {
  const socket = createSocket('udp4')
  const sent = []
  const times = Array(count).fill(null)
  socket.on('message', (message) => {
    const number = message.readUInt32BE(0)
    times[number] = performance.now() - sent[number]
  })
  const started = performance.now()
  for (let i = 0; i < count; i++) {
    const payload = Buffer.alloc(100)
    payload.writeUInt32BE(i, 0)
    sent.push(performance.now())
    socket.send(payload, port, host)
    await sleep(Math.max(0, started + ((i + 1) * 1000) / 60 - performance.now()))
  }
  await sleep(2_000)
  socket.close()
  return times
}

const probe = process.argv.indexOf('--probe')
if (probe > 0) {
  const [what, host, port, count] = process.argv.slice(probe + 1)
  const measure = { first: firstBytes, game }[what] ?? keystrokes
  console.log(JSON.stringify(await measure(host, Number(port), Number(count), what === 'pauses' ? 150 : 10)))
  process.exit(0)
}

const quick = process.argv.includes('--quick')
const SECONDS = argument('--seconds', quick ? 3 : 8)
const KEYS = quick ? 300 : 2_000
/** Names, whether over TLS, and further flags of `connect`. */
const WAYS = [
  ['sluice', false],
  ['sluice, 1 WebSocket', false, '--carriers', '1'],
  ['sluice, 8 WebSockets', false, '--carriers', '8'],
  ['sluice, TLS', true],
  ['sluice plain', false, '--plain'],
]
/** Those that carry datagrams; each with one WebSocket beside, so that it is known what several do. */
const DATAGRAMS = [
  ['sluice', false],
  ['sluice, 1 WebSocket', false, '--carriers', '1'],
  ['sluice, TLS', true],
].map((way) => [...way, '-L', '0:127.0.0.1:7008/udp'])
/** The kinds of carriers, each over TLS and alone. */
const TRANSPORTS = ['websocket', 'http2', 'stream', 'poll', 'turns'].map((name) => [
  `${name}, TLS`,
  true,
  ...['--carriers', '1', '--transport', name],
])
const [A, B] = [`sluice-a-${process.pid}`, `sluice-b-${process.pid}`]
const [ADDRESS_A, ADDRESS_B] = ['10.200.7.1', '10.200.7.2']

const inside = (name, program, ...args) => start('ip', ['netns', 'exec', name, program, ...args])
const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] })

/** A line, the targets behind it, and every way to them. */
async function scene(settings, act, kinds = WAYS) {
  ip('netns', 'add', A)
  ip('netns', 'add', B)
  try {
    for (const name of [A, B]) ip('netns', 'exec', name, 'ip', 'link', 'set', 'lo', 'up')
    start(join(root, '.tools', 'wanlink'), [A, ADDRESS_A, B, ADDRESS_B, 'delay_ms=25', ...settings])
    await sleep(500)
    inside(B, 'iperf3', '-s', '-p', '5201')
    const echo =
      "require('net').createServer({noDelay:true},s=>{s.on('error',()=>{});s.pipe(s)}).listen(7007,'0.0.0.0',()=>console.log('up'))"
    await said(inside(B, process.execPath, '-e', echo), /up/)
    const udp =
      "const s=require('dgram').createSocket('udp4');s.on('message',(m,f)=>s.send(m,f.port,f.address));s.bind(7008,'0.0.0.0',()=>console.log('up'))"
    await said(inside(B, process.execPath, '-e', udp), /up/)
    const ways = { direct: { host: ADDRESS_B, bulk: 5201, echo: 7007, udp: 7008 } }
    for (const [name, tls, ...more] of kinds) {
      const flags = [
        '--allow',
        '127.0.0.1:5201,7007',
        '--allow',
        '127.0.0.1:7008/udp',
        '--allow-reverse',
        '127.0.0.1:7100',
        ...(tls ? ['--tls-self-signed'] : []),
      ]
      const server = inside(B, process.execPath, 'dist/cli/main.js', 'serve', '--listen', `${ADDRESS_B}:0`, ...flags)
      const [, url] = await said(server, /serving on (\S+)/)
      const pin = tls ? ['--pin', (await said(server, /--pin (\S+)/))[1]] : []
      const forwards = [...more, '-L', '0:127.0.0.1:5201', '-L', '0:127.0.0.1:7007']
      const client = inside(A, process.execPath, 'dist/cli/main.js', 'connect', url, ...forwards, ...pin)
      const [, echoPort] = await said(client, /listening on \S+:(\d+) for 127.0.0.1:7007/)
      const [, bulkPort] = await said(client, /listening on \S+:(\d+) for 127.0.0.1:5201/)
      const udpPort = /listening on \S+:(\d+)\/udp for/.exec(client.out)?.[1]
      ways[name] = { host: '127.0.0.1', bulk: Number(bulkPort), echo: Number(echoPort), udp: Number(udpPort), url }
    }
    await act(ways)
  } finally {
    await endAll()
    for (const name of [A, B]) ip('netns', 'del', name)
  }
}

async function measure(what, { host, echo, udp }, count) {
  const port = what === 'game' ? udp : echo
  return JSON.parse(await output(inside(A, process.execPath, self, '--probe', what, host, String(port), String(count))))
}

async function bulk(way, ...flags) {
  const args = ['-c', way.host, '-p', String(way.bulk), '-t', String(SECONDS), '-J', ...flags]
  const end = await iperf(() => inside(A, 'iperf3', ...args))
  return end.sum_received.bits_per_second / 1e6
}

/** Time of all CPUs so far, in ticks. */
function cpuTime() {
  const ticks = readFileSync('/proc/stat', 'utf8').split('\n')[0].trim().split(/\s+/).slice(1, 9).map(Number)
  return { idle: ticks[3] + ticks[4], all: ticks.reduce((sum, one) => sum + one, 0) }
}

const table = {}
const put = (metric, name, value, digits = 1) => {
  table[metric] ??= {}
  table[metric][name] = Number(value.toFixed(digits))
}

/** Each way in turn goes through those of a line. */
const tests = [
  [['1 stream up', '-P', '1']],
  [['1 stream down', '-R']],
  // At once again: of a session all is there already, whereas connections without it begin anew.
  [
    ['8 streams up', '-P', '8'],
    ['8 streams up at once again', '-P', '8'],
  ],
]
async function bulkTests(ways, label) {
  for (const line of tests) {
    for (const [name, way] of Object.entries(ways)) {
      for (const [title, ...flags] of line) {
        const before = cpuTime()
        put(`${title}, ${label}, Mbit/s`, name, await bulk(way, ...flags))
        const after = cpuTime()
        // Where it is near 0, the machine is what limits, not the line: everything of the rig runs on it.
        put(`${title}, ${label}, idle CPU, %`, name, (100 * (after.idle - before.idle)) / (after.all - before.all), 0)
      }
    }
  }
}

if (process.getuid?.() !== 0) {
  console.error('line: needs root, for network namespaces')
  process.exit(1)
}
mkdirSync(join(root, '.tools'), { recursive: true })
execFileSync('cc', ['-O2', '-o', join(root, '.tools', 'wanlink'), join(root, 'bench', 'wan', 'wanlink.c')])
const chosen = process.argv.includes('--scenes')
  ? process.argv[process.argv.indexOf('--scenes') + 1].split(',')
  : undefined
const wants = (name) => chosen === undefined || chosen.includes(name)

if (wants('open')) {
  await scene(['loss=0'], async (ways) => {
    for (const [name, way] of Object.entries(ways)) {
      await measure('first', way, 2)
      put('first byte of a new connection p50, ms', name, percentile(await measure('first', way, quick ? 10 : 40), 50))
    }
    await bulkTests(ways, 'no loss')
  })
}
if (wants('flow')) await scene(['loss=0', 'flow_mbit=20'], (ways) => bulkTests(ways, '20 Mbit/s per flow'))
if (wants('loss')) await scene(['loss=0.01'], (ways) => bulkTests(ways, '1 % loss'))
if (wants('http')) await scene(['loss=0'], transportTests, TRANSPORTS)
if (wants('keys')) await scene(['loss=0', 'mbit=50'], keystrokeTests)
if (wants('return')) await scene(['loss=0'], returnTests, [['sluice', false]])
if (wants('udp')) await scene(['loss=0', 'mbit=50'], datagramTests, DATAGRAMS)

/**
 * A client with -R that is killed and started again: how long from the server's letting it in until it has its port back, and
 * from the start of its process.
 */
async function returnTests({ sluice: { url } }) {
  const flags = ['--log-format', 'json', '-v', '-R', '7100:127.0.0.1:7007']
  const [fromStart, fromEntry] = [[], []]
  for (let i = 0; i <= (quick ? 5 : 20); i++) {
    const started = Date.now()
    const client = inside(A, process.execPath, 'dist/cli/main.js', 'connect', url, ...flags)
    await said(client, /the server listens on/)
    const lines = client.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const at = (text) => Date.parse(lines.find(({ message }) => message.includes(text)).time)
    client.child.kill('SIGKILL')
    await once(client.child, 'close')
    if (i === 0) continue
    fromStart.push(at('the server listens on') - started)
    fromEntry.push(at('the server listens on') - at('lets us in'))
  }
  put('port of a client that was killed: back after its entry, p50, ms', 'sluice', percentile(fromEntry, 50))
  put('the most', 'sluice', Math.max(...fromEntry))
  put('back after the start of its process, p50, ms', 'sluice', percentile(fromStart, 50))
}

async function transportTests(ways) {
  for (const [[title, ...flags]] of tests.slice(0, 2)) {
    for (const [name, way] of Object.entries(ways)) put(`${title}, by kind, Mbit/s`, name, await bulk(way, ...flags))
  }
  for (const [name, way] of Object.entries(ways)) {
    const idle = await measure('pauses', way, 40)
    put('one byte and back, by kind, p50, ms', name, percentile(idle, 50))
  }
}

/** A TCP stream that fills the line for so many seconds. */
function fill(way, seconds) {
  return inside(A, 'iperf3', '-c', way.host, '-p', String(way.bulk), '-t', String(seconds), '-J')
}

/** A flow of datagrams through each way, alone and beside a stream of the same way, and a direct one at the same time. */
async function datagramTests(ways) {
  const count = quick ? 240 : 1_200
  const report = (title, name, times) => {
    const come = times.filter((time) => time !== null)
    put(`${title}: lost, %`, name, (100 * (times.length - come.length)) / times.length, 2)
    put(`${title}: p50, ms`, name, percentile(come, 50))
    put(`${title}: p99, ms`, name, percentile(come, 99))
  }
  for (const [name, way] of Object.entries(ways)) {
    report('60 datagrams/s, idle line', name, await measure('game', way, count))
    const load = fill(way, Math.ceil(count / 60) + 8)
    await sleep(4_000)
    const [own, direct] = await Promise.all([measure('game', way, count), measure('game', ways.direct, count)])
    report('60 datagrams/s beside a stream', name, own)
    report('a direct flow at the same time', name, direct)
    put('that stream, Mbit/s', name, JSON.parse(await output(load)).end.sum_received.bits_per_second / 1e6)
  }
}

async function keystrokeTests(ways) {
  for (const [name, way] of Object.entries(ways)) {
    const idle = await measure('keys', way, KEYS / 4)
    put('keystroke on an idle 50 Mbit/s line p50, ms', name, percentile(idle, 50))
    put('keystroke on an idle 50 Mbit/s line p99, ms', name, percentile(idle, 99))
    const load = fill(way, Math.ceil(KEYS / 90) + 6)
    await sleep(4_000)
    const busy = await measure('keys', way, KEYS)
    const mbits = JSON.parse(await output(load)).end.sum_received.bits_per_second / 1e6
    put('keystroke beside bulk p50, ms', name, percentile(busy, 50))
    put('keystroke beside bulk p99, ms', name, percentile(busy, 99))
    put('that bulk, Mbit/s', name, mbits)
  }
}

console.log(`Round trip 50 ms, ${SECONDS} s for each bulk test, ${KEYS} keystrokes; in brackets the ratio to direct.`)
let columns = ''
for (const [metric, row] of Object.entries(table)) {
  const names = Object.keys(row)
  // A table for those that were measured by the same ways.
  if (names.join() !== columns)
    console.log(`\n| | ${names.join(' | ')} |\n| --- |${names.map(() => ' --- |').join('')}`)
  columns = names.join()
  const ratio = (name) => (row.direct > 0 ? ` (${(row[name] / row.direct).toFixed(2)})` : '')
  console.log(`| ${metric} | ${names.map((name) => `${row[name]}${ratio(name)}`).join(' | ')} |`)
}
mkdirSync(join(root, 'artifacts'), { recursive: true })
writeFileSync(
  join(root, 'artifacts', 'line.json'),
  JSON.stringify({ node: process.version, seconds: SECONDS, table }, undefined, 2),
)
process.exit(0)
