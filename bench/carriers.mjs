// The kinds of carriers on loopback over TLS, beside the least that node:http2 can do: bulk each way, and a byte there and back.
// `--quick` is for smoke only; `--seconds N` for each bulk test, `--rounds N`, whose medians are told. Needs iperf3 and openssl.
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../tools/free-port.mjs'
import { argument, endAll, iperf, percentile, said, start } from './processes.mjs'

const quick = process.argv.includes('--quick')
const SECONDS = argument('--seconds', quick ? 1 : 4)
const ROUNDS = argument('--rounds', quick ? 1 : 3)
const BYTES = quick ? 200 : 2_000
const KINDS = ['websocket', 'http2', 'stream', 'poll']
const node = process.execPath
const folder = mkdtempSync(join(tmpdir(), 'sluice-carriers-'))
const port = (running, pattern) => said(running, pattern).then(([, found]) => Number(found))

/** Ports of this way for bulk and for echo. */
async function bare(targets) {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const subject = ['-subj', '/CN=localhost', '-days', '1', '-nodes']
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', ...subject, '-keyout', key, '-out', cert], {
    stdio: 'ignore',
  })
  const ports = targets.map(async (target) => {
    const server = start(node, ['bench/bare-http2.mjs', 'server', cert, key, String(target)])
    const [, url] = await said(server, /serving on (\S+)/)
    return port(start(node, ['bench/bare-http2.mjs', 'client', url]), /listening on \S+:(\d+)/)
  })
  return Promise.all(ports)
}

async function sluice(kind, targets) {
  const allow = ['--allow', `127.0.0.1:${targets.join(',')}`]
  const server = start(node, ['dist/cli/main.js', 'serve', '--listen', '127.0.0.1:0', '--tls-self-signed', ...allow])
  const [, url] = await said(server, /serving on (\S+)/)
  const [, pin] = await said(server, /--pin (\S+)/)
  const forwards = targets.flatMap((target) => ['-L', `0:127.0.0.1:${target}`])
  const flags = ['--transport', kind, '--carriers', '1', '--pin', pin]
  const client = start(node, ['dist/cli/main.js', 'connect', url, ...flags, ...forwards])
  return Promise.all(
    targets.map((target) => port(client, new RegExp(`listening on \\S+:(\\d+) for 127.0.0.1:${target}`))),
  )
}

async function bulk(to, ...flags) {
  const args = ['-c', '127.0.0.1', '-p', String(to), '-t', String(SECONDS), '-J', ...flags]
  const end = await iperf(() => start('iperf3', args))
  return end.sum_received.bits_per_second / 1e6
}

async function byteAndBack(to) {
  const socket = net.connect({ port: to, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const times = []
  for (let i = 0; i < BYTES; i++) {
    const started = performance.now()
    socket.write('x')
    await once(socket, 'data')
    times.push(performance.now() - started)
  }
  socket.destroy()
  return percentile(times, 50)
}

try {
  const target = await freePort()
  start('iperf3', ['-s', '-p', String(target)])
  const echo = net.createServer({ noDelay: true }, (socket) => socket.pipe(socket).on('error', () => {}))
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
  const targets = [target, echo.address().port]
  const ways = new Map([['node:http2 alone', await bare(targets)]])
  for (const kind of KINDS) ways.set(kind, await sluice(kind, targets))
  const median = (values) => percentile(values, 50)
  console.log(
    `Loopback over TLS, medians of ${ROUNDS} rounds of ${SECONDS} s; in brackets the ratio to node:http2 alone.\n`,
  )
  console.log('| | bulk up, Mbit/s | bulk down, Mbit/s | one byte and back, p50, ms |\n| --- | --- | --- | --- |')
  const figures = new Map([...ways.keys()].map((name) => [name, [[], [], []]]))
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, [to, echoes]] of ways) {
      const [up, down, byte] = figures.get(name)
      up.push(await bulk(to))
      down.push(await bulk(to, '-R'))
      byte.push(await byteAndBack(echoes))
    }
  }
  const base = figures.get('node:http2 alone').map(median)
  for (const [name, columns] of figures) {
    const shown = columns
      .map(median)
      .map((value, index) => `${value.toFixed(index === 2 ? 3 : 0)} (${(value / base[index]).toFixed(2)})`)
    console.log(`| ${name} | ${shown.join(' | ')} |`)
  }
  echo.close()
} finally {
  await endAll()
  rmSync(folder, { recursive: true })
}
process.exit(0)
