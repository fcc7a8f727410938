// The PROXY protocol without I/O: what haproxy's proxy-protocol.txt has, whole, byte by byte, and broken.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { formatProxyHeader, type ProxyHeader, ProxyHeaderParser } from '#src/proxy/index.js'

const SIGNATURE = '0d0a0d0a000d0a515549540a'
const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const four = {
  source: { address: Uint8Array.of(192, 0, 2, 1), port: 56_324 },
  destination: { address: Uint8Array.of(198, 51, 100, 7), port: 443 },
}

function byteByByte(bytes: Uint8Array): ProxyHeader | undefined {
  const parser = new ProxyHeaderParser()
  for (const [index, byte] of bytes.entries()) {
    const header = parser.push(Uint8Array.of(byte))
    if (header !== undefined) return { ...header, rest: bytes.subarray(index + 1) }
  }
  return undefined
}

describe('PROXY protocol', () => {
  for (const [what, bytes, host] of [
    ['version 1, IPv4', Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n'), '192.0.2.1'],
    ['version 1, IPv6', Buffer.from('PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n'), '2001:db8::1'],
    ['version 1, unknown', Buffer.from('PROXY UNKNOWN\r\n'), undefined],
    ['version 1, unknown, with more', Buffer.from('PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n'), undefined],
    ['version 2, IPv4', hex(`${SIGNATURE} 21 11 000c c0000201 c6336407 dc04 01bb`), '192.0.2.1'],
    ['version 2, IPv4, with a TLV', hex(`${SIGNATURE} 21 11 0010 c0000201 c6336407 dc04 01bb 04 0001 00`), '192.0.2.1'],
    [
      'version 2, IPv6',
      hex(`${SIGNATURE} 21 21 0024 20010db8${'00'.repeat(11)}01 20010db8${'00'.repeat(11)}02 dc04 01bb`),
      '2001:db8:0:0:0:0:0:1',
    ],
    ['version 2, LOCAL', hex(`${SIGNATURE} 20 00 0000`), undefined],
    ['version 2, a unix socket', hex(`${SIGNATURE} 21 31 0002 0000`), undefined],
  ] as const) {
    it(`reads ${what}, and keeps what follows`, () => {
      const expected = host === undefined ? undefined : { host, port: 56_324 }
      const whole = new ProxyHeaderParser().push(Buffer.concat([bytes, Buffer.from('GET /')]))
      assert.deepEqual(whole?.source, expected)
      assert.equal(Buffer.from(whole!.rest).toString(), 'GET /')
      assert.deepEqual(byteByByte(bytes)?.source, expected)
    })
  }

  for (const [what, bytes] of [
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['TLS', hex('160301020001000')],
    ['a line without end', Buffer.from(`PROXY TCP4 ${'1'.repeat(100)}`)],
    ['too few words', Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n')],
    ['a port out of range', Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n')],
    ['a name for an address', Buffer.from('PROXY TCP4 localhost 198.51.100.7 1 443\r\n')],
    ['a signature that goes wrong', hex('0d0a0d0a000d0a515549540b 21 11')],
    ['version 3', hex(`${SIGNATURE} 31 11 000c`)],
    ['a command that is none', hex(`${SIGNATURE} 22 11 000c`)],
    ['a body too short for its family', hex(`${SIGNATURE} 21 11 0004 c0000201`)],
    ['a body too long', hex(`${SIGNATURE} 21 11 ffff`)],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => new ProxyHeaderParser().push(bytes), { code: 'ERR_SLUICE_PROXY' })
      assert.throws(() => byteByByte(bytes), { code: 'ERR_SLUICE_PROXY' })
    })
  }

  it('writes what it reads', () => {
    assert.equal(Buffer.from(formatProxyHeader(1, four)).toString(), 'PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n')
    assert.equal(
      Buffer.from(formatProxyHeader(2, four)).toString('hex'),
      `${SIGNATURE}2111000cc0000201c6336407dc0401bb`,
    )
    const mixed = { ...four, destination: { address: new Uint8Array(16).fill(1, 15), port: 1 } }
    const [first, second] = [1, 2].map((version) =>
      new ProxyHeaderParser().push(formatProxyHeader(version as 1 | 2, mixed)),
    )
    assert.equal(first!.source!.host, '0:0:0:0:0:ffff:c000:201')
    assert.deepEqual(first!.source, second!.source)
  })
})
