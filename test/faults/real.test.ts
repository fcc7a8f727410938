import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type net from 'node:net'
import { describe, it } from 'node:test'
import { connectTo, echo, listen, receiveAll, say, until } from '../helpers/net.js'
import { Random } from '../helpers/random.js'
import { type SessionRig, startSessionRig } from '../helpers/session-rig.js'

const RUNS = process.env.SLUICE_LONG === '1' ? 100 : 5
const LENGTH = 64 * 1024 * 1024

/** Bytes that depend on their place, and their checksum, without keeping them. */
function* source(seed: number, length: number): Generator<Buffer> {
  const block = new Random(seed).bytes(1 << 20)
  for (let at = 0; at < length; at += block.length) {
    const piece = Buffer.from(block.subarray(0, Math.min(block.length, length - at)))
    piece.writeUInt32LE(at >>> 0, 0)
    yield piece
  }
}

function checksum(pieces: Iterable<Buffer>): string {
  const hash = createHash('sha256')
  for (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}

/** Sends everything and ends; resolves with the checksum of what came back until the end. */
async function swap(socket: net.Socket, seed: number): Promise<string> {
  const hash = createHash('sha256')
  socket.on('data', (chunk: Buffer) => hash.update(chunk))
  const ended = new Promise<void>((resolve, reject) => {
    socket.once('end', resolve)
    socket.once('error', reject)
  })
  for (const piece of source(seed, LENGTH)) {
    if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve))
  }
  socket.end()
  await ended
  return hash.digest('hex')
}

