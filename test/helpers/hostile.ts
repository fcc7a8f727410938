import { clientFrame, handshake } from './raw.js'
import { TOKEN } from './rig.js'

/** One bad input: what is sent, and exactly what comes back. `{echo}` and `{closed}` stand for the two targets' ports. */
export interface Case {
  readonly name: string
  readonly request: string
  readonly after?: Buffer
  readonly expect: string
}

/** The path of a target that echoes. */
export const ECHO = '/tcp/127.0.0.1/{echo}'
const REFUSE = (status: number, body: string) => `${status} ${body}`
const KEY_MESSAGE = 'Sec-WebSocket-Key must be there once and be base64 of 16 bytes'
const UPGRADE_MESSAGE = 'this is a WebSocket endpoint: "Upgrade: websocket" and "Connection: Upgrade" are needed'
const frame = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')

/** What a hostile client might send, with a token that is valid, and what it gets. */
export const HOSTILE: readonly Case[] = [
  // Handshake.
  {
    name: 'POST',
    request: handshake(ECHO, {}, `POST ${ECHO} HTTP/1.1`),
    expect: REFUSE(405, 'a WebSocket handshake is a GET, not POST'),
  },
  {
    name: 'HTTP/1.0',
    request: handshake(ECHO, {}, `GET ${ECHO} HTTP/1.0`),
    expect: REFUSE(400, 'a WebSocket handshake needs HTTP/1.1, not 1.0'),
  },
  {
    name: 'no Upgrade',
    request: handshake(ECHO, { Upgrade: undefined, Connection: undefined }),
    expect: REFUSE(426, UPGRADE_MESSAGE),
  },
  { name: 'another Upgrade', request: handshake(ECHO, { Upgrade: 'h2c' }), expect: REFUSE(426, UPGRADE_MESSAGE) },
  { name: 'no Connection', request: handshake(ECHO, { Connection: undefined }), expect: REFUSE(426, UPGRADE_MESSAGE) },
  {
    name: 'Connection: close',
    request: handshake(ECHO, { Connection: 'close' }),
    expect: REFUSE(426, UPGRADE_MESSAGE),
  },
  { name: 'no key', request: handshake(ECHO, { 'Sec-WebSocket-Key': undefined }), expect: REFUSE(400, KEY_MESSAGE) },
  {
    name: 'a short key',
    request: handshake(ECHO, { 'Sec-WebSocket-Key': 'dGhlIHNhbXBs' }),
    expect: REFUSE(400, KEY_MESSAGE),
  },
  {
    name: 'a key that is not base64',
    request: handshake(ECHO, { 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!==' }),
    expect: REFUSE(400, KEY_MESSAGE),
  },
  {
    name: 'two keys',
    request: handshake(ECHO, { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }),
    expect: REFUSE(400, KEY_MESSAGE),
  },
  {
    name: 'version 8',
    request: handshake(ECHO, { 'Sec-WebSocket-Version': '8' }),
    expect: REFUSE(426, 'Sec-WebSocket-Version must be 13, not "8"'),
  },
  {
    name: 'no version',
    request: handshake(ECHO, { 'Sec-WebSocket-Version': undefined }),
    expect: REFUSE(426, 'Sec-WebSocket-Version must be 13, not ""'),
  },
  {
    name: 'a body',
    request: handshake(ECHO, { 'Content-Length': '3' }),
    expect: REFUSE(400, 'a WebSocket handshake has no body'),
  },
  {
    name: 'a chunked body',
    request: handshake(ECHO, { 'Transfer-Encoding': 'chunked' }),
    expect: REFUSE(400, 'a WebSocket handshake has no body'),
  },
  {
    name: 'a subprotocol twice',
    request: handshake(ECHO, { 'Sec-WebSocket-Protocol': 'binary, binary' }),
    expect: REFUSE(400, 'Sec-WebSocket-Protocol has a name twice'),
  },
  {
    name: 'a subprotocol with a slash',
    request: handshake(ECHO, { 'Sec-WebSocket-Protocol': 'a/b' }),
    expect: REFUSE(400, 'Sec-WebSocket-Protocol has a name that is not a token'),
  },
  {
    name: 'no Host',
    request: handshake(ECHO, { Host: undefined }),
    expect: REFUSE(403, 'this Host is not one of this server; on the server, allow it: --host NAME'),
  },
  {
    name: 'a foreign Host on loopback',
    request: handshake(ECHO, { Host: 'rebound.example' }),
    expect: REFUSE(403, 'this Host is not one of this server; on the server, allow it: --host NAME'),
  },
  {
    name: 'Origin: null',
    request: handshake(ECHO, { Origin: 'null' }),
    expect: REFUSE(403, 'pages of this Origin may not connect; on the server, allow it: --origin ORIGIN'),
  },
  {
    name: 'a foreign Origin',
    request: handshake(ECHO, { Origin: 'https://evil.example' }),
    expect: REFUSE(403, 'pages of this Origin may not connect; on the server, allow it: --origin ORIGIN'),
  },
  {
    name: 'an Origin that ends like ours',
    request: handshake(ECHO, { Origin: 'http://x127.0.0.1' }),
    expect: REFUSE(403, 'pages of this Origin may not connect; on the server, allow it: --origin ORIGIN'),
  },
  {
    name: 'two Origins',
    request: handshake(ECHO, { Origin: 'http://127.0.0.1', origin: 'http://127.0.0.1' }),
    expect: REFUSE(403, 'pages of this Origin may not connect; on the server, allow it: --origin ORIGIN'),
  },
  {
    name: 'no token',
    request: handshake(ECHO, { Authorization: undefined }),
    expect: REFUSE(401, 'a valid token is needed'),
  },
  {
    name: 'a wrong token',
    request: handshake(ECHO, { Authorization: 'Bearer wrong-wrong-wrong-wrong-w' }),
    expect: REFUSE(401, 'a valid token is needed'),
  },
  {
    name: 'an empty token',
    request: handshake(ECHO, { Authorization: 'Bearer ' }),
    expect: REFUSE(401, 'a valid token is needed'),
  },
  {
    name: 'the token as Basic',
    request: handshake(ECHO, { Authorization: `Basic ${TOKEN}` }),
    expect: REFUSE(401, 'a valid token is needed'),
  },
  {
    name: 'two Authorizations',
    request: handshake(ECHO, { authorization: `Bearer ${TOKEN}` }),
    expect: REFUSE(401, 'a valid token is needed'),
  },
  {
    name: 'a wrong token by subprotocol',
    request: handshake(ECHO, {
      Authorization: undefined,
      'Sec-WebSocket-Protocol': 'binary, authorization.bearer.wrong',
    }),
    expect: REFUSE(401, 'a valid token is needed'),
  },
  {
    name: 'garbage instead of HTTP',
    request: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
    expect: REFUSE(400, ''),
  },
  { name: 'a header of 20 KiB', request: handshake(ECHO, { 'X-Long': 'x'.repeat(20_000) }), expect: REFUSE(431, '') },
  {
    name: 'a header line without a colon',
    request: handshake(ECHO).replace('Upgrade: websocket', 'Upgrade websocket'),
    expect: REFUSE(400, ''),
  },
  { name: 'a bare line feed smuggled in', request: handshake(ECHO, { 'X-A': 'b\nX-C: d' }), expect: REFUSE(400, '') },
  { name: 'an upgrade of the health page', request: handshake('/healthz'), expect: REFUSE(200, 'ok') },
  // Paths and addresses.
  { name: 'an unknown path', request: handshake('/nothing'), expect: REFUSE(404, 'there is nothing here') },
  { name: 'no port', request: handshake('/tcp/127.0.0.1'), expect: REFUSE(404, 'there is nothing here') },
  { name: 'too many parts', request: handshake('/tcp/127.0.0.1/80/x'), expect: REFUSE(404, 'there is nothing here') },
  {
    name: 'port 0',
    request: handshake('/tcp/127.0.0.1/0'),
    expect: REFUSE(400, 'port: port "0" is not a number from 1 to 65535'),
  },
  {
    name: 'port 65536',
    request: handshake('/tcp/127.0.0.1/65536'),
    expect: REFUSE(400, 'port: port "65536" is not a number from 1 to 65535'),
  },
  {
    name: 'port +80',
    request: handshake('/tcp/127.0.0.1/+80'),
    expect: REFUSE(400, 'port: port "+80" is not a number from 1 to 65535'),
  },
  {
    name: 'port 0x50',
    request: handshake('/tcp/127.0.0.1/0x50'),
    expect: REFUSE(400, 'port: port "0x50" is not a number from 1 to 65535'),
  },
  {
    name: 'an empty host',
    request: handshake('/tcp//80'),
    expect: REFUSE(400, 'host: "" is neither a host name nor an address'),
  },
  {
    name: 'a host with a space',
    request: handshake('/tcp/a%20b/80'),
    expect: REFUSE(400, 'host: "a b" is neither a host name nor an address'),
  },
  {
    name: 'a host with a NUL',
    request: handshake('/tcp/a%00b/80'),
    expect: REFUSE(400, 'host: "a\\u0000b" is neither a host name nor an address'),
  },
  {
    name: 'a host with a slash inside',
    request: handshake('/tcp/a%2Fb/80'),
    expect: REFUSE(400, 'host: "a/b" is neither a host name nor an address'),
  },
  {
    name: 'bad percent-encoding',
    request: handshake('/tcp/%zz/80'),
    expect: REFUSE(400, 'a percent-encoding in the path is malformed'),
  },
  {
    name: 'percent-encoded bad UTF-8',
    request: handshake('/tcp/%ff/80'),
    expect: REFUSE(400, 'a percent-encoding in the path is malformed'),
  },
  {
    name: 'a bad IPv6 address',
    request: handshake('/tcp/[::1::]/80'),
    expect: REFUSE(400, 'host: "[::1::]" is not an IPv6 address'),
  },
  {
    name: 'a host of 300 letters',
    request: handshake(`/tcp/${'a'.repeat(300)}/80`),
    expect: REFUSE(400, `host: "${'a'.repeat(300)}" is neither a host name nor an address`),
  },
  {
    name: 'no address in the query',
    request: handshake('/tcp?host=a'),
    expect: REFUSE(400, 'the query must have one address=HOST:PORT'),
  },
  {
    name: 'two addresses in the query',
    request: handshake('/v1?address=a:1&address=b:2'),
    expect: REFUSE(400, 'the query must have one address=HOST:PORT'),
  },
  {
    name: 'an address without a port',
    request: handshake('/v1?address=db'),
    expect: REFUSE(400, 'address: "db" is not HOST:PORT'),
  },
  {
    name: 'an IPv6 address without brackets',
    request: handshake('/v1?address=::1:80'),
    expect: REFUSE(400, 'address: "::1:80" has more than one colon'),
  },
  {
    name: 'an unknown named target',
    request: handshake('/tcp/@nothing'),
    expect: REFUSE(404, 'there is no target named @nothing'),
  },
  {
    name: 'a bad name of a target',
    request: handshake('/tcp/@a%20b'),
    expect: REFUSE(400, 'the name of the target has a character that is not allowed'),
  },
  // Policy that needs no DNS.
  {
    name: 'a forbidden port',
    request: handshake('/tcp/127.0.0.1/1'),
    expect: REFUSE(403, '127.0.0.1:1 is not allowed'),
  },
  {
    name: 'a forbidden name',
    request: handshake('/tcp/example.org/9'),
    expect: REFUSE(403, 'example.org:9 is not allowed'),
  },
  {
    name: 'the mapped form of a forbidden address',
    request: handshake('/tcp/[::ffff:10.0.0.1]/80'),
    expect: REFUSE(403, '[::ffff:10.0.0.1]:80 is not allowed'),
  },
  {
    name: 'cloud metadata',
    request: handshake('/tcp/169.254.169.254/80'),
    expect: REFUSE(403, '169.254.169.254:80 is not allowed'),
  },
  // Targets.
  {
    name: 'a refusing target',
    request: handshake('/tcp/127.0.0.1/{closed}'),
    expect: '101 1011 ECONNREFUSED 127.0.0.1:{closed}',
  },
  {
    name: 'a name that does not exist',
    request: handshake('/tcp/no-such-name.invalid/7777'),
    expect: '101 1011 ENOTFOUND no-such-name.invalid:7777',
  },
  { name: 'a name that leads to loopback', request: handshake('/tcp/localhost/7778'), expect: '101 1008 POLICY' },
  { name: 'loopback in a number', request: handshake('/tcp/2130706433/7778'), expect: '101 1008 POLICY' },
  { name: 'loopback in hexadecimal', request: handshake('/tcp/0x7f.1/7778'), expect: '101 1008 POLICY' },
  { name: 'loopback in octal', request: handshake('/tcp/0177.0.0.1/7778'), expect: '101 1008 POLICY' },
  {
    name: 'a resetting target',
    request: handshake('/tcp/127.0.0.1/{reset}'),
    after: clientFrame('x'),
    expect: '101 1011 ECONNRESET 127.0.0.1:{reset}',
  },
  { name: 'a target that ends', request: handshake('/tcp/127.0.0.1/{ends}'), expect: '101 1000' },
  // Frames.
  {
    name: 'an unmasked frame',
    request: handshake(ECHO),
    after: frame('8201aa'),
    expect: "101 1002 a client's frame is not masked",
  },
  {
    name: 'RSV1, a compressed frame',
    request: handshake(ECHO),
    after: frame('c28000000000'),
    expect: '101 1002 reserved bits 4 are set, but no extension was negotiated',
  },
  {
    name: 'an unknown opcode',
    request: handshake(ECHO),
    after: frame('8380 00000000'),
    expect: '101 1002 opcode 3 is not defined',
  },
  {
    name: 'an unknown control opcode',
    request: handshake(ECHO),
    after: frame('8b80 00000000'),
    expect: '101 1002 opcode 11 is not defined',
  },
  {
    name: 'a text message',
    request: handshake(ECHO),
    after: clientFrame('hello', 1),
    expect: '101 1003 text message: plain mode carries bytes in binary messages',
  },
  {
    name: 'a ping of 126 bytes',
    request: handshake(ECHO),
    after: frame('89fe007e00000000'),
    expect: '101 1002 a control frame declares more than 125 bytes of payload',
  },
  {
    name: 'a fragmented ping',
    request: handshake(ECHO),
    after: frame('0980 00000000'),
    expect: '101 1002 a control frame is fragmented',
  },
  {
    name: 'a continuation of nothing',
    request: handshake(ECHO),
    after: frame('8080 00000000'),
    expect: '101 1002 a continuation frame without a message to continue',
  },
  {
    name: 'a message inside a message',
    request: handshake(ECHO),
    after: frame('0280 00000000 8280 00000000'),
    expect: '101 1002 a new message before the fragmented one has ended',
  },
  {
    name: 'a length in the wrong form',
    request: handshake(ECHO),
    after: frame('82fe 0001 00000000 aa'),
    expect: '101 1002 payload length 1 is not in its shortest form',
  },
  {
    name: 'a length with the top bit set',
    request: handshake(ECHO),
    after: frame('82ff ffffffffffffffff 00000000'),
    expect: '101 1002 the most significant bit of a 64-bit length is set',
  },
  {
    name: 'a length above 2^53',
    request: handshake(ECHO),
    after: frame('82ff 0020000000000000 00000000'),
    expect: '101 1009 a message declares 9007199254740992 bytes (allowed: 9007199254740991)',
  },
  {
    name: 'a close of one byte',
    request: handshake(ECHO),
    after: frame('8881 00000000 03'),
    expect: '101 1002 a Close frame has 1 byte of payload (allowed: 0, or a code of 2 bytes)',
  },
  {
    name: 'a close with code 1005',
    request: handshake(ECHO),
    after: frame('8882 00000000 03ed'),
    expect: '101 1002 a Close frame carries code 1005, which must not be sent',
  },
  {
    name: 'a close reason that is not UTF-8',
    request: handshake(ECHO),
    after: frame('8883 00000000 03e8 ff'),
    expect: '101 1007 the reason of a Close frame is not UTF-8',
  },
  { name: 'an empty close', request: handshake(ECHO), after: frame('8880 00000000'), expect: '101 1000' },
]
