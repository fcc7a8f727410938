// Wrong credentials as fast as they come, and handshakes that are never finished: what a server makes of them, beside a flood of plain 404s
// against bare node:http; how much slower the streams that run become, and memory. Then whether right-length and wrong-length tokens are told apart by time.
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { fileURLToPath } from 'node:url'
import { endAll, percentile, said, sleep, start, TOKEN } from './processes.mjs'

const SECONDS = process.argv.includes('--quick') ? 2 : 8
const self = fileURLToPath(import.meta.url)
const WRONG = 'wrong-token-0123456789abcdefgh'

if (process.argv[2] === '--bare') {
  const server = http.createServer((_, response) => response.writeHead(404).end('there is nothing here\n'))
  server.listen(0, '127.0.0.1', () => console.log(`up ${server.address().port}`))
} else if (process.argv[2] === '--flood') {
  const [, , , port, kept, path] = process.argv
  console.log(await flood(Number(port), kept === 'kept', path))
  process.exit(0)
} else if (process.argv.includes('--timing')) {
  await timing()
  process.exit(0)
} else await main()

/** 32 in a closed loop; how many were answered a second. */
async function flood(port, kept, path) {
  const agent = new http.Agent({ keepAlive: kept, maxSockets: 32 })
  const end = performance.now() + SECONDS * 1000
  let answered = 0
  const headers = { Authorization: `Bearer ${WRONG}` }
  const one = () =>
    new Promise((resolve) => {
      const request = http.get({ port, host: '127.0.0.1', path, agent, headers }, (response) => {
        response.resume()
        response.on('end', resolve)
      })
      request.on('error', resolve)
    })
  const loop = async () => {
    while (performance.now() < end) {
      await one()
      answered++
    }
  }
  await Promise.all(Array.from({ length: 32 }, loop))
  return (answered / SECONDS).toFixed(0)
}

async function main() {
  const echo = net.createServer((socket) => socket.on('error', () => {}).pipe(socket))
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
  const cli = 'dist/cli/main.js'
  const bare = start(process.execPath, [self, '--bare'])
  const [, barePort] = await said(bare, /up (\d+)/)
  const server = start(process.execPath, [cli, 'serve', '--listen', '0', '--allow', `127.0.0.1:${echo.address().port}`])
  const [, url, port] = await said(server, /serving on (\S+:(\d+))/)
  const client = start(process.execPath, [cli, 'connect', url, '-L', `0:127.0.0.1:${echo.address().port}`])
  const [, local] = await said(client, /listening on \S+:(\d+) for/)
  const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readStatus(server.child.pid))[1]) / 1024
  const { readFileSync } = await import('node:fs')
  function readStatus(pid) {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  }

  const socket = net.connect({ port: Number(local), host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  socket.on('error', () => {})
  /** One byte and back through the session, again and again, for so long; p50 and p99 in ms. */
  async function echoes(seconds) {
    const times = []
    const end = performance.now() + seconds * 1000
    while (performance.now() < end) {
      const sent = performance.now()
      socket.write('x')
      await once(socket, 'data')
      times.push(performance.now() - sent)
    }
    return `${percentile(times, 50).toFixed(2)} / ${percentile(times, 99).toFixed(2)}`
  }

  await echoes(1)
  console.log(
    '| | answers/s | echo through a session p50 / p99, ms | memory of the server, MiB |\n| --- | --- | --- | --- |',
  )
  console.log(`| nothing else | | ${await echoes(SECONDS)} | ${memory().toFixed(0)} |`)
  for (const [name, at, ...args] of [
    ['404s of bare node:http, new connections', barePort, 'new', '/'],
    ['404s of bare node:http, kept connections', barePort, 'kept', '/'],
    ['wrong tokens, new connections', port, 'new', `/tcp/127.0.0.1/${echo.address().port}`],
    ['wrong tokens, kept connections', port, 'kept', `/tcp/127.0.0.1/${echo.address().port}`],
  ]) {
    const flooding = start(process.execPath, [self, '--flood', at, ...args])
    await sleep(300)
    const felt = await echoes(SECONDS - 1)
    await once(flooding.child, 'close')
    console.log(`| ${name} | ${flooding.out.trim()} | ${felt} | ${memory().toFixed(0)} |`)
  }
  const half = []
  for (let i = 0; i < 10_000; i++) {
    const one = net.connect(Number(port), '127.0.0.1')
    one.on('error', () => {})
    one.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n')
    half.push(one)
    if (i % 500 === 0) await sleep(20)
  }
  const felt = await echoes(2)
  console.log(`| 10,000 half-done handshakes | | ${felt} | ${memory().toFixed(0)} |`)
  await sleep(12_000)
  console.log(`| 12 s after them | | ${await echoes(2)} | ${memory().toFixed(0)} |`)
  for (const one of half) one.destroy()
  await endAll()
  await timing()
  process.exit(0)
}

/** How long TokenAuth takes with wrong tokens of the right length and of others, in turn: medians, and how far apart chance would put them. */
async function timing() {
  const { TokenAuth } = await import('../dist/server/index.js')
  const auth = new TokenAuth([{ name: 'ann', token: TOKEN }])
  const kinds = {
    'right length': `${TOKEN.slice(0, -1)}~`,
    shorter: TOKEN.slice(0, -4),
    longer: `${TOKEN}wxyz`,
    'other from the first': `~${TOKEN.slice(1)}`,
  }
  const times = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, []]))
  for (let i = 0; i < 40_000; i++) {
    // In an order of chance: whoever comes first finds other caches.
    const order = Object.entries(kinds).sort(() => Math.random() - 0.5)
    for (const [kind, token] of order) {
      const fields = [['Authorization', `Bearer ${token}`]]
      const started = process.hrtime.bigint()
      auth.authenticate({ fields, peer: '', client: '' })
      times[kind].push(Number(process.hrtime.bigint() - started))
    }
  }
  console.log(
    '\nTime of a wrong token, ns, 40,000 of each in turn: median, quartiles; z of Mann-Whitney against the right length',
  )
  const base = times['right length'].slice(5_000)
  for (const [kind, all] of Object.entries(times)) {
    const values = all.slice(5_000)
    console.log(
      `${kind}: ${percentile(values, 50)} (${percentile(values, 25)} to ${percentile(values, 75)}), z ${z(values, base).toFixed(1)}`,
    )
  }
}

function z(one, other) {
  const all = [...one.map((value) => [value, 0]), ...other.map((value) => [value, 1])].sort((a, b) => a[0] - b[0])
  let ranks = 0
  for (let i = 0; i < all.length; ) {
    let j = i
    while (j < all.length && all[j][0] === all[i][0]) j++
    for (let k = i; k < j; k++) if (all[k][1] === 0) ranks += (i + j + 1) / 2
    i = j
  }
  const [n, m] = [one.length, other.length]
  const u = ranks - (n * (n + 1)) / 2
  return (u - (n * m) / 2) / Math.sqrt((n * m * (n + m + 1)) / 12)
}
