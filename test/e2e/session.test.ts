import assert from 'node:assert/strict'
import net from 'node:net'
import { describe, it } from 'node:test'
import { closedPort, connectTo, echo, listen, receive, receiveAll, send, until } from '../helpers/net.js'
import { Random } from '../helpers/random.js'
import { type SessionRigOptions, startSessionRig } from '../helpers/session-rig.js'

const WAYS: readonly [name: string, options: SessionRigOptions][] = [
  ['read by onread', { readMode: 'onread' }],
  ['read by data', { readMode: 'data' }],
  ['read by onread, over TLS', { readMode: 'onread', tls: true }],
  ['read by data, over TLS', { readMode: 'data', tls: true }],
]

const UP = new Random(11).bytes(300_000)
const DOWN = new Random(12).bytes(400_000)

/**
 * Every order in which two ends of a TCP connection can say what they have to say and stop. Each is run through a tunnel, and
 * both ends must see what they would have seen of each other without it.
 */
const EXCHANGES: readonly {
  name: string
  client(socket: net.Socket): Promise<string>
  target(socket: net.Socket): Promise<string>
  /** What the client's end and the target's end came to. */
  expect: [RegExp, RegExp]
}[] = [
  {
    name: 'the client sends and ends; the target then answers and ends',
    client: async (socket) => (socket.end(UP), `${await sum(socket)}`),
    target: async (socket) => {
      const got = await sum(socket)
      socket.end(DOWN)
      return got
    },
    expect: [/^end 400000 same$/, /^end 300000 same$/],
  },
  {
    name: 'the target sends and ends; the client then answers and ends',
    client: async (socket) => {
      const got = await sum(socket)
      socket.end(UP)
      return got
    },
    target: async (socket) => (socket.end(DOWN), `${await sum(socket)}`),
    expect: [/^end 400000 same$/, /^end 300000 same$/],
  },
  {
    name: 'both send and end at once',
    client: async (socket) => (socket.end(UP), `${await sum(socket)}`),
    target: async (socket) => (socket.end(DOWN), `${await sum(socket)}`),
    expect: [/^end 400000 same$/, /^end 300000 same$/],
  },
  {
    name: 'the client ends at once without a byte; the target sends and ends',
    client: async (socket) => (socket.end(), `${await sum(socket)}`),
    target: async (socket) => {
      const got = await sum(socket)
      socket.end(DOWN)
      return got
    },
    expect: [/^end 400000 same$/, /^end 0/],
  },
  {
    name: 'the target ends at once without a byte; the client sends and ends',
    client: async (socket) => {
      const got = await sum(socket)
      socket.end(UP)
      return got
    },
    target: async (socket) => (socket.end(), `${await sum(socket)}`),
    expect: [/^end 0/, /^end 300000 same$/],
  },
  {
    name: 'both end at once without a byte',
    client: async (socket) => (socket.end(), `${await sum(socket)}`),
    target: async (socket) => (socket.end(), `${await sum(socket)}`),
    expect: [/^end 0/, /^end 0/],
  },
  {
    name: 'the client resets after the target has its bytes',
    client: async (socket) => {
      socket.write(UP)
      await receive(socket, 2)
      socket.resetAndDestroy()
      return 'reset'
    },
    target: async (socket) => {
      await receive(socket, UP.length)
      socket.write('ok')
      return await sum(socket, UP.length)
    },
    expect: [/^reset$/, /^ECONNRESET/],
  },
  {
    name: 'the target resets after the client has its bytes',
    client: async (socket) => {
      await receive(socket, DOWN.length)
      socket.write('ok')
      return await sum(socket, DOWN.length)
    },
    target: async (socket) => {
      socket.write(DOWN)
      await receive(socket, 2)
      socket.resetAndDestroy()
      return 'reset'
    },
    expect: [/^ECONNRESET/, /^reset$/],
  },
  {
    name: 'the client ends, and the target resets',
    client: async (socket) => (socket.end(UP), `${await sum(socket)}`),
    target: async (socket) => {
      const got = await sum(socket)
      socket.resetAndDestroy()
      return got
    },
    expect: [/^ECONNRESET/, /^end 300000 same$/],
  },
  {
    name: 'the target ends, and the client resets',
    client: async (socket) => {
      const got = await sum(socket)
      socket.resetAndDestroy()
      return got
    },
    target: async (socket) => (socket.end(DOWN), `${await sum(socket)}`),
    expect: [/^end 400000 same$/, /^ECONNRESET/],
  },
]

/** Reads to the end: how it ended, how much came, and whether it is what was sent. */
async function sum(socket: net.Socket, before = 0): Promise<string> {
  const { bytes, how } = await receiveAll(socket)
  const same = bytes.equals(UP) || bytes.equals(DOWN) ? ' same' : ''
  return `${how} ${bytes.length + before}${same}`
}

