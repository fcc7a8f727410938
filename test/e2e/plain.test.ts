import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import {
  closedPort,
  connectTo,
  echo,
  type Listening,
  listen,
  type Received,
  receive,
  receiveAll,
  send,
  sleep,
  until,
} from '../helpers/net.js'
import { type Rig, startRig } from '../helpers/rig.js'

const LONG = process.env.SLUICE_LONG === '1'
/** On a further Node version a few runs are enough to see that both ways of reading work there. */
const SHORT = process.env.SLUICE_SHORT === '1'
const SMALL_RUNS = SHORT ? 50 : 200
const LARGE_RUNS = SHORT ? 5 : LONG ? 200 : 20

/** The ways in which bytes get from the system to us, plain and over TLS. */
const WAYS = [
  { readMode: 'onread', tls: false },
  { readMode: 'data', tls: false },
  { readMode: 'onread', tls: true },
  { readMode: 'data', tls: true },
] as const

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** A target whose behaviour each test sets. */
let behave: (socket: net.Socket) => void = echo

for (const way of WAYS) {
  describe(`plain mode, read by ${way.readMode}${way.tls ? ', over TLS' : ''}`, () => {
    let target: Listening
    let rig: Rig
    before(async () => {
      target = await listen((socket) => behave(socket))
      rig = await startRig(target.port, { ...way, halfCloseTimeout: 400 })
    })
    after(async () => {
      await rig.close()
      await target.close()
    })
    const settled = () =>
      until(() => rig.forward.connections === 0 && rig.server.tunnel.connections === 0, 'all connections to end')

    it('echoes 8 MiB, byte for byte', async () => {
      behave = echo
      const socket = await connectTo(rig.port)
      const bytes = randomBytes(8 * 1024 * 1024)
      const back = receive(socket, bytes.length)
      await send(socket, bytes)
      assert.equal(digest(await back), digest(bytes))
      socket.destroy()
      await settled()
    })

    it('moves 16 MiB each way at once', async () => {
      const up = randomBytes(16 * 1024 * 1024)
      const down = randomBytes(16 * 1024 * 1024)
      const arrived = new Promise<string>((resolve) => {
        behave = (socket) => {
          socket.write(down)
          void receive(socket, up.length).then((bytes) => {
            resolve(digest(bytes))
            socket.end()
          })
        }
      })
      const socket = await connectTo(rig.port)
      socket.write(up)
      assert.equal(digest(await receive(socket, down.length)), digest(down))
      assert.equal(await arrived, digest(up))
      socket.destroy()
      await settled()
    })

    it(`loses nothing of a target that sends and closes at once: 16 KiB, ${SMALL_RUNS} times, and 10 MiB, ${LARGE_RUNS} times`, async () => {
      const small = randomBytes(16 * 1024)
      behave = (socket) => {
        for (let i = 0; i < small.length; i++) socket.write(small.subarray(i, i + 1))
        socket.end()
      }
      for (let run = 0; run < SMALL_RUNS; run++) {
        const { bytes, how } = await receiveAll(await connectTo(rig.port))
        assert.deepEqual([bytes.length, how, digest(bytes)], [small.length, 'end', digest(small)], `run ${run}`)
      }
      const large = randomBytes(10 * 1024 * 1024)
      behave = (socket) => {
        for (let i = 0; i < large.length; i += 65536) socket.write(large.subarray(i, i + 65536))
        socket.end()
      }
      for (let run = 0; run < LARGE_RUNS; run++) {
        const socket = await connectTo(rig.port)
        const { bytes, how } = await receiveAll(socket)
        assert.deepEqual([bytes.length, how, digest(bytes)], [large.length, 'end', digest(large)], `run ${run}`)
        socket.destroy()
      }
    })

    it(`loses nothing of a client that sends and closes at once: 16 KiB, ${SMALL_RUNS} times, and 10 MiB, ${LARGE_RUNS} times`, async () => {
      const arrivals: Promise<Received>[] = []
      behave = (socket) => {
        arrivals.push(receiveAll(socket))
        socket.once('end', () => socket.end())
      }
      // Plain mode cannot say half-close, so each one takes the half-close time: many at once.
      const sendAll = async (bytes: Buffer, piece: number, runs: number, atOnce: number) => {
        for (let done = 0; done < runs; done += atOnce) {
          arrivals.length = 0
          for (let i = 0; i < atOnce; i++) {
            const socket = await connectTo(rig.port)
            for (let at = 0; at < bytes.length; at += piece) socket.write(bytes.subarray(at, at + piece))
            socket.end()
            socket.resume()
          }
          await until(() => arrivals.length === atOnce, 'the target to be reached')
          for (const { bytes: got, how } of await Promise.all(arrivals)) {
            assert.deepEqual([got.length, how, digest(got)], [bytes.length, 'end', digest(bytes)])
          }
        }
      }
      await sendAll(randomBytes(16 * 1024), 1, SMALL_RUNS, 50)
      await sendAll(randomBytes(10 * 1024 * 1024), 65536, LARGE_RUNS, 5)
    })

    it('goes on receiving after a local end of stream until the target has sent everything', async () => {
      const large = randomBytes(6 * 1024 * 1024)
      let asked = ''
      behave = (socket) => {
        socket.once('data', (chunk) => {
          asked = chunk.toString()
          void (async () => {
            for (let i = 0; i < large.length; i += 1024 * 1024) {
              await sleep(40)
              await send(socket, large.subarray(i, i + 1024 * 1024))
            }
            socket.end()
          })()
        })
      }
      const socket = await connectTo(rig.port)
      socket.end('give me all')
      const { bytes, how } = await receiveAll(socket)
      assert.deepEqual([bytes.length, how, digest(bytes), asked], [large.length, 'end', digest(large), 'give me all'])
      await settled()
    })

    it('ends the target after a local end of stream when it stays silent for the half-close time', async () => {
      const ended = new Promise<void>((resolve) => {
        behave = (socket) => {
          socket.resume()
          socket.once('end', resolve)
          socket.once('end', () => socket.end())
        }
      })
      const started = Date.now()
      const socket = await connectTo(rig.port)
      socket.resume()
      socket.end('bye')
      await ended
      assert.ok(Date.now() - started >= 390, 'not before the half-close time')
      await settled()
    })

    it('turns a reset of the target into a reset of the local connection, and reports it', async () => {
      behave = (socket) => {
        socket.once('data', () => socket.resetAndDestroy())
      }
      const failures = rig.failures.length
      const socket = await connectTo(rig.port)
      socket.write('x')
      const { how } = await receiveAll(socket)
      assert.equal(how, 'ECONNRESET')
      await until(() => rig.failures.length > failures, 'the failure to be reported')
      assert.match(rig.failures.at(-1)!.message, new RegExp(`ECONNRESET 127.0.0.1:${target.port}`))
      assert.equal(rig.failures.at(-1)!.code, 'ERR_SLUICE_TARGET')
      await settled()
    })

    it('turns a reset of the local connection into a reset of the target', async () => {
      const fate = new Promise<string>((resolve) => {
        behave = (socket) => void receiveAll(socket).then(({ how }) => resolve(how))
      })
      const socket = await connectTo(rig.port)
      await send(socket, Buffer.from('x'))
      await until(() => rig.server.tunnel.connections === 1, 'the connection')
      await sleep(50)
      socket.resetAndDestroy()
      assert.equal(await fate, 'ECONNRESET')
      await settled()
    })

    for (const side of ['local program', 'target'] as const) {
      it(`stops a sender when the ${side} does not read, and loses nothing when it does again`, async () => {
        const total = 64 * 1024 * 1024
        const block = randomBytes(1024 * 1024)
        const reached = new Promise<net.Socket>((resolve) => {
          behave = (socket) => {
            socket.pause()
            resolve(socket)
          }
        })
        const local = await connectTo(rig.port)
        const far = await reached
        const [reader, writer] = side === 'local program' ? [local, far] : [far, local]
        let sent = 0
        const all = (async () => {
          for (; sent < total; sent += block.length) await send(writer, block)
          writer.end()
        })()
        let before = -1
        while (before !== sent) {
          before = sent
          await sleep(150)
        }
        assert.ok(sent < total, 'the sender was stopped')
        const hash = createHash('sha256')
        let got = 0
        reader.on('data', (chunk) => {
          got += chunk.length
          hash.update(chunk)
        })
        reader.resume()
        await Promise.all([all, once(reader, 'end')])
        const expected = createHash('sha256')
        for (let i = 0; i < total; i += block.length) expected.update(block)
        assert.equal(got, total)
        assert.equal(hash.digest('hex'), expected.digest('hex'))
        reader.end()
        await settled()
      })
    }
  })
}

