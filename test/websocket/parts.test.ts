import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { SluiceError } from '#src/errors/index.js'
import {
  applyMask,
  Connection,
  decodeClose,
  encodeClose,
  isSendableCloseCode,
  MessageAssembler,
  Utf8Validator,
  writeHeaderBefore,
} from '#src/websocket/index.js'
import { byteByByte, Random, randomCuts } from '../helpers/random.js'

describe('applyMask', () => {
  it('agrees with the definition at every alignment, length and phase, in any cuts', () => {
    const random = new Random(7)
    for (let run = 0; run < 2000; run++) {
      const memory = random.bytes(random.below(400) + 40)
      const start = random.below(17)
      const bytes = memory.subarray(start, start + random.below(memory.length - start))
      const key = run % 50 === 0 ? Buffer.alloc(4) : random.bytes(4)
      const phase = random.below(4)
      const expected = bytes.map((byte, i) => byte ^ key[(phase + i) & 3]!)
      const around = [memory.subarray(0, start).toString('hex'), memory.subarray(start + bytes.length).toString('hex')]
      const cut = random.below(bytes.length + 1)
      const middle = applyMask(bytes.subarray(0, cut), key, phase)
      const end = applyMask(bytes.subarray(cut), key, middle)
      assert.deepEqual(Buffer.from(bytes), Buffer.from(expected))
      assert.equal(end, (phase + bytes.length) & 3)
      assert.deepEqual(
        [memory.subarray(0, start).toString('hex'), memory.subarray(start + bytes.length).toString('hex')],
        around,
      )
    }
  })
})

describe('writeHeaderBefore', () => {
  for (const [length, hex] of [
    [0, '8200'],
    [125, '827d'],
    [126, '827e007e'],
    [65535, '827effff'],
    [65536, '827f0000000000010000'],
    [2 ** 32 + 5, '827f0000000100000005'],
    [Number.MAX_SAFE_INTEGER, '827f001fffffffffffff'],
  ] as const) {
    it(`a payload of ${length} bytes`, () => {
      const memory = new Uint8Array(20)
      const start = writeHeaderBefore(memory, 20, 2, true, length, undefined)
      assert.equal(Buffer.from(memory.subarray(start)).toString('hex'), hex)
      const masked = writeHeaderBefore(memory, 20, 2, true, length, Uint8Array.of(1, 2, 3, 4))
      const expected = Buffer.from(`${hex}01020304`, 'hex')
      expected[1]! |= 0x80
      assert.equal(Buffer.from(memory.subarray(masked)).toString('hex'), expected.toString('hex'))
    })
  }
})

describe('close payloads', () => {
  it('knows which codes may be sent (RFC 6455 §7.4, IANA)', () => {
    const allowed = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
    const refused = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
    assert.deepEqual(
      allowed.filter((code) => !isSendableCloseCode(code)),
      [],
    )
    assert.deepEqual(refused.filter(isSendableCloseCode), [])
  })

  it('goes there and back, and cuts a long reason between characters', () => {
    assert.deepEqual(decodeClose(encodeClose(1011, 'ECONNREFUSED db:5432')), {
      code: 1011,
      reason: 'ECONNREFUSED db:5432',
    })
    assert.deepEqual(decodeClose(new Uint8Array(0)), { code: 1005, reason: '' })
    const long = encodeClose(1000, 'é'.repeat(100))
    assert.equal(long.length, 2 + 122)
    assert.equal(decodeClose(long).reason, 'é'.repeat(61))
  })

  it('refuses one byte, bad codes and bad UTF-8', () => {
    const closeCode = (hex: string) => {
      try {
        decodeClose(Buffer.from(hex, 'hex'))
        return 'accepted'
      } catch (error) {
        return (error as SluiceError).closeCode
      }
    }
    assert.deepEqual(
      ['03', '03ed', '03ee', '0000', '1388', '03e8ff'].map(closeCode),
      [1002, 1002, 1002, 1002, 1002, 1007],
    )
    assert.throws(() => encodeClose(1006), { code: 'ERR_SLUICE_MISUSE' })
  })
})

describe('Utf8Validator', () => {
  const strict = new TextDecoder('utf-8', { fatal: true })
  const judge = (pieces: readonly Uint8Array[]) => {
    const validator = new Utf8Validator()
    return pieces.every((piece) => validator.push(piece)) && validator.complete
  }

  it('agrees with the platform on 20,000 random texts, byte by byte too', () => {
    const random = new Random(99)
    const leads = [
      0x41, 0x7f, 0x80, 0xbf, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
      0x8f, 0x90, 0x9f, 0xa0,
    ]
    let valid = 0
    for (let run = 0; run < 20_000; run++) {
      const bytes = Uint8Array.from({ length: random.below(5) + 1 }, () => leads[random.below(leads.length)]!)
      let expected = true
      try {
        strict.decode(bytes)
      } catch {
        expected = false
      }
      assert.equal(judge([bytes]), expected, Buffer.from(bytes).toString('hex'))
      assert.equal(judge(byteByByte(bytes)), expected)
      if (expected) valid++
    }
    assert.ok(valid > 100)
  })

  for (const hex of ['f490', 'ed a0', 'e09f', 'f08f', 'c0', 'c1', 'f5', '80', 'e28041', 'fe']) {
    it(`fails at the last byte of ${hex}, without waiting for more`, () => {
      const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
      const validator = new Utf8Validator()
      assert.equal(validator.push(bytes.subarray(0, -1)), true)
      assert.equal(validator.push(bytes.subarray(-1)), false)
    })
  }
})

