// One process of `sluice connect` with several servers, and a file that changes while it runs.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { closedPort, connectTo, echo, type Listening, listen, readOn, say, until } from '../helpers/net.js'
import { said, serve, sluice, untilOpen } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

const ENV = { SLUICE_TOKEN: TOKEN }

describe('several servers in one process', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-servers-'))
  const config = join(folder, 'sluice.yaml')
  const env = { ...ENV, XDG_RUNTIME_DIR: folder }
  let servers: Awaited<ReturnType<typeof serve>>[]
  let target: Listening
  let ports: number[]

  before(async () => {
    target = await listen(echo)
    ports = [await closedPort(), await closedPort(), await closedPort()]
    const allow = ['--allow', `127.0.0.1:${target.port}`]
    servers = [await serve(allow, ENV), await serve(allow, ENV), await serve(allow, { SLUICE_TOKEN: `${TOKEN}other` })]
  })

  after(async () => {
    for (const server of servers) await server.stop()
    await target.close()
    rmSync(folder, { recursive: true })
  })

  /** Writes a file whose entries are a server and the ports that are listened on for it. */
  function write(...entries: [server: number, ports: number[], more?: string][]): void {
    const sections = entries.map(
      ([server, own, more = '']) =>
        `  - url: ${servers[server]!.url}\n    local: [${own.map((port) => `"${ports[port]}:127.0.0.1:${target.port}"`).join(', ')}]\n${more}`,
    )
    writeFileSync(config, `connect:\n${sections.join('')}`)
  }

  it('runs each, and takes changes of the file without touching what stays', async () => {
    write([0, [0]], [1, [1]])
    const client = sluice(['connect', '--config', config], env)
    await untilOpen(ports[0]!, client)
    await untilOpen(ports[1]!, client)
    const about = new RegExp(
      `sluice: 127\\.0\\.0\\.1:${servers[0]!.port}: listening on 127\\.0\\.0\\.1:${ports[0]} for`,
    )
    assert.match(client.stderr(), about)
    const [first, second] = [await connectTo(ports[0]!), await connectTo(ports[1]!)]
    await say(first, 'one')
    await say(second, 'two')
    const status = sluice(['status', '--json'], env)
    await status.exited
    const addresses = (JSON.parse(status.stdout()) as { address: string; role: string }[])
      .filter(({ role }) => role === 'connect')
      .map(({ address }) => address)
    assert.deepEqual(addresses.sort(), [servers[0]!.url, servers[1]!.url].sort())

    // A forward more for the first, none of the old for it, and the second as it was.
    write([0, [2]], [1, [1]])
    await said(client, /read again: 1 forward begun, 1 forward ended\n/)
    await untilOpen(ports[2]!, client)
    await assert.rejects(connectTo(ports[0]!), /ECONNREFUSED/)
    await say(first, 'still there')
    await say(second, 'still there')

    // The second server goes, and what it carried with it; its port goes to the first.
    write([0, [2, 0]])
    const gone = readOn(second)
    await said(client, /read again: 1 forward begun, 1 server ended\n/)
    await gone
    await untilOpen(ports[0]!, client)
    await say(first, 'and still')
    await say(await connectTo(ports[0]!), 'by the first')

    // What cannot be read changes nothing.
    writeFileSync(config, 'connect:\n  - url: ws://u:p@h\n    locl: 1\n')
    await said(client, /has 2 problems\n[\s\S]*connect\[0\]\.locl: [\s\S]*Did you mean local[\s\S]*stays as it was/)
    await say(first, 'to the end')
    // SIGHUP has it read at once; what is the same changes nothing.
    write([0, [2, 0]])
    client.child.kill('SIGHUP')
    await said(client, /read again: nothing has changed\n/)
    await say(first, 'really')
    first.destroy()
    assert.equal(await client.stop(), 0)
  })

  it('goes on with the others when one is not to be had, and ends with its error when none is left', async () => {
    write([2, [0]], [1, [1]])
    const client = sluice(['connect', '--config', config], env)
    await untilOpen(ports[1]!, client)
    await said(client, new RegExp(`127\\.0\\.0\\.1:${servers[2]!.port}: .*(token|401|credentials)`))
    await say(await connectTo(ports[1]!), 'the other')
    await client.stop()
    write([2, [0]], [2, [1]])
    const none = sluice(['connect', '--config', config], env)
    assert.equal(await none.exited, 4, none.stderr())
  })

  it('tells a port that is taken at a change, and goes on', async () => {
    write([0, [0]])
    const client = sluice(['connect', '--config', config], env)
    await untilOpen(ports[0]!, client)
    const taken = target.port
    writeFileSync(
      config,
      `connect:\n  url: ${servers[0]!.url}\n  local: ["${ports[0]}:127.0.0.1:${target.port}", "${taken}:127.0.0.1:1"]\n`,
    )
    await said(client, new RegExp(`127\\.0\\.0\\.1:${taken} is already in use`))
    await say(await connectTo(ports[0]!), 'still')
    await client.stop()
  })

  it('refuses a URL beside a file that names several', async () => {
    write([0, [0]], [1, [1]])
    const client = sluice(['connect', 'ws://127.0.0.1:1', '--config', config], env)
    assert.equal(await client.exited, 2)
    assert.match(client.stderr(), /names several servers, and ws:\/\/127\.0\.0\.1:1 is one more/)
    await until(() => client.child.exitCode === 2, 'its end')
  })
})