describe('plain mode, targets that cannot be reached', () => {
  it('resets the local connection, reports the reason, and keeps listening', async () => {
    const port = await closedPort()
    const rig = await startRig(port)
    for (let run = 1; run <= 3; run++) {
      const { how } = await receiveAll(net.connect({ port: rig.port, host: '127.0.0.1' }))
      assert.equal(how, 'ECONNRESET')
      await until(() => rig.failures.length === run, 'the failure to be reported')
      assert.equal(
        rig.failures.at(-1)!.message,
        `the server could not reach 127.0.0.1:${port} or lost it: ECONNREFUSED 127.0.0.1:${port}`,
      )
    }
    await rig.close()
  })

  it('frees everything when the server goes away, and says so', async () => {
    const target = await listen(echo)
    const rig = await startRig(target.port)
    const socket = await connectTo(rig.port)
    socket.write('x')
    await receive(socket, 1)
    const end = receiveAll(socket)
    await rig.server.close(50)
    const { how } = await end
    assert.equal(how, 'ECONNRESET')
    await until(() => rig.failures.length === 1, 'the failure to be reported')
    assert.match(rig.failures[0]!.message, /1001: server is shutting down/)
    const again = await receiveAll(net.connect({ port: rig.port, host: '127.0.0.1' }))
    assert.equal(again.how, 'ECONNRESET')
    assert.match(rig.failures[1]!.message, /cannot be reached: connect ECONNREFUSED/)
    rig.forward.close()
    await target.close()
  })
})