describe('faults with real sockets', () => {
  it(`${RUNS} times 64 MiB each way while WebSockets are killed every 50 to 500 ms: equal checksums`, async () => {
    const random = new Random(77)
    const target = await listen(
      (socket) =>
        void swap(socket, 2).then(
          (sum) => sums.push(sum),
          () => sums.push('error'),
        ),
    )
    const sums: string[] = []
    const [up, down] = [checksum(source(1, LENGTH)), checksum(source(2, LENGTH))]
    let cuts = 0
    let resumes = 0
    for (let run = 0; run < RUNS; run++) {
      const rig = await startSessionRig(target.port, { carriers: 1 + (run % 4) })
      let timer: NodeJS.Timeout
      const kill = () => {
        if (random.below(3) === 0) rig.relay.cut()
        else rig.relay.cutOne(random.below(8))
        timer = setTimeout(kill, 50 + random.below(450))
      }
      timer = setTimeout(kill, 50)
      const got = await swap(await connectTo(rig.port), 1)
      clearTimeout(timer)
      assert.equal(got, down, `run ${run}: what came down`)
      await until(() => sums.length === run + 1, 'the target to have all')
      assert.equal(sums[run], up, `run ${run}: what came up`)
      cuts += rig.relay.cuts
      resumes += rig.told.filter((line) => line.startsWith('resumed')).length
      await rig.close()
    }
    console.log(`real runs: ${RUNS}, ${cuts} WebSockets killed, ${resumes} resumes`)
    assert.ok(cuts >= RUNS && resumes > 0, 'the faults did happen')
    await target.close()
  })

  it('the WebSocket is reset during HELLO, during the join, and during the second join', async () => {
    const target = await listen(echo)
    // A reset handshake would have it go on over HTTP at once.
    const rig = await startSessionRig(target.port, { transport: 'websocket' })
    const socket = await connectTo(rig.port)
    await say(socket, 'before')
    const connections = rig.relay.connections
    // The answer to the upgrade is some 130 bytes, the HELLO some 100 more, JOINED some 40 after that.
    rig.relay.cutNextAfter(60, 150, 250)
    rig.relay.cut()
    await say(socket, 'after three joins that failed')
    assert.equal(rig.relay.connections - connections, 4, 'three were cut, the fourth held')
    assert.equal(rig.told.filter((line) => line.startsWith('retrying')).length, 3, rig.told.join('\n'))
    await close(rig, socket)
    await target.close()
  })

  it('one of two WebSockets falls silent: its data goes to the other, long before it is given up', async () => {
    const target = await listen(echo)
    const rig = await startSessionRig(target.port, { carriers: 2 })
    await until(() => rig.tunnel.link!.session!.carriers.length === 2, 'two WebSockets')
    const socket = await connectTo(rig.port)
    const { session } = rig.tunnel.link!
    await rig.relay.swallowBusiest(async () => {
      for (let i = 0; i < 20; i++) await say(socket, `warm up ${i}`)
    })
    const started = performance.now()
    for (let i = 0; i < 20; i++) await say(socket, `while one is silent ${i}`)
    assert.ok(session!.figures.resent > 0 || session!.figures.carriers.some(({ stalled }) => stalled), 'it was noticed')
    assert.deepEqual(
      rig.told.filter((line) => line.startsWith('resumed')),
      [],
      'the session never waited',
    )
    console.log(`20 exchanges beside a silent WebSocket: ${(performance.now() - started).toFixed(0)} ms`)
    await close(rig, socket)
    await target.close()
  })

  it('SIGTERM of one process while another takes over: what runs goes on, what is new goes to the other', async () => {
    const target = await listen(echo)
    const rig = await startSessionRig(target.port)
    const next = await startSessionRig(target.port)
    const socket = await connectTo(rig.port)
    await say(socket, 'at the old one')
    rig.relay.target = next.serverPort
    const closing = rig.server.close(5_000)
    await until(() => rig.told.includes('renewed'), 'a new session')
    await say(socket, 'still at the old one')
    const fresh = await connectTo(rig.port)
    await say(fresh, 'at the new one')
    assert.equal(next.server.tunnel.sessions, 2)
    assert.equal(rig.server.tunnel.sessions, 1)
    socket.end()
    socket.resume()
    await receiveAll(socket)
    await closing
    await say(fresh, 'the old one is gone')
    fresh.destroy()
    await rig.close()
    await next.close()
    await target.close()
  })

  it('a join that reaches another process is sent on while the old one may live, and is told "gone" after that', async () => {
    const target = await listen(echo)
    const rig = await startSessionRig(target.port)
    const other = await startSessionRig(target.port, { server: { elsewhereFor: 1_500 } })
    const socket = await connectTo(rig.port)
    await say(socket, 'here')
    const home = rig.serverPort
    rig.relay.target = other.serverPort
    rig.relay.cut()
    await until(() => rig.told.some((line) => /at another process/.test(line)), 'to be sent on')
    rig.relay.target = home
    await say(socket, 'home again')
    rig.relay.target = other.serverPort
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    const ended = receiveAll(socket)
    rig.relay.cut()
    assert.equal((await ended).how, 'ECONNRESET')
    assert.ok(rig.told.some((line) => line.startsWith('gone: ERR_SLUICE_GONE')))
    await rig.close()
    await other.close()
    await target.close()
  })

  it('learns after how much quiet a box cuts, and pings before that', async () => {
    const { PathCuts } = await import('#src/link/index.js')
    const cuts = new PathCuts()
    assert.equal(cuts.interval(25_000), 25_000)
    assert.ok(cuts.cut(20_300, 500_000))
    assert.equal(cuts.interval(25_000), 25_000, 'one cut may be chance')
    assert.ok(cuts.cut(20_100, 900_000))
    assert.equal(cuts.interval(25_000), 20_100 * 0.7, 'two are a rule')
    assert.ok(!cuts.cut(200, 1_000), 'a cut while data flows says nothing')
    assert.ok(!cuts.cut(60_000, 61_000), 'nor does a longer quiet')
    const again = new PathCuts(JSON.parse(JSON.stringify(cuts.state)))
    assert.equal(again.interval(25_000), cuts.interval(25_000), 'what is kept is what is known')
    assert.equal(again.interval(0), 0, 'who turned pings off gets none')
  })

  it('learns at which age a box cuts, and opens the next connection before that', async () => {
    const { PathCuts } = await import('#src/link/index.js')
    const cuts = new PathCuts()
    assert.ok(cuts.cut(100, 60_000))
    assert.equal(cuts.age, undefined, 'one cut may be chance')
    cuts.cut(59_000, 60_000)
    assert.equal(cuts.age, undefined, 'what was quiet all its life says nothing of its age')
    assert.ok(cuts.cut(2_000, 61_000))
    assert.equal(cuts.age, 60_000, 'two are a rule')
    assert.equal(new PathCuts(JSON.parse(JSON.stringify(cuts.state))).age, 60_000, 'what is kept is what is known')
    cuts.outlived()
    assert.equal(cuts.age, undefined)

    const target = await listen(echo)
    const { PathMemory } = await import('#src/node/index.js')
    const rig = await startSessionRig(target.port, { paths: new PathMemory() })
    rig.relay.oldest = 2_500
    // The first one came before the box did.
    await new Promise((resolve) => setTimeout(resolve, 100))
    rig.relay.cut()
    const socket = await connectTo(rig.port)
    const keepOn = async (milliseconds: number) => {
      const end = performance.now() + milliseconds
      while (performance.now() < end) {
        await say(socket, 'still the same')
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
    await keepOn(6_500)
    const losses = () => rig.told.filter((line) => line.startsWith('lost')).length
    const [before, connections] = [losses(), rig.relay.connections]
    assert.equal(before, 3, rig.told.join('; '))
    await keepOn(6_000)
    assert.equal(losses(), before, `none more: ${rig.told.join('; ')}`)
    assert.ok(rig.relay.connections >= connections + 2, `${rig.relay.connections - connections} new connections`)
    await close(rig, socket)
    await target.close()
  })
})

async function close(rig: SessionRig, socket: net.Socket): Promise<void> {
  socket.destroy()
  await rig.close()
}
