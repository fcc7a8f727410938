import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, it } from 'node:test'
import { ClientLink, ServerLink, type SyncHost } from '#src/link/index.js'
import type { Session, Stream } from '#src/session/index.js'
import { withDefaults } from '#src/wire/index.js'
import { Endpoint } from '../session/endpoint.js'
import { type Conversation, type ConversationStep, load } from '../wire/vectors.js'
import { ScriptedCarrier } from './scripted.js'

const FILLS: Record<'client' | 'server', (length: number, call: number) => Uint8Array> = {
  client: (length) => new Uint8Array(length).fill(0x22),
  server: (length, call) => {
    if (length === 32) return new Uint8Array(32).fill(0x5a)
    return call % 2 === 0 ? Uint8Array.from({ length }, (_, index) => index) : new Uint8Array(length).fill(0x11)
  },
}

/** A host whose chance is that of the vectors, and whose clock stands still. */
function scriptedHost(role: 'client' | 'server', later: (() => void)[] = []): SyncHost {
  let calls = 0
  const defer =
    role === 'client' ? (act: () => void) => void setImmediate(act) : (act: () => void) => void later.push(act)
  return {
    now: () => 0,
    soon: defer,
    defer,
    after: () => () => {},
    random: () => 0,
    randomBytes: (length) => FILLS[role](length, length === 16 ? calls++ : 0),
    hmac: (key, data) => createHmac('sha256', key).update(data).digest(),
  }
}

const PARAMETERS = withDefaults({
  max_message: 524_288,
  max_streams: 100,
  resume_for: 300_000,
  max_carriers: 8,
  max_datagram: 1200,
  features: 3,
})

/** The messages of one side on one carrier from this step on, until the other side's turn. */
function run(steps: readonly ConversationStep[], server: Player): void {
  for (const step of steps) {
    if ('event' in step) {
      server.event(step.event)
      continue
    }
    if (step.from === server.role) server.expect(step.carrier, step.hex)
    else if (!step.lost) server.receive(step.carrier, step.hex)
  }
  server.nothingMore()
}

interface Player {
  readonly role: 'client' | 'server'
  expect(carrier: number, hex: string): void
  receive(carrier: number, hex: string): void
  event(what: string): void
  nothingMore(): void
}

/** The server of a conversation: answers PING of "ping" with "pong", refuses what the conversation is called after. */
function serverPlayer(name: string): Player {
  const carriers: ScriptedCarrier[] = []
  const later: (() => void)[] = []
  const flush = () => {
    for (let act = later.shift(); act !== undefined; act = later.shift()) act()
  }
  const link = new ServerLink<string>({
    host: scriptedHost('server', later),
    parameters: PARAMETERS,
    route: 'node-7',
    same: () => true,
    events: { opened: ({ session }, stream) => (stream.frame === 'LISTEN' ? bind(session, stream) : answer(stream)) },
  })
  /** Listens for datagrams: a sender comes at once, says ping once it is known, and has had enough with the answer. */
  const bind = (session: Session, listener: Stream) => {
    listener.accept('127.0.0.1:5353')
    listener.start(new Endpoint())
    const sender = new Endpoint()
    sender.opened = () => void sender.stream.sendDatagram(Buffer.from('ping'))
    sender.datagram = () => sender.stream.end()
    const target = { kind: 'ACCEPTED', listener: listener.id, origin: '192.0.2.7:51234' } as const
    sender.stream = session.open(target, sender, 0)
  }
  const answer = (stream: Stream) => {
    if (name === 'a refused target') return stream.refuse(4, 'ECONNREFUSED db:5432')
    stream.accept('10.0.0.5:5432')
    const endpoint = new Endpoint()
    endpoint.stream = stream
    stream.start(endpoint)
    if (name !== 'a request and its answer') return
    stream.write(Buffer.from('pong'))
    stream.end()
  }
  const carrier = (number: number) => {
    while (carriers.length <= number) carriers.push(new ScriptedCarrier())
    const one = carriers[number]!
    if (one.events === undefined) link.accept(one, 'me')
    return one
  }
  return {
    role: 'server',
    expect: (number, hex) => {
      flush()
      assert.equal(carrier(number).sent.shift(), hex)
    },
    receive: (number, hex) => carrier(number).receive(hex),
    event: () => carriers[0]!.events!.closed('it was cut'),
    nothingMore: () => {
      flush()
      for (const { sent } of carriers) assert.deepEqual(sent, [])
    },
  }
}

describe('conversations: the server says what the vectors say', () => {
  for (const { name, messages } of load<Conversation[]>('conversations.json')) {
    it(name, () => run(messages, serverPlayer(name)))
  }
})

describe('conversations: the client says what the vectors say', () => {
  const wanted = new Set([
    'a request and its answer',
    'a refused target',
    'a listener for datagrams',
    'a drop, a join, and what was lost is sent again',
  ])
  for (const { name, messages } of load<Conversation[]>('conversations.json').filter(({ name }) => wanted.has(name))) {
    it(name, async () => {
      const carriers: ScriptedCarrier[] = []
      const link = new ClientLink({
        host: scriptedHost('client'),
        parameters: PARAMETERS,
        open: async () => {
          const carrier = new ScriptedCarrier()
          carriers.push(carrier)
          return carrier
        },
      })
      const connected = link.connect()
      const endpoint = new Endpoint()
      link.onOpened = (stream) => {
        const flow = new Endpoint()
        flow.stream = stream
        flow.datagram = () => void stream.sendDatagram(Buffer.from('pong'))
        stream.accept('10.0.0.9:53')
        stream.start(flow)
      }
      link.withSession((session) => {
        if (name === 'a listener for datagrams') {
          endpoint.stream = session.listen({ kind: 'UDP', host: '127.0.0.1', port: 5353 }, endpoint, 0)
          return
        }
        endpoint.stream = link.open({ kind: 'TCP', host: 'db', port: 5432 }, endpoint)
        endpoint.stream.write(Buffer.from('ping'))
      })
      const settle = () => new Promise((resolve) => setImmediate(resolve))
      await settle()
      for (const step of messages) {
        if ('event' in step) {
          carriers[0]!.events!.closed('it was cut')
          await settle()
          continue
        }
        const carrier = carriers[step.carrier]!
        if (step.from === 'server') carrier.receive(step.hex)
        else {
          if (step.lost) endpoint.stream.write(Buffer.from('hello'))
          await settle()
          if (name === 'a request and its answer' && step.hex.startsWith('07')) endpoint.stream.end()
          await settle()
          assert.equal(carrier.sent.shift(), step.hex, name)
        }
        await settle()
      }
      await connected
      link.abort('done')
    })
  }
})
