import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import type net from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import { selfSigned } from '#src/server/index.js'
import { Namespace } from '../helpers/namespace.js'
import { which } from '../helpers/need.js'
import { closedPort, connectTo } from '../helpers/net.js'
import { answersItself, box, type Obstacle, reverseProxy, webSocketProxy } from '../helpers/obstacles.js'
import { CLI, said, start, untilOpen } from '../helpers/process.js'
import { TOKEN } from '../helpers/rig.js'
import { PASSWORD, type SquidScheme, squid, USER } from '../helpers/squid.js'

export const LONG: boolean = process.env.SLUICE_LONG === '1'

/** An obstacle in its place. */
export interface Placed extends Obstacle {
  readonly flags?: readonly string[]
  /** Whether what is in the way has TLS. */
  readonly secure?: boolean
  /** What the server is called; default 127.0.0.1. */
  readonly host?: string
  /** What a command that is to stand behind the obstacle begins with. */
  readonly inside?: readonly string[]
}

/** Something that stands between a client and its server, and what is to become of it. */
export interface Case {
  readonly name: string
  /** Programs without which there is nothing to try. */
  readonly needs?: readonly string[]
  /** Puts it before the server, or before one of its own. */
  make(server: number, folder: string, serve: readonly string[]): Promise<Placed>
  /** Further flags of the check. */
  readonly look?: readonly string[]
  /** How connect is to get through, or the exit code with which it must not. */
  readonly through: string | number
  /** What check must say, its verdict apart. */
  readonly names: RegExp
  /** Bytes each way; the line may be slow. */
  readonly bytes?: number
  /** Quiet before the end, in milliseconds. */
  readonly quiet?: number
  /** Whether connect says so itself, where it does not get through. */
  readonly says?: RegExp
}

const forbidden = 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
const portal = 'HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
const page =
  'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<!doctype html>'