for (const [way, options] of WAYS) {
  describe(`session, ${way}`, () => {
    it('keeps every order of data, FIN and RESET', async () => {
      let expected: (socket: net.Socket) => void = () => {}
      const target = await listen((socket) => expected(socket))
      const rig = await startSessionRig(target.port, options)
      for (const { name, client, target: far, expect } of EXCHANGES) {
        const atTarget = new Promise<string>((resolve) => {
          expected = (socket) => void far(socket).then(resolve)
        })
        const socket = await connectTo(rig.port)
        socket.on('error', () => {})
        const [near, there] = await Promise.all([client(socket), atTarget])
        assert.match(near, expect[0], `${name}: the client saw ${near}`)
        assert.match(there, expect[1], `${name}: the target saw ${there}`)
      }
      await until(() => rig.tunnel.link!.session!.figures.streams === 0, 'all streams to be forgotten')
      await until(() => target.sockets.size === 0, 'all sockets to be let go')
      assert.equal(rig.tunnel.link!.session!.figures.held, 0)
      await rig.close()
      await target.close()
    })

    it('carries 8 MiB each way at once through cuts every 40 ms, byte for byte', async () => {
      const target = await listen(echo)
      const rig = await startSessionRig(target.port, options)
      const bytes = new Random(5).bytes(8 * 1024 * 1024)
      const socket = await connectTo(rig.port)
      const cutter = setInterval(() => rig.relay.cut(), 40)
      const received = receiveAll(socket)
      for (let at = 0; at < bytes.length; at += 50_000) {
        await send(socket, bytes.subarray(at, at + 50_000))
        if (at % 400_000 === 0) await new Promise((resolve) => setTimeout(resolve, 10))
      }
      socket.end()
      const { bytes: got, how } = await received
      clearInterval(cutter)
      assert.equal(how, 'end')
      assert.ok(got.equals(bytes), `${got.length} of ${bytes.length} bytes, or not the same`)
      assert.ok(rig.relay.cuts >= 2, `${rig.relay.cuts} cuts`)
      assert.ok(rig.told.some((line) => line.startsWith('resumed after')))
      await rig.close()
      await target.close()
    })
  })
}

describe('session, when things go wrong', () => {
  it('tells a refused target and a forbidden one, resets the local connection, and goes on', async () => {
    const port = await closedPort()
    const rig = await startSessionRig(port)
    const { how } = await receiveAll(net.connect({ port: rig.port, host: '127.0.0.1' }))
    assert.equal(how, 'ECONNRESET')
    assert.equal(rig.failures[0]!.code, 'ERR_SLUICE_TARGET')
    assert.match(rig.failures[0]!.message, /could not reach 127.0.0.1:\d+: ECONNREFUSED 127.0.0.1:\d+$/)
    await rig.close()
  })

  it('survives an outage, silence, and a server that has moved; the application notices a pause', async () => {
    const target = await listen(echo)
    const liveness = { idle: 500, waiting: 300, patience: 300 }
    const rig = await startSessionRig(target.port, { session: { liveness } })
    const socket = await connectTo(rig.port)
    const say = async (text: string) => {
      socket.write(text)
      assert.equal((await receive(socket, text.length)).toString(), text)
    }
    await say('before')
    await rig.relay.down(700)
    await say('after an outage')
    rig.relay.swallow = true
    socket.write('into ')
    await until(() => rig.told.some((line) => line.includes('lost: silent for')), 'silence to be noticed')
    rig.relay.swallow = false
    socket.write('silence')
    assert.equal((await receive(socket, 12)).toString(), 'into silence')
    assert.ok(rig.told.filter((line) => line.startsWith('resumed')).length >= 2, rig.told.join('\n'))
    await rig.close()
    await target.close()
  })

  it('begins a new session when the server was restarted, and says so; the old connections are reset', async () => {
    const target = await listen(echo)
    const first = await startSessionRig(target.port)
    const second = await startSessionRig(target.port)
    const socket = await connectTo(first.port)
    socket.write('x')
    await receive(socket, 1)
    const ended = receiveAll(socket)
    first.relay.target = Number(new URL(`ws://127.0.0.1:${second.relay.port}`).port)
    first.relay.cut()
    assert.equal((await ended).how, 'ECONNRESET')
    await until(() => first.told.includes('renewed'), `a new session: ${first.told.join('; ')}`)
    assert.ok(
      first.told.some((line) => /^gone: ERR_SLUICE_GONE the session is gone/.test(line)),
      first.told.join('\n'),
    )
    const fresh = await connectTo(first.port)
    fresh.write('again')
    assert.equal((await receive(fresh, 5)).toString(), 'again')
    fresh.destroy()
    await first.close()
    await second.close()
    await target.close()
  })

  it('frees everything at the server at once when the client ends, and after the time when it vanishes', async () => {
    const target = await listen(echo)
    const rig = await startSessionRig(target.port, { server: { resumeFor: 400 } })
    const socket = await connectTo(rig.port)
    socket.write('x')
    await receive(socket, 1)
    assert.equal(rig.server.tunnel.sessions, 1)
    rig.relay.swallow = true
    await rig.relay.down(0)
    await until(() => rig.server.tunnel.sessions === 0, 'the session to expire')
    await until(() => target.sockets.size === 0, 'the target to be let go')
    assert.ok(rig.events.some((event) => event.type === 'session' && /^13 no carrier came back/.test(event.detail)))
    socket.on('error', () => {})
    await rig.close()
    const other = await startSessionRig(target.port)
    const again = await connectTo(other.port)
    again.on('error', () => {})
    again.write('x')
    await receive(again, 1)
    await other.tunnel.close(0)
    await until(() => other.server.tunnel.sessions === 0, 'the session to end with CLOSE')
    await until(() => again.destroyed, 'the local connection to end')
    await other.close()
    await target.close()
  })
})
