import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { connectTo, echo, listen, receive, until } from '../helpers/net.js'
import { connect, serve, sluice } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

describe('the audit log', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-audit-'))
  const file = join(folder, 'audit.jsonl')
  after(() => rmSync(folder, { recursive: true }))

  const records = (from = file): Record<string, unknown>[] =>
    readFileSync(from, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))

  it('says who reached what, by which rule, how much and for how long; and who did not get in; never a secret', async () => {
    const target = await listen(echo)
    const place = `127.0.0.1:${target.port}`
    const server = await serve(['--allow', place, '--audit-log', file], { SLUICE_TOKEN: TOKEN })
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const tunnel = await connect(server.url, place, [], { SLUICE_TOKEN: TOKEN })
    const socket = await connectTo(tunnel.port)
    socket.write('12345')
    await receive(socket, 5)
    socket.end()
    await until(() => records().some(({ event }) => event === 'ended'), 'the end of it')
    const wrong = `${TOKEN}-but-wrong`
    const stranger = sluice(['connect', server.url, '-L', `0:${place}`], { SLUICE_TOKEN: wrong })
    assert.equal(await stranger.exited, 4)
    const denied = sluice(['stdio', server.url, '127.0.0.1:1'], { SLUICE_TOKEN: TOKEN })
    assert.equal(await denied.exited, 6)
    await tunnel.stop()
    await until(() => records().some(({ event }) => event === 'session-ended'), 'the end of the session')
    const all = records()
    for (const { time, from } of all) {
      assert.match(String(time), /^\d{4}-\d\d-\d\dT.*Z$/)
      assert.match(String(from), /^127\.0\.0\.1:\d+$/)
    }
    const one = (event: string) => all.find((record) => record.event === event)!
    const { time: _, from: __, ...opened } = one('opened')
    assert.deepEqual(opened, { event: 'opened', principal: 'env', target: place, rule: `rule ${place}` })
    const { time: ___, from: ____, milliseconds, ...ended } = one('ended')
    assert.ok(Number.isInteger(milliseconds))
    assert.deepEqual(ended, {
      event: 'ended',
      principal: 'env',
      target: place,
      bytesUp: 5,
      bytesDown: 5,
      outcome: 'both ends',
    })
    assert.equal(one('refused').status, 401)
    assert.equal(one('failed').target, '127.0.0.1:1')
    assert.match(String(one('failed').reason), /no rule allows 127\.0\.0\.1:1/)
    assert.equal(one('session-started').principal, 'env')
    assert.doesNotMatch(readFileSync(file, 'utf8'), new RegExp(TOKEN))
    renameSync(file, `${file}.1`)
    server.child.kill('SIGHUP')
    await until(() => statSync(file, { throwIfNoEntry: false }) !== undefined, 'a new file after SIGHUP')
    await server.stop()
    await target.close()
  })

  it('a file that cannot be written is refused at the start', async () => {
    const running = sluice(['serve', '--listen', '0', '--audit-log', join(folder, 'no', 'such', 'folder')], {
      SLUICE_TOKEN: TOKEN,
    })
    assert.equal(await running.exited, 3)
    assert.match(running.stderr(), /--audit-log: ENOENT/)
  })
})
