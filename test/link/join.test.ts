import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ServerLink } from '#src/link/index.js'
import { nodeHost } from '#src/node/index.js'
import { concat, joinHello, newHello, proofInput, readMessage, withoutProof } from '#src/session/index.js'
import { encodeFrame, type Frame, withDefaults } from '#src/wire/index.js'
import { until } from '../helpers/net.js'
import { ScriptedCarrier } from './scripted.js'

const PARAMETERS = withDefaults({
  max_message: 65_536,
  max_streams: 10,
  resume_for: 60_000,
  max_carriers: 2,
  features: 1,
})
const NONCE = new Uint8Array(16).fill(3)

/** A server with one session of `alice`, and what an attacker may know of it. */
function world() {
  const ended: string[] = []
  const link = new ServerLink<string>({
    host: nodeHost,
    parameters: PARAMETERS,
    same: (of, joining) => of === joining,
    events: { opened: (_, stream) => stream.refuse(1, ''), ended: (_, code) => ended.push(String(code)) },
  })
  const greet = (principal: string) => {
    const carrier = new ScriptedCarrier()
    link.accept(carrier, principal)
    const bytes = Buffer.from(carrier.sent.shift()!, 'hex')
    return { carrier, bytes, hello: readMessage(bytes) as Extract<Frame, { mode: 'server' }> }
  }
  const first = greet('alice')
  first.carrier.receive(Buffer.from(newHello(NONCE, PARAMETERS)).toString('hex'))
  assert.equal(link.sessions.length, 1)
  /** Tries to join; what the server answers. */
  const join = (
    changes: {
      principal?: string
      secret?: Uint8Array
      id?: Uint8Array
      carrier?: number
      bytes?: Uint8Array
      replay?: Uint8Array
    } = {},
  ) => {
    const { carrier, bytes } = greet(changes.principal ?? 'alice')
    const number = changes.carrier ?? 1
    const id = changes.id ?? first.hello.sessionId
    const mine = withoutProof(joinHello(NONCE, PARAMETERS, id, number, [{ carrier: 0, received: 0 }]))
    const input = proofInput('client', id, number, changes.bytes ?? bytes, mine)
    const complete = changes.replay ?? concat(mine, nodeHost.hmac(changes.secret ?? first.hello.secret, input))
    carrier.receive(Buffer.from(complete).toString('hex'))
    const answer = carrier.sent[0]
    const frame = answer === undefined ? undefined : readMessage(Buffer.from(answer, 'hex'))
    return { frame, carrier, complete, answer }
  }
  return { link, first, join, ended, stop: () => link.end(0, 'over') }
}

const failure = (frame: Frame | undefined) => (frame?.type === 'JOIN_FAILED' ? frame.code : frame?.type)

describe('joins', () => {
  it('with the right proof is answered by one that only who knows the secret can make', () => {
    const { first, join, stop } = world()
    const { frame, carrier } = join()
    assert.equal(frame?.type, 'JOINED')
    assert.ok(!carrier.closed && first.carrier.closed, 'the carrier that was said to be dead is let go')
    stop()
  })

  it('without the secret achieve nothing, look like those to no session, and disturb nobody', () => {
    const { link, first, join, stop } = world()
    const wrong = join({ secret: new Uint8Array(32) })
    const unknown = join({ id: new Uint8Array(16).fill(9) })
    assert.equal(wrong.answer, unknown.answer)
    assert.deepEqual([failure(wrong.frame), failure(unknown.frame)], [0, 0])
    assert.ok(wrong.carrier.closed && unknown.carrier.closed)
    assert.ok(!first.carrier.closed)
    assert.deepEqual(link.sessions[0]!.session.carriers, [0])
    stop()
  })

  it('cannot be replayed on another carrier, nor with the HELLO of another', () => {
    const { first, join, stop } = world()
    const good = join()
    assert.equal(good.frame?.type, 'JOINED')
    assert.equal(failure(join({ replay: good.complete }).frame), 0)
    assert.equal(failure(join({ carrier: 2, bytes: first.bytes }).frame), 0)
    assert.equal(failure(join({ carrier: 1 }).frame), 0, 'a number that was used before')
    assert.equal(join({ carrier: 2 }).frame?.type, 'JOINED')
    stop()
  })

  it('of another principal are refused, and the session goes on', () => {
    const { link, join, stop } = world()
    assert.equal(failure(join({ principal: 'mallory' }).frame), 1)
    assert.equal(link.sessions.length, 1)
    stop()
  })

  it('beyond the number of carriers are refused', () => {
    const { join, stop } = world()
    assert.equal(join({ carrier: 1 }).frame?.type, 'JOINED')
    assert.equal(join({ carrier: 2 }).frame?.type, 'JOINED')
    assert.equal(failure(join({ carrier: 3 }).frame), 2)
    stop()
  })

  it('that send too much before HELLO are ended', async () => {
    const { link, stop } = world()
    const carrier = new ScriptedCarrier()
    link.accept(carrier, 'alice')
    carrier.receive('02'.repeat(5_000))
    await until(() => carrier.closed, 'the carrier to be ended')
    const close = readMessage(Buffer.from(carrier.sent[1]!, 'hex'))
    assert.deepEqual(close.type === 'CLOSE' && close.code, 10)
    const odd = new ScriptedCarrier()
    link.accept(odd, 'alice')
    odd.receive(Buffer.from(encodeFrame({ type: 'PING', opaque: new Uint8Array(0) })).toString('hex'))
    const answer = readMessage(Buffer.from(odd.sent[1]!, 'hex'))
    assert.deepEqual(answer.type === 'CLOSE' && answer.code, 4)
    stop()
  })
})
