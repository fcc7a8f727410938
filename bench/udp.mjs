// Measures UDP through one session on loopback: 1,000 flows of 20 datagrams a second, one way, in turn directly and through
// `sluice connect -L …/udp`: how many were lost, and how much memory client and server had at the beginning and at the end.
// Writes artifacts/udp.json. `--seconds N` for each turn, `--rounds N`, `--quick`.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from '../tools/root.mjs'
import { argument, endAll, output, said, sleep, start } from './processes.mjs'

const self = fileURLToPath(import.meta.url)
const quick = process.argv.includes('--quick')
const FLOWS = quick ? 100 : 1_000
const RATE = 20
const SECONDS = argument('--seconds', quick ? 1 : 10)
const ROUNDS = argument('--rounds', quick ? 1 : 3)
const SIZE = 100

const memory = ({ child }) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0) / 1024

/** Sends so many datagrams from each of so many ports, spread evenly, and says how many. */
async function send(port, flows, perFlow) {
  const payload = Buffer.alloc(SIZE, 1)
  const sockets = Array.from({ length: flows }, () => createSocket('udp4'))
  await Promise.all(sockets.map((socket) => (socket.connect(port, '127.0.0.1'), once(socket, 'connect'))))
  // A first one of each makes the flow; it is not counted.
  for (const socket of sockets) socket.send('')
  await sleep(1_000)
  const started = performance.now()
  const total = flows * perFlow
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - started) * flows * RATE) / 1000))
    for (; sent < due; sent++) sockets[sent % flows].send(payload)
    await sleep(1)
  }
  await sleep(1_000)
  for (const socket of sockets) socket.close()
  return total
}

/** Counts what comes, and says so when asked by a datagram of one byte. */
function count() {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 8 * 1024 * 1024 })
  let come = 0
  socket.on('message', (message, from) => {
    if (message.length === SIZE) come++
    else if (message.length === 1) socket.send(String(come), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1', () => console.log(`port ${socket.address().port}`))
}

if (process.argv.includes('--send')) {
  const [port, flows, perFlow] = process.argv.slice(process.argv.indexOf('--send') + 1).map(Number)
  console.log(await send(port, flows, perFlow))
  process.exit(0)
}
if (process.argv.includes('--count')) count()
else await main()

async function main() {
  const sink = start(process.execPath, [self, '--count', ...(quick ? ['--quick'] : [])])
  const [, port] = await said(sink, /port (\d+)/)
  const asker = createSocket('udp4')
  const come = async () => {
    asker.send('?', Number(port), '127.0.0.1')
    return Number((await once(asker, 'message'))[0])
  }
  const cli = join('dist', 'cli', 'main.js')
  const server = start(process.execPath, [cli, 'serve', '--listen', '0', '--allow', `127.0.0.1:${port}/udp`])
  const [, url] = await said(server, /serving on (\S+)/)
  const client = start(process.execPath, [cli, 'connect', url, '-L', `0:127.0.0.1:${port}/udp`])
  const [, tunnel] = await said(client, /listening on \S+:(\d+)\/udp for/)
  const lost = { direct: [], sluice: [] }
  const rss = []
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, to] of [
      ['direct', port],
      ['sluice', tunnel],
    ]) {
      const before = await come()
      const flags = ['--send', to, FLOWS, RATE * SECONDS].map(String)
      const sent = Number(await output(start(process.execPath, [self, ...flags])))
      lost[name].push(1 - ((await come()) - before) / sent)
    }
    rss.push({ client: memory(client), server: memory(server) })
  }
  await endAll()
  asker.close()
  const percent = (values) => values.map((value) => `${(value * 100).toFixed(2)} %`).join(', ')
  console.log(
    `${FLOWS} flows of ${RATE} datagrams of ${SIZE} bytes a second, one way, ${SECONDS} s each, ${ROUNDS} rounds in turn:`,
  )
  console.log(`lost directly: ${percent(lost.direct)}; through one session: ${percent(lost.sluice)}`)
  console.log(
    `memory after each round, client and server, MiB: ${rss.map((one) => `${one.client.toFixed(0)} and ${one.server.toFixed(0)}`).join(', ')}`,
  )
  mkdirSync(join(root, 'artifacts'), { recursive: true })
  writeFileSync(
    join(root, 'artifacts', 'udp.json'),
    JSON.stringify({ node: process.version, flows: FLOWS, rate: RATE, seconds: SECONDS, lost, rss }, undefined, 2),
  )
}