export const CASES: readonly Case[] = [
  {
    name: 'nothing',
    make: (server) => box(server, {}),
    through: 'WebSocket',
    names: /^ok {3}websocket/m,
  },
  {
    name: 'a reverse proxy that strips `Upgrade`',
    make: (server) => reverseProxy(server, {}),
    through: 'HTTP, with answers that are streamed',
    names: /FAIL websocket .*200[\s\S]*nginx needs/,
  },
  {
    name: 'nginx as it comes, without the lines for `Upgrade`',
    needs: ['nginx'],
    make: (server, folder) => nginx(server, folder),
    through: 'HTTP, with answers that are streamed',
    names: /FAIL websocket .*200[\s\S]*nginx needs/,
  },
  {
    name: 'a firewall that answers 403 to upgrades',
    make: (server) => reverseProxy(server, { upgrade: (_, socket) => void socket.end(forbidden) }),
    through: 'HTTP, with answers that are streamed',
    names: /FAIL websocket .*403/,
  },
  {
    name: 'deep inspection that resets on `Sec-WebSocket-*`',
    make: (server) =>
      box(server, {
        up: (bytes, connection) => {
          if (!/sec-websocket/i.test(bytes.toString('latin1'))) return bytes
          connection.cut()
          return undefined
        },
      }),
    through: 'HTTP, with answers that are streamed',
    names: /FAIL websocket [\s\S]*something on the way forbids it/,
  },
  {
    name: 'a box that answers 101 and then drops frames',
    make: (server) => {
      const upgraded = new WeakSet<object>()
      return box(server, {
        up: (bytes, connection) => {
          if (upgraded.has(connection)) return undefined
          if (/sec-websocket/i.test(bytes.toString('latin1'))) upgraded.add(connection)
          return bytes
        },
        down: (bytes, connection) => {
          const end = bytes.indexOf('\r\n\r\n')
          return upgraded.has(connection) ? bytes.subarray(0, end < 0 ? 0 : end + 4) : bytes
        },
      })
    },
    through: 'HTTP, with answers that are streamed',
    names: /FAIL websocket [\s\S]*drops what is in the WebSocket/,
  },
  {
    name: 'a proxy that keeps whole requests back',
    make: (server) => reverseProxy(server, { buffersRequests: true }),
    through: 'HTTP, with answers that are streamed',
    names: /^ok {3}stream/m,
  },
  {
    name: 'a proxy that keeps whole answers back',
    make: (server) => reverseProxy(server, { buffersAnswers: true, buffersRequests: true }),
    through: 'HTTP, with long polling',
    names: /FAIL stream [\s\S]*^ok {3}poll/m,
  },
  {
    name: 'a proxy that allows 1 request at a time',
    make: (server) => reverseProxy(server, { atOnce: 1, buffersAnswers: true, buffersRequests: true }),
    through: 'HTTP, one request at a time',
    names: /FAIL poll [\s\S]*^ok {3}turns/m,
  },
  {
    name: 'a proxy that opens WebSockets of its own and answers pings itself',
    make: (server) => webSocketProxy(server),
    through: 'WebSocket',
    names: /websocket/,
  },
  {
    name: 'a box that cuts what is idle for 5 s',
    make: (server) => {
      const last = new WeakMap<object, NodeJS.Timeout>()
      const touch = (bytes: Buffer, connection: { cut(): void }) => {
        clearTimeout(last.get(connection))
        last.set(
          connection,
          setTimeout(() => connection.cut(), 5_000),
        )
        return bytes
      }
      return box(server, { up: touch, down: touch })
    },
    through: 'WebSocket',
    look: ['--quick', '--long', '8s'],
    names: /^ok {3}idle .*cut after 5\.\d s on which nothing moved/m,
    quiet: 7_000,
  },
  {
    name: `a box that cuts what is ${LONG ? 30 : 3} s old`,
    make: (server) => box(server, { begun: ({ cut }) => void setTimeout(cut, LONG ? 30_000 : 3_000) }),
    through: 'WebSocket',
    look: ['--quick', '--long', LONG ? '65s' : '8s'],
    names: /^ok {3}age .*cut when they are (3|30)(\.\d)? s old/m,
    quiet: LONG ? 32_000 : 4_000,
  },
  {
    name: 'a box that cuts after 1 MiB',
    make: (server) => {
      const count = (bytes: Buffer, connection: { bytes: number; cut(): void }) => {
        if (connection.bytes <= 1024 * 1024) return bytes
        connection.cut()
        return undefined
      }
      return box(server, { up: count, down: count })
    },
    through: 'WebSocket',
    names: /^ok {3}websocket/m,
  },
  {
    name: 'only out through squid, which asks by Basic who it is',
    needs: ['squid', 'openssl', 'ip', 'nft'],
    make: (_, folder, serve) => behindSquid(folder, serve, 'basic'),
    through: 'WebSocket',
    names: /^ok {3}proxy /m,
  },
  {
    name: 'only out through squid, which asks by Digest who it is',
    needs: ['squid', 'openssl', 'ip', 'nft'],
    make: (_, folder, serve) => behindSquid(folder, serve, 'digest'),
    through: 'WebSocket',
    names: /^ok {3}proxy /m,
  },
  {
    name: 'the same squid, and nobody says who it is',
    needs: ['squid', 'openssl', 'ip', 'nft'],
    make: (_, folder, serve) => behindSquid(folder, serve, 'basic', false),
    through: 4,
    names: /FAIL proxy .*asks who you are .*basic[\s\S]*--proxy-auth-file/,
    says: /--proxy-auth-file FILE/,
  },
  {
    name: 'a firewall that lets only port 443 out, and the server listens there',
    needs: ['ip', 'nft'],
    make: (_, folder, serve) => only443(folder, serve, 443),
    through: 'WebSocket',
    names: /^ok {3}websocket/m,
  },
  {
    name: 'the same, and the server listens on 8080: UDP and other ports are dropped',
    needs: ['ip', 'nft'],
    make: (_, folder, serve) => only443(folder, serve, 8080),
    through: 5,
    names: /FAIL tcp .*dropped on the way[\s\S]*let the server listen there/,
    says: /does not answer within 3 s/,
  },
  {
    name: 'an IPv6 black hole: the name has an address that never answers',
    needs: ['ip', 'nft'],
    make: (_, folder, serve) => blackHole(folder, serve),
    through: 'WebSocket',
    names: /^ok {3}tcp [\s\S]*note: \[2001:db8::1\]:443: no answer within[\s\S]*^ok {3}websocket/m,
  },
  {
    name: 'a line of 100 kbit/s',
    make: (server) => box(server, { rate: 12_500 }),
    through: 'WebSocket',
    names: /^ok {3}websocket/m,
    bytes: 48 * 1024,
  },
  {
    name: 'TLS opened by somebody in the middle',
    make: async (server) => {
      const { cert, key } = await selfSigned(['127.0.0.1'])
      return tlsMiddle(server, cert, key)
    },
    through: 4,
    names: /FAIL tls .*not trusted .*it is signed by/,
    says: /certificate is not trusted/,
  },
  {
    name: 'the same, and its CA is given with `--ca`',
    make: async (server, folder) => {
      const { cert, key } = await selfSigned(['127.0.0.1'])
      const ca = join(folder, 'ca.pem')
      writeFileSync(ca, cert)
      return { ...(await tlsMiddle(server, cert, key)), flags: ['--ca', ca] }
    },
    through: 'WebSocket',
    names: /^ok {3}tls .*signed by/m,
  },
  {
    name: 'the sign-in page of a network',
    make: () => answersItself(portal),
    through: 5,
    names: /FAIL http .*302[\s\S]*login\.example/,
    says: /302/,
  },
  {
    name: 'a page of somebody else for every request',
    make: () => answersItself(page),
    through: 5,
    names: /FAIL http .*200/,
    says: /200/,
  },
  {
    name: 'a proxy that knows neither WebSocket nor POST',
    make: (server) => reverseProxy(server, { methods: ['GET'] }),
    through: 5,
    names: /FAIL websocket [\s\S]*FAIL turns/,
    says: /did not switch to WebSocket: 200/,
  },
]

