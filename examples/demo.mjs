// `npm run demo`: an embedded target, a server and a client on this machine; real bytes through all of them, and what
// happened. `--keep` leaves it running. Needs nothing but Node.

import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const cli = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist', 'cli', 'main.js')
const keep = process.argv.includes('--keep')
const MIB = 1024 * 1024
const say = (text = '') => console.log(text)
const token = randomBytes(24).toString('base64url')
const children = []

/** Starts `sluice` and waits for what it says when it is ready. */
async function sluice(pattern, ...args) {
  const child = spawn(process.execPath, [cli, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, SLUICE_TOKEN: token, SLUICE_LOG_FORMAT: 'text' },
  })
  children.push(child)
  let said = ''
  for await (const chunk of child.stderr) {
    said += chunk
    const match = pattern.exec(said)
    if (match === null) continue
    child.stderr.resume()
    return match[1]
  }
  throw new Error(`sluice ${args[0]} ended: ${said}`)
}

/** The target: answers each line with the same line, or sends what `GET n` asks for, or hashes what `PUT n` brings. */
function target(socket) {
  socket.on('error', () => {})
  let mode
  let left = 0
  let hash
  socket.on('data', (chunk) => {
    if (mode === undefined) {
      const [verb, size] = chunk.toString('latin1').split('\n')[0].split(' ')
      if (verb === 'GET') {
        const block = Buffer.alloc(MIB, 'sluice ')
        const send = (rest) => (rest > 0 ? socket.write(block, () => send(rest - block.length)) : socket.end())
        return send(Number(size))
      }
      if (verb === 'PUT') {
        left = Number(size)
        hash = createHash('sha256')
        chunk = chunk.subarray(chunk.indexOf(10) + 1)
      }
      mode = verb
    }
    if (mode !== 'PUT') return socket.write(chunk)
    hash.update(chunk)
    left -= chunk.length
    if (left === 0) socket.end(hash.digest('hex'))
  })
}

async function open(port) {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

async function roundTrips(port, count) {
  const socket = await open(port)
  const times = []
  for (let i = 0; i < count; i++) {
    const started = process.hrtime.bigint()
    socket.write('x')
    await once(socket, 'data')
    times.push(Number(process.hrtime.bigint() - started) / 1e6)
  }
  socket.destroy()
  times.sort((a, b) => a - b)
  return times[Math.floor(times.length / 2)]
}

async function download(port, bytes) {
  const socket = await open(port)
  const started = process.hrtime.bigint()
  let got = 0
  socket.on('data', (chunk) => (got += chunk.length))
  socket.write(`GET ${bytes}\n`)
  await once(socket, 'end')
  if (got !== bytes) throw new Error(`${got} bytes came instead of ${bytes}`)
  return (bytes * 8) / Number(process.hrtime.bigint() - started)
}

async function upload(port, bytes) {
  const socket = await open(port)
  const data = randomBytes(bytes)
  socket.write(`PUT ${bytes}\n`)
  socket.write(data)
  const [digest] = await once(socket, 'data')
  return digest.toString() === createHash('sha256').update(data).digest('hex')
}

const server = net.createServer(target).listen(0, '127.0.0.1')
await once(server, 'listening')
const direct = server.address().port

try {
  say('sluice demo: a TCP connection inside a WebSocket\n')
  const url = await sluice(/serving on (\S+)/, 'serve', '--listen', '0', '--allow', `127.0.0.1:${direct}`)
  const tunnel = Number(await sluice(/listening on \S+:(\d+) for/, 'connect', url, '-L', `0:127.0.0.1:${direct}`))
  say(`  program ──TCP──▶ sluice connect ══WebSocket══▶ sluice serve ──TCP──▶ target`)
  say(
    `           :${String(tunnel).padEnd(6)}                  :${url.split(':').at(-1).padEnd(6)}                :${direct}\n`,
  )
  const whole = await upload(tunnel, 16 * MIB)
  say(
    `${whole ? '✔' : '✘'} 16 MiB of random bytes up, and the SHA-256 that the target computed came back ${whole ? 'equal' : 'DIFFERENT'}`,
  )
  await download(tunnel, 64 * MIB)
  await download(direct, 64 * MIB)
  const rates = { direct: await download(direct, 512 * MIB), tunnel: await download(tunnel, 512 * MIB) }
  const trips = { direct: await roundTrips(direct, 1000), tunnel: await roundTrips(tunnel, 1000) }
  say('✔ 512 MiB down, every byte counted\n')
  say('                      direct      through sluice')
  say(`  throughput     ${rates.direct.toFixed(1).padStart(6)} Gbit/s    ${rates.tunnel.toFixed(1).padStart(6)} Gbit/s`)
  say(`  round trip p50 ${trips.direct.toFixed(3).padStart(6)} ms        ${trips.tunnel.toFixed(3).padStart(6)} ms\n`)
  say('Where to go from here:')
  say('  npx sluice serve --allow db.corp:5432              on the machine that reaches the database')
  say('  npx sluice connect URL -L 5432:db.corp:5432        on yours; then: psql -h 127.0.0.1')
  say("  ssh -o ProxyCommand='npx sluice stdio URL %h:%p' user@host")
  say('  README.md has the same from a browser page, and docs/ the rest.')
  if (!whole) process.exitCode = 1
  if (keep) {
    say(
      `\nStill running (--keep): 127.0.0.1:${tunnel} leads to an echo. Server: ${url}, SLUICE_TOKEN=${token}. Ctrl-C ends it.`,
    )
    await once(process, 'SIGINT')
  }
} finally {
  for (const child of children.reverse()) child.kill()
  server.close()
}
