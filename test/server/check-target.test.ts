// The server's own target, which `sluice check` asks.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { parseServerUrl } from '#src/config/index.js'
import type { ClientLink } from '#src/link/index.js'
import { clientLink } from '#src/node/index.js'
import type { Server } from '#src/server/index.js'
import { startServer, TOKEN } from '../helpers/rig.js'

interface Said {
  readonly text: string
  readonly how: 'ended' | 'reset' | 'failed'
}

describe('@sluice-check', () => {
  let server: Server
  let link: ClientLink

  before(async () => {
    const started = await startServer({ allow: ['db.corp:5432', '!10.0.0.0/8:*'], version: '1.2.3' })
    server = started.server
    link = clientLink({ url: parseServerUrl(`ws://127.0.0.1:${started.bound.port}`), token: TOKEN })
    await link.connect()
  })

  after(async () => {
    await link.close(200)
    await server.close(0)
  })

  function ask(bytes: Buffer, of: ClientLink = link): Promise<Said> {
    return new Promise((resolve) => {
      const pieces: Buffer[] = []
      const text = () => Buffer.concat(pieces).toString('latin1')
      const stream = of.open(
        { kind: 'NAMED', name: 'sluice-check' },
        {
          data: (piece) => {
            pieces.push(Buffer.from(piece))
            stream.consume(piece.length)
          },
          ended: () => resolve({ text: text(), how: 'ended' }),
          failed: () => resolve({ text: text(), how: 'failed' }),
          reset: () => resolve({ text: text(), how: 'reset' }),
        },
      )
      stream.write(bytes)
      stream.end()
    })
  }

  it('says who asks and what he may do, and nothing of a token', async () => {
    const { text, how } = await ask(Buffer.from('who\n'))
    assert.equal(how, 'ended')
    const { time, ...rest } = JSON.parse(text)
    assert.ok(Math.abs(time - Date.now()) < 5_000)
    const rules = ['db.corp:5432', '!10.0.0.0/8:*']
    assert.deepEqual(rest, { version: '1.2.3', user: 'test', groups: [], rules, reverse: [] })
    assert.ok(!text.includes(TOKEN))
  })

  it('sends as many bytes as were asked for, which are not all the same', async () => {
    for (const count of [0, 1, 65_536, 1_000_001]) {
      const { text, how } = await ask(Buffer.from(`down ${count}\n`))
      assert.deepEqual([text.length, how], [count, 'ended'])
    }
    const { text } = await ask(Buffer.from('down 4096\n'))
    assert.ok(new Set(text).size > 200)
  })

  it('counts what comes, to the end', async () => {
    for (const length of [0, 1, 300_000]) {
      const { text, how } = await ask(Buffer.concat([Buffer.from('up\n'), Buffer.alloc(length, 7)]))
      assert.deepEqual([text.trim().split('\n').at(-1), how], [String(length), 'ended'])
    }
  })

  for (const [what, request] of [
    ['what is no request', 'hello\n'],
    ['a count that is none', 'down 12x\n'],
    ['a count beyond nine digits', 'down 1234567890\n'],
    ['a line without end', 'u'.repeat(65)],
    ['bytes that are no text', '\xff\xfe\n'],
  ] as const) {
    it(`resets ${what}, and the session goes on`, async () => {
      assert.equal((await ask(Buffer.from(request, 'latin1'))).how, 'reset')
      assert.equal((await ask(Buffer.from('who\n'))).how, 'ended')
    })
  }

  it('is refused where a rule forbids it, and ends when one comes to', async () => {
    const shut = await startServer({ allow: ['*:443'] })
    const to = clientLink({ url: parseServerUrl(`ws://127.0.0.1:${shut.bound.port}`), token: TOKEN })
    await to.connect()
    assert.equal((await ask(Buffer.from('who\n'), to)).how, 'ended')
    const running = new Promise<string>((resolve) => {
      const stream = to.open(
        { kind: 'NAMED', name: 'sluice-check' },
        {
          data: () => {},
          opened: () => {
            shut.server.tunnel.replaceRules({ allow: ['*:443', '!@sluice-check'] })
            shut.server.tunnel.recheck()
          },
          ended: () => resolve('ended'),
          reset: () => resolve('reset'),
        },
      )
      stream.write(Buffer.from('up\n'))
    })
    assert.equal(await running, 'reset')
    assert.equal((await ask(Buffer.from('who\n'), to)).how, 'failed')
    await to.close(200)
    await shut.server.close(0)
  })
})
