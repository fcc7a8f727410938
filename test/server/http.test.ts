// The rules of carriers over HTTP (spec/http-1.md §2 to §4, §6), request by request.
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { type Server, TokenAuth } from '#src/server/index.js'
import { ANSWER_MARK, ID_LENGTH, PART_END } from '#src/wire/index.js'
import { sleep, until } from '../helpers/net.js'
import { startServer, TOKEN } from '../helpers/rig.js'

const OTHER = 'another-token-for-tests-0123456789'
const EMPTY = Uint8Array.of(PART_END)
/** PING with four bytes, as a message of a part; before a HELLO it ends the carrier's session. */
const PING = Buffer.from('050c0707070700', 'hex')

describe('carriers over HTTP: every rule', () => {
  let server: Server
  let base: string
  let port: number

  before(async () => {
    const tokens = [
      { name: 'test', token: TOKEN },
      { name: 'other', token: OTHER },
    ]
    const auth = new TokenAuth(tokens)
    const started = await startServer({ auth, origins: ['https://app.example'] })
    server = started.server
    port = started.bound.port
    base = `http://127.0.0.1:${port}/http`
  })

  after(() => server.close(0))

  const post = (path: string, body?: Uint8Array, headers: Record<string, string> = {}, method = 'POST') =>
    fetch(`${base}${path}`, {
      method,
      headers: { Authorization: `Bearer ${TOKEN}`, ...headers },
      ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }),
    })

  async function begin(): Promise<string> {
    const response = await post('')
    assert.equal(response.status, 200)
    const body = Buffer.from(await response.arrayBuffer())
    assert.equal(body[0], ANSWER_MARK)
    assert.equal(body.at(-1), PART_END)
    return `/${body.subarray(1, 1 + ID_LENGTH).toString('base64url')}`
  }

  const status = async (response: Promise<Response>) => {
    const got = await response
    await got.arrayBuffer().catch(() => {})
    return got.status
  }

  it('begins with an id and HELLO, and says what proxies must not do with it', async () => {
    const response = await post('')
    const body = Buffer.from(await response.arrayBuffer())
    assert.equal(response.headers.get('cache-control'), 'no-store, no-transform')
    assert.equal(response.headers.get('x-accel-buffering'), 'no')
    assert.equal(response.headers.get('content-length'), String(body.length))
    const [length, type, version] = [body[18]!, body[19], body[20]]
    assert.ok(length > 0)
    assert.deepEqual([type, version], [1, 1], 'HELLO')
  })

  it('asks everybody for credentials, in every request', async () => {
    const id = await begin()
    const none = { Authorization: '' }
    for (const path of ['', '?duplex', `${id}?up=0`, `${id}?down=0&hold=0`, `${id}?end`, '/x?up=0']) {
      assert.equal(await status(post(path, undefined, none)), 401, path)
      assert.equal(await status(post(path, undefined, { Authorization: 'Bearer wrong' })), 401, path)
    }
    assert.equal(await status(post(`${id}?up=0`, EMPTY)), 200, 'and none of that has hurt it')
  })

  it('answers whoever is somebody else as if there were no such carrier, and leaves it alone', async () => {
    const id = await begin()
    const other = { Authorization: `Bearer ${OTHER}` }
    for (const query of ['up=0', 'down=0&hold=0', 'end']) {
      const [theirs, nobodys] = await Promise.all([
        post(`${id}?${query}`, undefined, other),
        post(`/${'A'.repeat(22)}?${query}`, undefined, other),
      ])
      assert.deepEqual([theirs.status, nobodys.status], [410, 410])
      assert.equal(await theirs.text(), await nobodys.text())
    }
    assert.equal(await status(post(`${id}?up=0`, EMPTY)), 200)
  })

  for (const [path, code] of [
    ['/short?up=0', 400],
    [`/${'A'.repeat(22)}`, 400],
    [`/${'A'.repeat(22)}?up=-1`, 400],
    [`/${'A'.repeat(22)}?up=01`, 400],
    [`/${'A'.repeat(22)}?up=9999999999999999`, 400],
    [`/${'A'.repeat(22)}?down=x`, 400],
    [`/${'A'.repeat(22)}?up=0`, 410],
    [`/${'A'.repeat(22)}/more?up=0`, 400],
  ] as const) {
    it(`refuses ${path} with ${code}`, async () => {
      assert.equal(await status(post(path, EMPTY)), code)
    })
  }

  it('takes POST alone', async () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS']) {
      assert.equal(await status(post('', undefined, {}, method)), 405, method)
    }
  })

  it('takes parts up in their order, and one that was taken again without harm', async () => {
    const id = await begin()
    const order: number[] = []
    const sent = [2, 1, 0].map((part) => post(`${id}?up=${part}`, EMPTY).then(() => order.push(part)))
    await Promise.all(sent)
    assert.equal(await status(post(`${id}?up=1`, EMPTY)), 200)
    assert.equal(await status(post(`${id}?up=3`, EMPTY)), 200)
  })

  for (const [what, query, body] of [
    ['a part that is not due', 'up=8', EMPTY],
    ['a part without an end', 'up=0', PING.subarray(0, -1)],
    ['a part with something after its end', 'up=0', Buffer.concat([PING, EMPTY])],
    ['a length above the limit', 'up=0', Buffer.from('80100000', 'hex')],
    ['a part of more than 4 MiB', 'up=0', Buffer.alloc(5 * 1024 * 1024, Buffer.from('01ff', 'hex'))],
    ['a part down that is not due', 'down=8', undefined],
  ] as const) {
    it(`${what} is the end of the carrier`, async () => {
      const id = await begin()
      const code = await status(post(`${id}?${query}`, body)).catch(() => 'cut')
      assert.ok(code === 400 || code === 'cut', String(code))
      assert.equal(await status(post(`${id}?up=0`, EMPTY)), 410)
    })
  }

  it('a part down is answered once: asking again is the end', async () => {
    const id = await begin()
    assert.equal(await status(post(`${id}?down=0&hold=0`)), 200)
    assert.equal(await status(post(`${id}?down=0&hold=0`)), 400)
    assert.equal(await status(post(`${id}?down=1&hold=0`)), 410)
  })

  it('holds an answer as long as it was asked to, and no longer', async () => {
    const id = await begin()
    const started = performance.now()
    const body = Buffer.from(await (await post(`${id}?down=0&hold=300`)).arrayBuffer())
    assert.deepEqual([...body], [ANSWER_MARK, PART_END])
    assert.ok(performance.now() - started >= 290)
  })

  it('a stream begins at once, and its cut is the end of the carrier', async () => {
    const id = await begin()
    const abort = new AbortController()
    const response = await fetch(`${base}${id}?down=0&stream`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${TOKEN}` },
      signal: abort.signal,
    })
    const first = await response.body!.getReader().read()
    assert.deepEqual([...first.value!], [ANSWER_MARK])
    abort.abort()
    await until(() => true, 'the cut')
    await sleep(50)
    assert.equal(await status(post(`${id}?up=0`, EMPTY)), 410)
  })

  it('at most 8 requests wait in each direction', async () => {
    const id = await begin()
    const waiting = [1, 2, 3, 4, 5, 6, 7].map((part) => status(post(`${id}?up=${part}`, EMPTY)))
    await sleep(100)
    assert.equal(await status(post(`${id}?up=8`, EMPTY)), 400)
    assert.deepEqual(await Promise.all(waiting), Array(7).fill(410))
  })

  it('end ends it, and whoever waits is told', async () => {
    const id = await begin()
    const held = status(post(`${id}?down=0`))
    await sleep(50)
    assert.equal(await status(post(`${id}?end`)), 200)
    assert.equal(await held, 410)
  })

  it('lets pages of listed origins read, tells their preflight, and refuses others', async () => {
    const origin = 'https://app.example'
    const preflight = await post('', undefined, { Origin: origin, Authorization: '' }, 'OPTIONS')
    assert.equal(preflight.status, 204)
    assert.equal(preflight.headers.get('access-control-allow-origin'), origin)
    assert.match(preflight.headers.get('access-control-allow-headers')!, /authorization/)
    const response = await post('', undefined, { Origin: origin })
    assert.equal(response.headers.get('access-control-allow-origin'), origin)
    assert.equal(await status(post('', undefined, { Origin: 'https://evil.example' })), 403)
    assert.equal(await status(post('', undefined, { Origin: 'null' })), 403)
    assert.equal(await status(post('', undefined, { Origin: 'https://evil.example' }, 'OPTIONS')), 403)
  })

  it('does not listen to the body of whom it refuses', async () => {
    const socket = net.connect(port, '127.0.0.1')
    socket.write('POST /http HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nslowly')
    let text = ''
    socket.on('data', (bytes) => (text += bytes.toString()))
    socket.on('error', () => {})
    const trickle = setInterval(() => socket.write('x'), 20)
    const started = Date.now()
    await new Promise((resolve) => socket.once('close', resolve))
    clearInterval(trickle)
    assert.match(text, /^HTTP\/1\.1 401 /)
    assert.ok(Date.now() - started < 5_000)
  })
})
