// Attempts to reach what the policy forbids: every form of an address through every door, names whose answers change, and
// everything else that a token holder could try. Something listens wherever they could end up; nothing may arrive there.
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { parseServerUrl } from '#src/config/index.js'
import type { ClientLink } from '#src/link/index.js'
import { clientLink } from '#src/node/index.js'
import { dnsResolver, type Server } from '#src/server/index.js'
import type { StreamHandler } from '#src/session/index.js'
import { OPEN_ERRORS, type Target } from '#src/wire/index.js'
import { type DnsServer, dnsServer } from '../helpers/dns.js'
import { connectTo, until } from '../helpers/net.js'
import { type Running, said, sluice } from '../helpers/process.js'
import { exchange, handshake } from '../helpers/raw.js'
import { startServer, TOKEN } from '../helpers/rig.js'
import { TRICKS } from '../helpers/tricks.js'

/** What names stand for, in the DNS that the server asks. */
const ZONE = {
  localhost: [['127.0.0.1', '::1']],
  'www.localhost': [['127.0.0.1']],
  'loop.test': [['127.0.0.1']],
  'loop6.test': [['::1']],
  'mapped.test': [['::ffff:7f00:1']],
  'nat64.test': [['64:ff9b::7f00:1']],
  '6to4.test': [['2002:7f00:1::']],
  'zero.test': [['0.0.0.0', '::']],
  'private.test': [['10.0.0.1', '192.168.0.1', '172.16.0.1', 'fd00::1']],
  'metadata.google.internal': [['169.254.169.254']],
  'denied.test': [['127.0.0.1']],
  'xn--lcalhost-54a.test': [['127.0.0.1']],
  // Allowed when it is first asked for: whoever asks twice dials the second.
  'rebinds.test': [['127.0.0.3'], ['127.0.0.1']],
  'rebinds2.test': [['127.0.0.3', '127.0.0.1', '::1'], ['127.0.0.1']],
} as const

/** Forms of addresses, and of names for them, by what is answered. */
const FORMS = {
  /** An address: its policy is known at once. */
  address: [
    '127.0.0.1',
    '127.0.0.2',
    '127.255.255.254',
    '0.0.0.0',
    '10.0.0.1',
    '169.254.169.254',
    '100.100.100.200',
    '::1',
    '0:0:0:0:0:0:0:1',
    '::',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b::127.0.0.1',
    '2002:7f00:1::',
    'fd00:ec2::254',
    'fe80::1',
    '１２７.０.０.１',
    '127。0。0。1',
  ],
  /** A name: only its addresses tell. */
  name: Object.keys(ZONE).filter((name) => !/^(denied|rebinds)/.test(name)),
  /** A name that a rule forbids. */
  denied: ['denied.test', 'DENIED.test', 'denied.test.'],
  /** Not an address to us, nor to the resolver: octal, hexadecimal, short and decimal forms that getaddrinfo would take. */
  unknown: [
    '2130706433',
    '0x7f000001',
    '017700000001',
    '127.1',
    '127.0.1',
    '0177.0.0.1',
    '0x7f.0.0.1',
    '127.0.0.1.nosuch',
  ],
  /** Neither an address nor a name. */
  malformed: [
    '127.0.0.1 ',
    '127.0.0.1\u0000',
    '::1%lo',
    'fe80::1%25lo',
    '[::1',
    'a..b',
    '-',
    '127.0.0.1/8',
    'loop.test:80',
    '*',
  ],
} as const

