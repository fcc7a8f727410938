// Several servers, tried in turn.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { closedPort, connectTo, echo, type Listening, listen, receive } from '../helpers/net.js'
import { connect, said, serve, sluice } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

const ENV = { SLUICE_TOKEN: TOKEN }

describe('several servers', () => {
  let target: Listening
  let allow: string[]

  before(async () => {
    target = await listen(echo)
    allow = ['--allow', `127.0.0.1:${target.port}`]
  })

  after(() => target.close())

  async function echoes(port: number, text: string): Promise<void> {
    const socket = await connectTo(port)
    const back = receive(socket, text.length)
    socket.write(text)
    assert.equal((await back).toString(), text)
    socket.destroy()
  }

  it('the next is tried when the first does not answer', async () => {
    const second = await serve(allow, ENV)
    const first = `ws://127.0.0.1:${await closedPort()}`
    const tunnel = await connect(first, `127.0.0.1:${target.port}`, ['--fallback', second.url], ENV)
    assert.match(tunnel.stderr(), new RegExp(`cannot be reached: .*; trying ${second.url}`))
    await echoes(tunnel.port, 'by the second')
    await tunnel.stop()
    await second.stop()
  })

  it('when the first is gone, new connections go to the next, and the first is come back to when that is gone', async () => {
    const first = await serve(allow, ENV)
    const second = await serve(allow, ENV)
    const tunnel = await connect(first.url, `127.0.0.1:${target.port}`, ['--fallback', second.url], ENV)
    await echoes(tunnel.port, 'by the first')
    await first.stop('SIGKILL')
    await said(tunnel, new RegExp(`; trying ${second.url}[\\s\\S]*a new session is there`))
    await echoes(tunnel.port, 'by the second')
    const again = sluice(['serve', '--listen', String(first.port), ...allow], ENV)
    await said(again, /serving on/)
    await second.stop('SIGKILL')
    await said(tunnel, new RegExp(`; trying ${first.url}[\\s\\S]*a new session is there`))
    await echoes(tunnel.port, 'by the first again')
    await tunnel.stop()
    await again.stop()
  })

  it('none answers: each is named, and the first reason that may pass is what is tried again for', async () => {
    const [one, two] = [await closedPort(), await closedPort()]
    const args = ['-L', '0:x:1', '--no-retry', '--fallback', `ws://127.0.0.1:${two}`]
    const running = sluice(['connect', `ws://127.0.0.1:${one}`, ...args], ENV)
    assert.equal(await running.exited, 5)
    assert.match(running.stderr(), new RegExp(`127.0.0.1:${one} cannot be reached: .*; trying ws://127.0.0.1:${two}`))
  })

  it('is not for plain mode', async () => {
    const running = sluice(['connect', 'ws://x', '-L', '0:x:1', '--plain', '--fallback', 'ws://y'], ENV)
    assert.equal(await running.exited, 2)
    assert.match(running.stderr(), /--fallback needs sessions/)
  })
})