/** A proxy that is the only way out. */
async function behindSquid(
  folder: string,
  serve: readonly string[],
  scheme: SquidScheme,
  known = true,
): Promise<Placed> {
  const network = new Namespace()
  network.filter('meta skuid 0 tcp flags & (syn | ack) == syn tcp dport != 3128 drop')
  // squid becomes another user, who must be able to read what is below.
  chmodSync(folder, 0o755)
  const own = join(folder, `squid-${scheme}`)
  mkdirSync(own, { recursive: true })
  const proxy = await squid(own, scheme, network.prefix)
  const file = join(own, 'who')
  writeFileSync(file, `${USER}:${PASSWORD}\n`, { mode: 0o600 })
  const placed = await inNamespace(network, '127.0.0.1', 8443, serve, folder)
  return {
    ...placed,
    flags: ['--proxy', `http://127.0.0.1:${proxy.port}`, ...(known ? ['--proxy-auth-file', file] : [])],
    close: async () => {
      await proxy.stop('SIGKILL')
      await placed.close()
    },
  }
}

/** A server in a network of its own, together with whoever is to reach it. */
async function inNamespace(
  network: Namespace,
  host: string,
  port: number,
  serve: readonly string[],
  folder: string,
): Promise<Placed> {
  const [program = '', ...args] = [...network.prefix, process.execPath, CLI, 'serve', '--listen', `0.0.0.0:${port}`]
  const env = { ...process.env, SLUICE_TOKEN: TOKEN, XDG_RUNTIME_DIR: folder }
  const server = start(program, [...args, ...serve], { env })
  await said(server, /serving on/)
  return {
    port,
    host,
    inside: network.prefix,
    close: async () => {
      await server.stop()
      network.close()
    },
  }
}

function only443(folder: string, serve: readonly string[], port: number): Promise<Placed> {
  const network = new Namespace()
  network.filter('meta l4proto udp drop', 'tcp flags & (syn | ack) == syn tcp dport != 443 drop')
  return inNamespace(network, '127.0.0.1', port, serve, folder)
}

function blackHole(folder: string, serve: readonly string[]): Promise<Placed> {
  const network = new Namespace()
  network.run('ip', '-6', 'address', 'add', '2001:db8::2/64', 'dev', 'lo', 'nodad')
  network.run('ip', '-6', 'address', 'add', '2001:db8::1/64', 'dev', 'lo', 'nodad')
  // Names are asked for as IPv4 only where there is more of it than loopback.
  network.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'lo')
  network.hosts('2001:db8::1 tunnel.test\n192.0.2.1 tunnel.test')
  network.filter('ip6 daddr 2001:db8::1 drop')
  return inNamespace(network, 'tunnel.test', 443, serve, folder)
}

/** Debian's nginx with its own defaults: HTTP/1.0 to the server, whole requests, bodies of at most 1 MiB. */
async function nginx(to: number, folder: string): Promise<Obstacle> {
  const port = await closedPort()
  const site = `server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${to}; } }`
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const temporary = places.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')
  writeFileSync(
    join(folder, 'nginx.conf'),
    // Its worker must be able to write bodies where it is told to.
    `${process.getuid?.() === 0 ? 'user root;' : ''}\ndaemon off;\npid ${folder}/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n${temporary}\n${site}\n}\n`,
  )
  const running = start(which('nginx')!, ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')])
  await untilOpen(port, running)
  return { port, close: async () => void (await running.stop()) }
}

/** Opens TLS with a key of its own, and passes what is inside on. */
async function tlsMiddle(to: number, cert: string, key: string): Promise<Obstacle & { secure: boolean }> {
  const inner = await box(to, {})
  const sockets = new Set<net.Socket>()
  const server = tls.createServer({ cert, key, ALPNProtocols: ['http/1.1'] }, (socket) => {
    sockets.add(socket)
    void connectTo(inner.port).then((far) => {
      socket.pipe(far).pipe(socket)
      far.on('error', () => socket.destroy())
      socket.on('close', () => far.destroy())
    })
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as net.AddressInfo).port,
    secure: true,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await inner.close()
    },
  }
}
