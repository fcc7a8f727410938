// What `connect` shows in a terminal.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Display, displayLines } from '#src/cli/display.js'
import type { ProcessState, SessionState } from '#src/cli/state.js'
import { need, PYTHON } from '../helpers/need.js'
import { closedPort, connectTo, echo, listen, say, until } from '../helpers/net.js'
import { CLI, serve, start, untilOpen } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

const session = (more: Partial<SessionState> = {}): SessionState =>
  ({ waiting: false, carriers: [{ roundTrip: 12.34 }], sent: 0, received: 0, ...more }) as SessionState
const state = (sessions: SessionState[], connections = 0): ProcessState => ({
  version: '0',
  pid: 1,
  role: 'connect',
  address: 'wss://h',
  age: 0,
  sessions,
  forwards: [
    { listen: '127.0.0.1:5432', target: 'db:5432', connections },
    { listen: 'server [::]:80', target: 'localhost:80', connections: 0 },
  ],
})

/** What a terminal would show: applies the little of ECMA-48 that a display uses. */
class Screen {
  readonly isTTY: boolean = true
  columns = 60
  rows: string[] = ['']
  #row = 0

  write(text: string): boolean {
    for (const part of text.split(/(\x1b\[\d*[AJ]|\n|\r)/)) {
      const move = /^\x1b\[(\d+)A$/.exec(part)
      if (move !== null) this.#row -= Number(move[1])
      else if (part === '\x1b[J') this.rows = [...this.rows.slice(0, this.#row), '']
      else if (part === '\n') {
        this.#row++
        this.rows[this.#row] ??= ''
      } else if (part !== '\r') this.rows[this.#row] += part
    }
    return true
  }

  /** Makes it narrower: what is too long wraps. */
  narrow(columns: number): void {
    this.columns = columns
    this.rows = this.rows.flatMap((row) => row.match(new RegExp(`.{1,${columns}}`, 'g')) ?? [''])
    this.#row = this.rows.length - 1
  }

  get text(): string {
    return this.rows.join('\n').trimEnd()
  }
}

/** Runs as if in a terminal, outside of CI. */
function withTerminal(act: () => void): void {
  const { TERM, CI } = process.env
  process.env.TERM = 'xterm'
  delete process.env.CI
  try {
    act()
  } finally {
    if (TERM === undefined) delete process.env.TERM
    else process.env.TERM = TERM
    if (CI !== undefined) process.env.CI = CI
  }
}

describe('the display of connect', () => {
  it('says how the server is reached, where it listens, and what flows', () => {
    assert.deepEqual(displayLines(state([session()]), { up: 0, down: 0 }), [
      '  wss://h: round trip 12 ms',
      '    127.0.0.1:5432 → db:5432',
      '    server [::]:80 → localhost:80',
    ])
    assert.deepEqual(displayLines(state([session()], 2), { up: 2048, down: 1.5 * 2 ** 20 }).slice(0, 2), [
      '  wss://h: round trip 12 ms, 2.0 KiB/s up, 1.5 MiB/s down',
      '    127.0.0.1:5432 → db:5432  2 connections',
    ])
    assert.match(displayLines(state([session({ waiting: true })]), { up: 0, down: 0 })[0]!, /connection lost/)
    assert.match(displayLines(state([]), { up: 0, down: 0 })[0]!, /no session/)
    const evil = { ...state([]), forwards: [{ listen: 'x\x1b[2J', target: '\x07', connections: 0 }] }
    assert.doesNotMatch(displayLines(evil, { up: 0, down: 0 }).join(''), /[\x00-\x1f]/)
  })

  it('keeps what is said above its lines, follows changes, and leaves nothing behind', (t) => {
    withTerminal(() => {
      t.mock.timers.enable({ apis: ['setInterval'] })
      const screen = new Screen()
      const display = Display.on(screen, {})!
      let now = state([session()])
      display.show(() => [now])
      display.write('sluice: first\n')
      t.mock.timers.tick(1000)
      assert.match(screen.text, /^sluice: first\n {2}wss:\/\/h: round trip 12 ms\n {4}127[^\n]+\n {4}server[^\n]+$/)
      display.write('sluice: second\n')
      assert.match(screen.text, /^sluice: first\nsluice: second\n {2}wss:\/\/h: round[\s\S]+localhost:80$/)
      now = state([session({ waiting: true })], 1)
      t.mock.timers.tick(1000)
      assert.match(screen.text, /second\n {2}wss:\/\/h: connection lost, coming back[\s\S]+1 connection\n/)
      assert.equal(screen.text.split('wss://h').length, 2, 'it is there once')
      // What wrapped is taken away, and lines are cut instead.
      screen.narrow(24)
      now = state([session()], 3)
      t.mock.timers.tick(1000)
      assert.ok(
        screen.text
          .split('\n')
          .slice(-3)
          .every((line) => line.length < 24),
        screen.text,
      )
      display.close()
      assert.equal(screen.text, 'sluice: first\nsluice: second')
    })
  })

  it('is not there without a terminal, for dumb ones, when quiet, and with JSON', () => {
    withTerminal(() => {
      const screen = new Screen()
      assert.equal(Display.on({ ...screen, isTTY: false, write: () => true }, {}), undefined)
      assert.equal(Display.on(screen, { quiet: true }), undefined)
      assert.equal(Display.on(screen, { logFormat: 'json' }), undefined)
      process.env.TERM = 'dumb'
      assert.equal(Display.on(screen, {}), undefined)
    })
  })

  it('appears in a real terminal, and is gone at the end', async (t) => {
    const [python] = need(t, PYTHON) ?? []
    if (python === undefined) return
    const target = await listen(echo)
    const server = await serve(['--allow', `127.0.0.1:${target.port}`], { SLUICE_TOKEN: TOKEN })
    const port = await closedPort()
    const args = [process.execPath, CLI, 'connect', server.url, '-L', `${port}:127.0.0.1:${target.port}`]
    const env: NodeJS.ProcessEnv = { ...process.env, TERM: 'xterm', SLUICE_TOKEN: TOKEN, SLUICE_LOG_FORMAT: 'auto' }
    delete env.CI
    const client = start(python, ['-c', `import pty, sys; sys.exit(pty.spawn(${JSON.stringify(args)}) >> 8)`], { env })
    const shown = () => Buffer.from(client.stdout(), 'latin1').toString()
    await untilOpen(port, client)
    const socket = await connectTo(port)
    await say(socket, 'in a terminal')
    await until(() => /round trip [\d.]+ ms[\s\S]*→ 127\.0\.0\.1:\d+ {2}1 connection/.test(shown()), 'the lines')
    assert.match(shown(), /sluice: listening on 127\.0\.0\.1:\d+ for/)
    socket.destroy()
    client.child.stdin!.write('\x03')
    assert.equal(await client.exited, 130)
    assert.match(client.stdout(), /\x1b\[\d+A\r\x1b\[J$/)
    await server.stop()
    await target.close()
  })
})
