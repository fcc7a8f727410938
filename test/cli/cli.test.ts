import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { need } from '../helpers/need.js'
import { closedPort, connectTo, echo, listen, receive, receiveAll, until } from '../helpers/net.js'
import { connect, run, said, serve, sluice } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'

const ENV = { SLUICE_TOKEN: TOKEN }
const folder = mkdtempSync(join(tmpdir(), 'sluice-cli-'))
after(() => rmSync(folder, { recursive: true }))
const file = (name: string, text: string, mode = 0o600) => {
  const path = join(folder, name)
  writeFileSync(path, text, { mode })
  return path
}

/** Command lines that cannot work: the exit code, and what is said. */
const REFUSED: readonly (readonly [args: string[], exit: number, says: RegExp])[] = [
  [['conect'], 2, /unknown command 'conect'\n\(Did you mean connect\?\)/],
  [
    ['connect', 'ws://h', '-L', '1:a:2', '--tokenfile', 'x'],
    2,
    /unknown option '--tokenfile'\n\(Did you mean --token-file\?\)/,
  ],
  [['stdio', 'ws://h'], 2, /missing required argument 'target'/],
  [['connect', 'ws://h'], 2, /there is nothing to forward/],
  [['connect', 'ftp://h', '-L', '1:a:2'], 2, /scheme "ftp" is not known\nsluice: {3}Use wss:\/\//],
  [['connect', 'ws://u:p@h', '-L', '1:a:2'], 2, /credentials do not belong in a URL/],
  [['connect', 'ws://h:99999', '-L', '1:a:2'], 2, /port "99999" is not a number from 1 to 65535/],
  [
    ['connect', 'ws://h?x=1', '-L', '1:a:2'],
    2,
    /a query or fragment has no meaning here\nsluice: {3}For servers that want one, use --url-template/,
  ],
  [
    ['connect', 'ws://h', '-L', '5432:db'],
    2,
    /-L "5432:db", column 6: the port is missing in "db"\nsluice: {3}Write it like 5432:db:5432/,
  ],
  [['connect', 'ws://h', '-L', '5432:db:x'], 2, /column 9: port "x" is not a number from 1 to 65535/],
  [['connect', 'ws://h', '-L', '::1:80:a:80'], 2, /column 2: a port to listen on is missing/],
  [['connect', 'ws://h', '--carriers', '9', '-L', '1:a:2'], 2, /--carriers "9" is not a number from 1 to 8, nor auto/],
  [['connect', 'ws://h', '-L', '1:a:2', '--pin', 'sha256/x'], 2, /--pin needs TLS, and ws:\/\/h has none/],
  [['connect', 'wss://h', '-L', '1:a:2', '--pin', 'sha1/x'], 2, /is not sha256\/ followed by 44 characters/],
  [['connect', 'ws://h', '-L', '1:a:2', '--timeout', 'soon'], 2, /--timeout: "soon" is not a time like 30s/],
  [['connect', 'ws://h', '-L', '1:a:2', '-H', 'no colon'], 2, /is not "Name: value"/],
  [
    ['connect', 'ws://h', '-L', '1:a:2', '--url-template', '/{user}'],
    2,
    /\{user\} is not known\nsluice: {3}Use \{host\}, \{port\} and \{address\}/,
  ],
  [
    ['connect', 'ws://h', '-L', '1:a:2', '--token-file', '/nowhere/at/all'],
    3,
    /--token-file: \/nowhere\/at\/all cannot be read/,
  ],
  [['stdio', 'ws://h', 'db'], 2, /target: "db" is not HOST:PORT/],
  [['serve', '--listen', ':0'], 3, /without credentials would open it to everybody\nsluice: {3}Give --token-file/],
  [['serve', '--listen', '0.0.0.0:0', '--no-auth'], 3, /without credentials would open it to everybody/],
  [['serve', '--allow', 'db'], 2, /rule "db" is not HOST:PORTS\nsluice: {3}Examples: db.corp:5432/],
  [['serve', '--allow', '10.0.0.1/8:*'], 2, /bits beyond its prefix of 8/],
  [['serve', '--tls-cert', 'x'], 2, /--tls-cert and --tls-key go together/],
  [['serve', '--target', 'web'], 2, /--target "web" is not NAME=HOST:PORT/],
  [['serve', '--origin', 'app.example'], 2, /is not an origin like https:\/\/app.example/],
  [['serve', '--max-connections', '0'], 2, /--max-connections "0" is not a number/],
  [['serve', '--token-file-mode', 'some'], 2, /Allowed choices are owner, any/],
]

describe('command line', () => {
  for (const [args, exit, says] of REFUSED) {
    it(`sluice ${args.join(' ')} → ${exit}`, async () => {
      const running = sluice(args)
      assert.equal(await running.exited, exit, running.stderr())
      assert.match(running.stderr(), says)
      assert.equal(running.stdout(), '')
    })
  }

  it('config check finds every problem at once, and prints what is right in canonical form', async () => {
    const bad = file(
      'bad.yaml',
      `connect:
  url: wss://u:p@h
  local: [5432:db:5432, "8000-8001:web:80", "1:db"]
  carier: 3
  retry: no
  token-file-mode: some
  timeout: soon
  pin: \${SLUICE_TEST_MISSING}
serv:
  listen: 1
`,
    )
    const wrong = sluice(['config', 'check', bad])
    assert.equal(await wrong.exited, 3)
    for (const says of [
      /has 8 problems\n/,
      /connect\.url: .*credentials/,
      /connect\.local\[2\]: -L "1:db", column 3: the port is missing/,
      /connect\.carier: there is no such option\. Did you mean carriers\?/,
      /connect\.retry: "no" is neither true nor false/,
      /connect\.token-file-mode: "some" is not one of owner, any/,
      /connect\.timeout: the time: "soon" is not a time/,
      /connect\.pin: \$\{SLUICE_TEST_MISSING\} is not in the environment/,
      /serv: there is no such section\. Did you mean serve\?/,
    ])
      assert.match(wrong.stderr(), says)
    const broken = sluice(['config', 'check', file('broken.yaml', 'connect:\n  url: [1\n')])
    assert.equal(await broken.exited, 3)
    assert.match(broken.stderr(), /line \d+: /)
    const good = file(
      'good.json',
      JSON.stringify({ connect: { url: 'wss://h', local: ['0-0:x:1'].concat('7-8:web:80') } }),
    )
    const refused = sluice(['config', 'check', good])
    assert.equal(await refused.exited, 3, 'a range that begins with 0')
    const right = sluice(['config', 'check', file('right.json', '{"connect":{"url":"wss://h","local":"7-8:web:80"}}')])
    assert.equal(await right.exited, 0, right.stderr())
    assert.match(right.stdout(), /- 127\.0\.0\.1:7:web:80\n {4}- 127\.0\.0\.1:8:web:81/)
    const schema = sluice(['config', 'schema'])
    await schema.exited
    const fits = new Ajv2020({ strict: false }).compile(JSON.parse(schema.stdout()))
    const one = { url: 'wss://h', local: ['7:web:80'], carriers: 2 }
    assert.ok(fits({ connect: one, serve: { 'allow-reverse': '*:*' } }), JSON.stringify(fits.errors))
    assert.ok(fits({ connect: [one, { url: 'wss://other', dynamic: 1080 }] }), JSON.stringify(fits.errors))
    assert.ok(!fits({ connect: { carier: 1 } }) && !fits({ connect: [] }) && !fits({ serve: [{}] }))
  })

  it('--config: what the file says holds where no flag and no environment says otherwise', async () => {
    const target = await listen(echo)
    const settings = file(
      'run.yaml',
      `serve:
  listen: 0
  allow: 127.0.0.1:${target.port}
connect:
  local: "0:127.0.0.1:\${TARGET_PORT}"
  carriers: 2
`,
    )
    const server = sluice(['serve', '--config', settings], { ...ENV, TARGET_PORT: '1' })
    await said(server, /serving on (\S+)/)
    const url = /serving on (\S+)/.exec(server.stderr())![1]!
    const client = sluice(['connect', url, '--config', settings], { ...ENV, TARGET_PORT: String(target.port) })
    await said(client, /listening on \S+:(\d+) for/)
    const socket = await connectTo(Number(/listening on \S+:(\d+) for/.exec(client.stderr())![1]))
    socket.write('by a file')
    assert.equal((await receive(socket, 9)).toString(), 'by a file')
    socket.destroy()
    const flag = sluice(['connect', url, '--config', settings, '--carriers', '9'], { ...ENV, TARGET_PORT: '1' })
    assert.equal(await flag.exited, 2)
    assert.match(flag.stderr(), /--carriers "9"/)
    await client.stop()
    await server.stop()
    await target.close()
  })

  it('a mistyped command or option is answered with the nearest one', async () => {
    for (const [args, says] of [
      [['conect', 'ws://h'], /Did you mean connect\?/],
      [['connect', 'ws://h', '--carrier', '2'], /Did you mean --carriers\?/],
      [['serve', '--alow', 'db:1'], /Did you mean --allow\?/],
    ] as const) {
      const running = sluice(args)
      assert.equal(await running.exited, 2)
      assert.match(running.stderr(), says)
    }
  })

  for (const shell of ['bash', 'zsh', 'fish']) {
    it(`completions for ${shell} are a script that the shell reads, and know every command and option`, async (t) => {
      const running = sluice(['completions', shell])
      assert.equal(await running.exited, 0)
      const script = running.stdout()
      for (const word of [
        'serve',
        'connect',
        'stdio',
        'status',
        'completions',
        'allow-reverse',
        'carriers',
        'token-file',
      ])
        assert.ok(script.includes(word), word)
      if (shell !== 'bash') return
      if (!need(t, 'bash')) return
      const complete = async (...words: string[]) => {
        const line = `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _sluice; echo "\${COMPREPLY[@]}"`
        return (await run('bash', ['-c', `${script}\n${line}`])).stdout.trim()
      }
      assert.equal(await complete('sluice', 'conn'), 'connect')
      assert.equal(await complete('sluice', 'connect', '--carr'), '--carriers')
      assert.equal(await complete('sluice', 'serve', '--token-file-mode', 'o'), 'owner')
      assert.equal(await complete('sluice', 'completions', 'z'), 'zsh')
    })
  }

  it('--version goes to standard output with exit 0', async () => {
    const running = sluice(['--version'])
    assert.equal(await running.exited, 0)
    assert.match(running.stdout(), /^\d+\.\d+\.\d+\n$/)
    assert.equal(running.stderr(), '')
  })

  it('--help of every command fits a screen, with examples; --help-all has every option', async () => {
    const commands = ['serve', 'connect', 'stdio', 'check', 'status', 'token', 'config', 'policy', 'completions']
    const further = [[], ['token', 'new'], ['token', 'list'], ['policy', 'explain'], ['config', 'check']]
    for (const words of [...commands.map((name) => [name]), ...further]) {
      const running = sluice([...words, '--help'])
      assert.equal(await running.exited, 0)
      assert.equal(running.stderr(), '')
      const lines = running.stdout().trimEnd().split('\n')
      assert.ok(lines.length <= 24, `${words.join(' ')}: ${lines.length} lines\n${running.stdout()}`)
      for (const line of lines) assert.ok([...line].length <= 80, line)
    }
    for (const name of ['serve', 'connect', 'stdio', 'check']) {
      const [short, all] = await Promise.all(
        ['--help', '--help-all'].map(async (flag) => {
          const running = sluice([name, flag])
          assert.equal(await running.exited, 0)
          return running.stdout()
        }),
      )
      assert.match(short!, /--help-all[\s\S]*Examples?:/)
      assert.doesNotMatch(short!, /SLUICE_TOKEN_FILE|--timeout/)
      assert.match(all!, /SLUICE_TOKEN_FILE[\s\S]*Examples?:/)
      assert.match(all!, name === 'serve' ? /--dial-timeout/ : /--timeout/)
    }
  })

  it('logs text in a terminal and JSON lines otherwise, unless told', async () => {
    const args = ['serve', '--listen', '0', '--no-auth']
    const log = sluice(args, { SLUICE_LOG_FORMAT: 'auto' })
    await said(log, /serving on/)
    for (const line of log.stderr().trimEnd().split('\n')) {
      assert.deepEqual(Object.keys(JSON.parse(line)), ['time', 'level', 'message'])
    }
    await log.stop()
    const told = sluice([...args, '--log-format', 'text'], { SLUICE_LOG_FORMAT: 'auto' })
    await said(told, /^sluice: serving on/)
    await told.stop()
  })

  it('refuses a token file that others can read, one that is malformed, and a short token, never printing it', async () => {
    const secret = 'Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA'
    for (const [path, exit, says] of [
      [file('open', `me:${secret}\n`, 0o644), 3, /others can read .* \(mode 644\)\nsluice: {3}chmod 600/],
      [file('bad', `${secret}\n`), 2, /bad, line 1 is not name:token/],
      [file('short', `me:tooshort\n`), 2, /only 8 characters long/],
      [file('none', `# nothing\n`), 2, /has no token in it/],
      [file('twice', `me:${secret}\nme:${secret}x\n`), 2, /"me" stands there twice/],
    ] as const) {
      const running = sluice(['serve', '--listen', '0', '--token-file', path])
      assert.equal(await running.exited, exit, running.stderr())
      assert.match(running.stderr(), says)
      assert.ok(!running.stderr().includes(secret) && !running.stderr().includes('tooshort'))
    }
  })

  it('serve without credentials makes a token and prints the line to paste, which works', async () => {
    const target = await listen(echo)
    const server = await serve(['--allow', `127.0.0.1:${target.port}`])
    await said(server, /connect with: SLUICE_TOKEN=\S+ sluice connect \S+ -L/)
    const token = /SLUICE_TOKEN=(\S+)/.exec(server.stderr())![1]!
    const tunnel = await connect(server.url, `127.0.0.1:${target.port}`, [], { SLUICE_TOKEN: token })
    const socket = await connectTo(tunnel.port)
    socket.write('hello')
    assert.equal((await receive(socket, 5)).toString(), 'hello')
    socket.destroy()
    const interrupted = await tunnel.stop('SIGINT')
    assert.equal(interrupted, 130)
    assert.equal(await server.stop('SIGTERM'), 0)
    await target.close()
  })

  it('serve --tls-self-signed prints the pin; with it connect works, without it or with another it exits with 4', async () => {
    const target = await listen(echo)
    const server = await serve(['--tls-self-signed', '--allow', `127.0.0.1:${target.port}`], ENV)
    await said(server, /--pin \S+/)
    const pin = /--pin (\S+)/.exec(server.stderr())![1]!
    const tunnel = await connect(server.url, `127.0.0.1:${target.port}`, ['--pin', pin], ENV)
    const socket = await connectTo(tunnel.port)
    socket.write('hello')
    assert.equal((await receive(socket, 5)).toString(), 'hello')
    socket.destroy()
    await tunnel.stop()
    const unverified = sluice(['connect', server.url, '-L', '0:a:1'], ENV)
    assert.equal(await unverified.exited, 4)
    assert.match(
      unverified.stderr(),
      /certificate is not trusted: self-signed certificate .*\n.*give --ca FILE, or --pin/,
    )
    const other = sluice(['connect', server.url, '-L', '0:a:1', '--pin', `sha256/${'A'.repeat(43)}=`], ENV)
    assert.equal(await other.exited, 4)
    assert.match(other.stderr(), /the server's key is not the pinned one/)
    const plain = sluice(['connect', server.url.replace('wss:', 'ws:'), '-L', '0:a:1', '--no-retry'], ENV)
    assert.equal(await plain.exited, 5)
    await server.stop()
    await target.close()
  })

  it('connect exits with 4 for a wrong token, 6 for what no rule allows, 5 for a silent or missing server with --no-retry', async () => {
    const server = await serve(['--allow', '127.0.0.1:1'], ENV)
    const code = async (url: string, target: string, env: Record<string, string>, ...more: string[]) => {
      const running = sluice(['connect', url, '-L', `0:${target}`, ...more], env)
      return `${await running.exited} ${running.stderr().trim().replaceAll('\n', ' | ')}`
    }
    assert.match(
      await code(server.url, '127.0.0.1:1', { SLUICE_TOKEN: `${TOKEN}x` }),
      /^4 .*did not accept the credentials: 401/,
    )
    assert.match(
      await code(server.url, '127.0.0.1:1', {}),
      /^4 .*Give what it knows you by: --token-file FILE \(or SLUICE_TOKEN\), --login-file FILE/,
    )
    assert.match(
      await code(server.url, '127.0.0.1:2', ENV),
      /^6 .*does not allow 127.0.0.1:2: 403 \| .*--allow 127.0.0.1:2/,
    )
    assert.match(await code(server.url, '@web', ENV), /^2|^6/)
    const nobody = await closedPort()
    assert.match(
      await code(`ws://127.0.0.1:${nobody}`, 'a:1', ENV, '--no-retry'),
      /^5 .*cannot be reached: connect ECONNREFUSED/,
    )
    const silent = await listen(() => {})
    assert.match(
      await code(`ws://127.0.0.1:${silent.port}`, 'a:1', ENV, '--no-retry', '--timeout', '300ms'),
      /^5 .*did not answer the WebSocket handshake within 0.3 s/,
    )
    const odd = await listen((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'))
    assert.match(
      await code(`ws://127.0.0.1:${odd.port}`, 'a:1', ENV, '--no-retry'),
      /^5 .*the answer is not HTTP: it starts with "SSH-2"/,
    )
    assert.match(
      await code('ws://no-such-name.invalid', 'a:1', ENV, '--no-retry'),
      /^5 .*the name no-such-name.invalid cannot be resolved/,
    )
    await Promise.all([silent.close(), odd.close(), server.stop()])
  })

  it('connect keeps trying until the server is there, and listens only then', async () => {
    const port = await closedPort()
    const tunnel = sluice(['connect', `ws://127.0.0.1:${port}`, '-L', '0:127.0.0.1:1'], ENV)
    await said(tunnel, /cannot be reached: connect ECONNREFUSED .*; trying again in/)
    assert.doesNotMatch(tunnel.stderr(), /listening/)
    const server = sluice(['serve', '--listen', String(port), '--allow', '127.0.0.1:1'], ENV)
    await said(tunnel, /listening on 127.0.0.1:\d+ for 127.0.0.1:1/)
    await tunnel.stop()
    await server.stop()
  })

  it('connect ends at once with 3 when a port is taken, and serve too', async () => {
    const taken = await listen(() => {})
    const server = await serve(['--allow', '127.0.0.1:1'], ENV)
    const tunnel = sluice(['connect', server.url, '-L', `${taken.port}:127.0.0.1:1`], ENV)
    assert.equal(await tunnel.exited, 3)
    assert.match(
      tunnel.stderr(),
      new RegExp(`127.0.0.1:${taken.port} is already in use\nsluice:   Choose another port`),
    )
    const second = sluice(['serve', '--listen', String(server.port)], ENV)
    assert.equal(await second.exited, 3)
    await server.stop()
    await taken.close()
  })

  it('stdio carries standard input and output, and tells a refused target by exit 5', async () => {
    const target = await listen((socket) => {
      socket.once('data', (chunk) => socket.end(Buffer.concat([chunk, Buffer.alloc(3_000_000, 1)])))
    })
    const closed = await closedPort()
    const server = await serve(['--allow', `127.0.0.1:${target.port},${closed}`], ENV)
    const good = sluice(['stdio', server.url, `127.0.0.1:${target.port}`], ENV)
    good.child.stdin!.write('hello')
    assert.equal(await good.exited, 0)
    assert.equal(good.stdout().length, 3_000_005)
    assert.equal(good.stdout().slice(0, 5), 'hello')
    assert.equal(good.stderr(), '')
    const bad = sluice(['stdio', server.url, `127.0.0.1:${closed}`], ENV)
    assert.equal(await bad.exited, 5)
    assert.match(bad.stderr(), /could not reach 127.0.0.1:\d+: ECONNREFUSED/)
    await server.stop()
    await target.close()
  })

  it('serve lets what runs finish after SIGTERM, accepts nothing new, and exits with 0', async () => {
    const target = await listen(echo)
    const server = await serve(['--allow', `127.0.0.1:${target.port}`], ENV)
    const tunnel = await connect(server.url, `127.0.0.1:${target.port}`, [], ENV)
    const socket = await connectTo(tunnel.port)
    socket.write('before')
    assert.equal((await receive(socket, 6)).toString(), 'before')
    server.child.kill('SIGTERM')
    await said(server, /stopping: 1 connection may finish within 30s/)
    const late = await receiveAll(net.connect({ port: tunnel.port, host: '127.0.0.1' }))
    assert.equal(late.how, 'ECONNRESET')
    socket.write('after!')
    assert.equal((await receive(socket, 6)).toString(), 'after!')
    socket.resetAndDestroy()
    assert.equal(await server.exited, 0)
    await tunnel.stop()
    await target.close()
  })

  it('named targets are reached by name, and are then all that is', async () => {
    const target = await listen(echo)
    const server = await serve(['--target', `echo=127.0.0.1:${target.port}`], ENV)
    const running = sluice(['connect', server.url, '-L', '0:@echo'], ENV)
    await said(running, /listening on \S+:(\d+) for @echo/)
    const socket = net.connect({ port: Number(/listening on \S+:(\d+)/.exec(running.stderr())![1]), host: '127.0.0.1' })
    await once(socket, 'connect')
    socket.write('named')
    assert.equal((await receive(socket, 5)).toString(), 'named')
    socket.destroy()
    await running.stop()
    for (const [other, says] of [
      ['@other', /knows no target named @other/],
      [`127.0.0.1:${target.port}`, /does not allow/],
      ['example.org:80', /does not allow/],
    ] as const) {
      const refused = sluice(['connect', server.url, '-L', `0:${other}`], ENV)
      assert.equal(await refused.exited, 6)
      assert.match(refused.stderr(), says)
    }
    await server.stop()
    await until(() => target.sockets.size === 0, 'the target to be let go')
    await target.close()
  })
})