describe('MessageAssembler', () => {
  it('puts pieces together and refuses text that cannot be UTF-8 any more', () => {
    const got: string[] = []
    const assembler = new MessageAssembler((opcode, message) =>
      got.push(`${opcode} ${Buffer.from(message).toString()}`),
    )
    for (const text of ['hello', '', 'κόσμε'.repeat(500)]) {
      assembler.messageStart(1)
      for (const piece of randomCuts(Buffer.from(text), new Random(3))) assembler.payload(piece)
      assembler.messageEnd()
    }
    assert.deepEqual(got, ['1 hello', '1 ', `1 ${'κόσμε'.repeat(500)}`])
    assembler.messageStart(1)
    assert.throws(() => assembler.payload(Uint8Array.of(0x61, 0xff)), {
      code: 'ERR_SLUICE_INVALID_TEXT',
      closeCode: 1007,
    })
    assembler.messageStart(1)
    assembler.payload(Uint8Array.of(0xc3))
    assert.throws(() => assembler.messageEnd(), { code: 'ERR_SLUICE_INVALID_TEXT' })
  })
})

describe('Connection', () => {
  const nothing = {
    messageStart: () => {},
    payload: () => {},
    messageEnd: () => {},
    ping: () => {},
    pong: () => {},
    closeReceived: () => {},
    failed: () => {},
  }

  it('carries bytes between two ends, in place and copied', () => {
    const got: Buffer[] = []
    const server = new Connection(
      { ...nothing, payload: (bytes) => void got.push(Buffer.from(bytes)) },
      { role: 'server' },
    )
    const random = new Random(5)
    const client = new Connection(nothing, { role: 'client', maskKey: (into) => into.set(random.bytes(4)) })
    const sent: Buffer[] = []
    for (const length of [1, 125, 126, 200, 65535, 65536, 100_000]) {
      const memory = Buffer.concat([Buffer.alloc(32), random.bytes(length)])
      sent.push(Buffer.from(memory.subarray(32)))
      const start = client.frameInPlace(memory, 32, memory.length)
      for (const piece of randomCuts(memory.subarray(start), random)) server.receive(piece)
      sent.push(Buffer.from(sent.at(-1)!))
      server.receive(client.frame(sent.at(-1)!))
    }
    assert.ok(Buffer.concat(got).equals(Buffer.concat(sent)))
  })

  it('masks what a client sends with the key it is given, never twice the same', () => {
    let count = 0
    const client = new Connection(nothing, { role: 'client', maskKey: (into) => into.fill(++count) })
    assert.equal(Buffer.from(client.frame(Uint8Array.of(0xff))).toString('hex'), '828101010101fe')
    assert.equal(Buffer.from(client.frame(Uint8Array.of(0xff))).toString('hex'), '828102020202fd')
    assert.throws(() => new Connection(nothing, { role: 'client' }), { code: 'ERR_SLUICE_MISUSE' })
  })

  it('refuses to send a body as it is where it must be masked, and leaves it', () => {
    const client = new Connection(nothing, { role: 'client', maskKey: (into) => into.fill(7) })
    const body = Buffer.alloc(5_000, 1)
    const front = Buffer.alloc(32)
    const head = Uint8Array.of(5)
    assert.throws(() => client.frameParts(front, 32, head, 1, body, undefined), { code: 'ERR_SLUICE_MISUSE' })
    assert.ok(body.every((byte) => byte === 1))
    const key = new Uint8Array(4)
    client.frameParts(front, 32, head, 1, body, key)
    assert.deepEqual([...key], [7, 7, 7, 7])
    assert.ok(body.every((byte) => byte === (1 ^ 7)))
  })

  it('ignores what follows a Close frame, and sends nothing after its own', () => {
    const log: string[] = []
    const end = new Connection(
      {
        ...nothing,
        payload: () => log.push('payload'),
        closeReceived: ({ code, reason }) => log.push(`close ${code} ${reason}`),
        failed: () => log.push('failed'),
      },
      { role: 'client', maskKey: () => {} },
    )
    end.receive(Buffer.from('880703e8646f6e65 21 8201ff ff'.replaceAll(' ', ''), 'hex'))
    end.receive(Buffer.from('ffffff', 'hex'))
    assert.deepEqual(log, ['close 1000 done!'])
    assert.deepEqual(end.receiveEnd(), { code: 1000, reason: 'done!' })
    assert.ok(end.close(1000))
    assert.equal(end.close(1000), undefined)
    assert.throws(() => end.frame(new Uint8Array(1)), { code: 'ERR_SLUICE_MISUSE' })
  })

  it('reports a violation once and takes nothing more; without a Close frame the end is 1006', () => {
    const log: string[] = []
    const end = new Connection(
      { ...nothing, payload: () => log.push('payload'), failed: (error) => log.push(error.code) },
      { role: 'server' },
    )
    end.receive(Buffer.from('8201aa', 'hex'))
    end.receive(Buffer.from('828100000000aa', 'hex'))
    assert.deepEqual(log, ['ERR_SLUICE_PROTOCOL'])
    assert.deepEqual(end.receiveEnd(), { code: 1006, reason: '' })
  })
})