describe('what the policy forbids', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-forbidden-'))
  const socketPath = join(folder, 'secret.sock')
  const arrived: string[] = []
  const listeners: net.Server[] = []
  const udp = createSocket('udp4')
  let dns: DnsServer
  let server: Server
  let serverPort = 0
  let port = 0
  let link: ClientLink
  let doors: Running
  let socksPort = 0

  before(async () => {
    const canary = async (where: net.ListenOptions) => {
      const one = net.createServer((socket) => {
        arrived.push(JSON.stringify(where))
        socket.destroy()
      })
      one.listen(where)
      await once(one, 'listening')
      listeners.push(one)
      return one.address()
    }
    port = ((await canary({ host: '127.0.0.1', port: 0 })) as net.AddressInfo).port
    await canary({ host: '127.0.0.2', port })
    await canary({ host: '::1', port })
    await canary({ path: socketPath })
    udp.on('message', () => arrived.push('UDP'))
    udp.bind(port, '127.0.0.1')
    await once(udp, 'listening')
    dns = await dnsServer(ZONE)
    const started = await startServer({
      allow: ['!denied.test:*', '!denied.test:*/udp', '*:*', '*:*/udp'],
      resolver: dnsResolver([dns.address]),
      limits: { dialTimeout: 1_000, freeFailures: 1_000 },
    })
    server = started.server
    serverPort = started.bound.port
    const url = `ws://127.0.0.1:${serverPort}`
    link = clientLink({ url: parseServerUrl(url), token: TOKEN, carriers: 1 })
    await link.connect()
    doors = sluice(['connect', url, '-D', '0'], { SLUICE_TOKEN: TOKEN })
    await said(doors, /listening on \S+:(\d+) for/)
    socksPort = Number(/listening on \S+:(\d+) for/.exec(doors.stderr())![1])
  })

  after(async () => {
    await doors.stop()
    await link.close()
    await server.close(0)
    for (const one of listeners) one.close()
    udp.close()
    dns.close()
    rmSync(folder, { recursive: true })
  })

  function open(target: Target, how: 'open' | 'listen' = 'open'): Promise<string> {
    return new Promise((resolve) => {
      const ended = (how: string) => () => resolve(how)
      try {
        const handler: StreamHandler = {
          data: ended('DATA'),
          opened: ended('OPEN'),
          failed: (code) => resolve(OPEN_ERRORS[code]?.name ?? String(code)),
          ended: ended('ENDED'),
          reset: (code) => resolve(`reset ${code}`),
          closed: ended('CLOSED'),
        }
        if (how === 'open') link.open(target, handler)
        else link.session!.listen(target, handler, performance.now())
        link.touch()
      } catch (error) {
        resolve((error as NodeJS.ErrnoException).code ?? String(error))
      }
    })
  }

  async function plain(path: string, changes = {}): Promise<string> {
    const { status, close } = await exchange(serverPort, handshake(path, changes), undefined, 3_000)
    return status === 101 ? `101 ${close}` : String(status)
  }

  function wisp(host: string, type = 1): Promise<string> {
    return new Promise((resolve) => {
      const ws = new WebSocket(`ws://127.0.0.1:${serverPort}/wisp/`, { headers: { Authorization: `Bearer ${TOKEN}` } })
      ws.on('open', () => {
        const head = Buffer.from([1, 7, 0, 0, 0, type, port & 255, port >> 8])
        ws.send(Buffer.concat([head, Buffer.from(host)]))
      })
      ws.on('message', (bytes: Buffer) => {
        if (bytes.readUInt32LE(1) !== 7) return
        resolve(bytes[0] === 4 ? `close 0x${bytes[5]!.toString(16)}` : `packet ${bytes[0]}`)
        ws.terminate()
      })
      ws.on('close', (code) => resolve(`closed ${code}`))
      ws.on('error', (error) => resolve(error.message))
    })
  }

  async function socks(host: string): Promise<string> {
    const socket = await connectTo(socksPort)
    socket.on('error', () => {})
    const name = Buffer.from(host)
    socket.write(Buffer.from([5, 1, 0]))
    socket.write(Buffer.concat([Buffer.from([5, 1, 0, 3, name.length]), name, Buffer.from([port >> 8, port & 255])]))
    const bytes: Buffer[] = []
    socket.on('data', (chunk: Buffer) => bytes.push(chunk))
    await Promise.race([
      once(socket, 'end'),
      once(socket, 'close'),
      until(() => Buffer.concat(bytes).length >= 12, 'it'),
    ])
    socket.destroy()
    return `reply ${Buffer.concat(bytes)[3] ?? 'none'}`
  }

  async function httpProxy(host: string): Promise<string> {
    const socket = await connectTo(socksPort)
    socket.on('error', () => {})
    const at = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
    socket.write(`CONNECT ${at}:${port} HTTP/1.1\r\nHost: ${at}\r\n\r\n`)
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    await Promise.race([once(socket, 'end'), once(socket, 'close'), until(() => text.includes('\r\n\r\n'), 'it')])
    socket.destroy()
    return text.split(' ')[1] ?? 'none'
  }

  const escaped = (host: string) => encodeURIComponent(host)
  const bracketed = (host: string) => (host.includes(':') ? `[${host}]` : host)
  const DOORS: Readonly<Record<string, (host: string) => Promise<string>>> = {
    session: (host) => open({ kind: 'TCP', host, port }),
    'session, UDP': (host) => open({ kind: 'UDP', host, port }),
    'a path': (host) => plain(`/tcp/${escaped(host)}/${port}`),
    'a query': (host) => plain(`/v1?address=${escaped(`${bracketed(host)}:${port}`)}`),
    Wisp: (host) => wisp(host),
    'Wisp, UDP': (host) => wisp(host, 2),
    SOCKS5: socks,
    'HTTP proxy': httpProxy,
  }
  const same = (answer: string) => () => answer
  /** What each door answers to each kind of form. */
  const ANSWERS: Readonly<Record<keyof typeof FORMS, Readonly<Record<string, (host: string) => string>>>> = {
    address: {
      session: same('NOT_ALLOWED'),
      'session, UDP': same('NOT_ALLOWED'),
      'a path': same('403'),
      'a query': same('403'),
      Wisp: same('close 0x48'),
      'Wisp, UDP': same('close 0x48'),
      // In these two a name that is not ASCII is none.
      SOCKS5: (host) => (/[^\x20-\x7e]/.test(host) ? 'reply 1' : 'reply 2'),
      'HTTP proxy': (host) => (/[^\x20-\x7e]/.test(host) ? '502' : '403'),
    },
    get name() {
      return { ...this.address, 'a path': same('101 1008 POLICY'), 'a query': same('101 1008 POLICY') }
    },
    get denied() {
      return this.address
    },
    unknown: {
      session: same('NAME_NOT_FOUND'),
      'session, UDP': same('NAME_NOT_FOUND'),
      'a path': (host) => `101 1011 ENOTFOUND ${host}:${port}`,
      'a query': (host) => `101 1011 ENOTFOUND ${host}:${port}`,
      Wisp: same('close 0x42'),
      'Wisp, UDP': same('close 0x42'),
      SOCKS5: same('reply 4'),
      'HTTP proxy': same('502'),
    },
    malformed: {
      session: same('GENERAL'),
      'session, UDP': same('GENERAL'),
      'a path': same('400'),
      'a query': same('400'),
      Wisp: same('close 0x41'),
      'Wisp, UDP': same('close 0x41'),
      SOCKS5: same('reply 1'),
      'HTTP proxy': (host) => (/[\s[]/.test(host) ? '400' : '502'),
    },
  }

  it(`is a table of at least 150 attempts`, () => {
    assert.ok(Object.values(FORMS).flat().length * Object.keys(DOORS).length + TRICKS.length >= 150)
  })

  for (const [kind, hosts] of Object.entries(FORMS)) {
    for (const host of hosts) {
      it(`${kind} ${JSON.stringify(host)} through every door`, async () => {
        const answers = await Promise.all(
          Object.entries(DOORS).map(async ([door, attempt]) => [door, await attempt(host)] as const),
        )
        const wanted = ANSWERS[kind as keyof typeof FORMS]
        assert.deepEqual(
          Object.fromEntries(answers),
          Object.fromEntries(answers.map(([door]) => [door, wanted[door]!(host)])),
        )
        assert.deepEqual(arrived, [])
      })
    }
  }

  for (const [name, request, expect] of TRICKS) {
    it(`${name} → ${expect}`, async () => {
      const text = request.replaceAll('{port}', String(port)).replaceAll('{own}', String(serverPort))
      const { status, close } = await exchange(serverPort, text, undefined, 3_000)
      assert.equal(status === 101 ? `101 ${close}` : String(status), expect.replace('{port}', String(port)))
      assert.deepEqual(arrived, [])
    })
  }

  it('unix sockets, named targets and listeners, without a rule', async () => {
    const listen: readonly Target[] = [
      { kind: 'TCP', host: '127.0.0.1', port: 0 },
      { kind: 'TCP', host: '0.0.0.0', port: 8080 },
      { kind: 'TCP', host: '::', port: 8080 },
      { kind: 'TCP', host: '', port: 8080 },
      { kind: 'UDP', host: '127.0.0.1', port: 5353 },
      { kind: 'UNIX', path: join(folder, 'mine.sock') },
    ]
    const targets: readonly Target[] = [
      { kind: 'UNIX', path: socketPath },
      { kind: 'UNIX', path: `${folder}/../${folder.split('/').at(-1)}/secret.sock` },
      { kind: 'UNIX', path: '/var/run/docker.sock' },
      { kind: 'NAMED', name: 'loop.test' },
      { kind: 'NAMED', name: '127.0.0.1' },
    ]
    for (const target of targets) assert.equal(await open(target), 'NOT_ALLOWED', JSON.stringify(target))
    for (const target of listen) assert.equal(await open(target, 'listen'), 'NOT_ALLOWED', JSON.stringify(target))
    assert.deepEqual(arrived, [])
  })

  it('a name that means something else the second time: what was checked is dialled, and asked for once', async () => {
    const strict = await startServer({
      allow: ['127.0.0.3:*', '*.test:*'],
      resolver: dnsResolver([dns.address]),
    })
    const answers: string[] = []
    for (const name of ['rebinds.test', 'rebinds2.test']) {
      const path = `/tcp/${name}/${port}`
      answers.push((await exchange(strict.bound.port, handshake(path))).close)
      assert.equal(dns.asked.get(name), 2, 'once for IPv4, once for IPv6')
    }
    assert.deepEqual(answers, [`1011 ECONNREFUSED rebinds.test:${port}`, `1011 ECONNREFUSED rebinds2.test:${port}`])
    assert.equal((await exchange(strict.bound.port, handshake(`/tcp/rebinds.test/${port}`))).close, '1008 POLICY')
    assert.deepEqual(arrived, [])
    await strict.server.close(0)
  })

  it('and what is allowed arrives, through the same doors', async () => {
    const open = await startServer({
      allow: [`127.0.0.1:${port}`, 'loop.test:*'],
      resolver: dnsResolver([dns.address]),
    })
    for (const host of ['127.0.0.1', 'loop.test']) await exchange(open.bound.port, handshake(`/tcp/${host}/${port}`))
    assert.equal(arrived.length, 2)
    await open.server.close(0)
  })
})
