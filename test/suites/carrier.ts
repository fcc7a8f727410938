import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Carrier, type CarrierEvents, OWNED } from '#src/link/index.js'
import { until } from '../helpers/net.js'
import { Random } from '../helpers/random.js'

/** Two carriers that are joined: what one sends the other gets. */
export interface CarrierPair {
  readonly a: Carrier
  readonly b: Carrier
  /** Ends the transport between them without a word. */
  cut(): void
  done(): Promise<void>
}

/** What came of a carrier: whole messages, and its end. */
class Listener implements CarrierEvents {
  readonly messages: Buffer[] = []
  closes: string[] = []
  #parts: Buffer[] = []
  #declared: number | undefined

  begin(declared: number | undefined): void {
    this.#parts = []
    this.#declared = declared
  }

  part(bytes: Uint8Array): void {
    assert.equal(this.closes.length, 0, 'nothing comes after the end')
    this.#parts.push(Buffer.from(bytes))
  }

  end(): void {
    const message = Buffer.concat(this.#parts)
    if (this.#declared !== undefined) assert.equal(message.length, this.#declared)
    this.messages.push(message)
  }

  closed(why: string): void {
    this.closes.push(why)
  }
}

/** The contract of `link/carrier.ts`, for any implementation. */
export function carrierSuite(name: string, make: () => Promise<CarrierPair>): void {
  const started = async () => {
    const pair = await make()
    const [a, b] = [new Listener(), new Listener()]
    pair.a.start(a)
    pair.b.start(b)
    return { pair, a, b }
  }

  describe(`carrier: ${name}`, () => {
    it('moves messages of every size whole and in order, both ways, head and body apart', async () => {
      const { pair, a, b } = await started()
      const random = new Random(9)
      const sizes = [1, 2, 17, 125, 126, 127, 4_095, 4_096, 65_535, 65_536, 262_144, 500_000]
      const sent: Buffer[] = []
      for (const [from] of [[pair.a], [pair.b]] as const) {
        from.cork()
        for (const size of sizes) {
          const bytes = random.bytes(size)
          const head = Math.min(size, 1 + random.below(20))
          const scratch = new Uint8Array(64)
          scratch.set(bytes.subarray(0, head))
          from.send(scratch, head, size > head ? bytes.subarray(head) : undefined)
          scratch.fill(0xee)
          sent.push(bytes)
        }
        from.uncork()
      }
      await until(() => a.messages.length === sizes.length && b.messages.length === sizes.length, 'all messages')
      assert.ok([...b.messages, ...a.messages].every((message, index) => message.equals(sent[index]!)))
      await pair.done()
    })

    it('leaves a body as it is, unless told that it may write over it, or before it', async () => {
      const { pair, b } = await started()
      const slab = Buffer.alloc(100_032, 0x55)
      const body = slab.subarray(32)
      const expected = Buffer.from(body)
      assert.equal(pair.a.send(Uint8Array.of(6, 2), 2, body, OWNED), undefined)
      assert.ok(slab.subarray(0, 32).every((byte) => byte === 0x55))
      assert.ok(body.equals(expected), 'the body is unchanged')
      await until(() => b.messages.length === 1, 'the message')
      assert.ok(b.messages[0]!.subarray(2).equals(expected))
      await pair.done()
    })

    it('says what a body was masked with where it lies, if it was', async () => {
      const { pair, b } = await started()
      for (const [size, headLength, changes] of [
        [100_000, 2, 'before'],
        [99_999, 3, 'body'],
        [10, 1, 'before'],
      ] as const) {
        const slab = Buffer.alloc(size + 32)
        const body = slab.subarray(32)
        body.set(new Random(size).bytes(size))
        const expected = Buffer.from(body)
        if (changes === 'body') slab.fill(0x55, 0, 32)
        const key = pair.a.send(new Uint8Array(headLength), headLength, body, OWNED, changes)
        await until(() => b.messages.length === 1, 'the message')
        assert.ok(b.messages.shift()!.subarray(headLength).equals(expected))
        if (changes === 'body') assert.ok(slab.subarray(0, 32).every((byte) => byte === 0x55))
        for (let i = 0; i < size; i++) body[i]! ^= (key ?? 0) >>> ((i & 3) * 8)
        assert.ok(body.equals(expected), `${size} bytes, key ${key}`)
      }
      await pair.done()
    })

    it('keeps what comes before it is started', async () => {
      const pair = await make()
      pair.a.start(new Listener())
      for (let i = 0; i < 10; i++) pair.a.send(Uint8Array.of(i), 1)
      await new Promise((resolve) => setTimeout(resolve, 50))
      const late = new Listener()
      pair.b.start(late)
      await until(() => late.messages.length === 10, 'the early messages')
      assert.deepEqual(
        late.messages.map((message) => message[0]),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
      )
      await pair.done()
    })

    it('close ends it after what was sent, once for each side, and then it does nothing', async () => {
      const { pair, a, b } = await started()
      pair.a.send(new Uint8Array(1), 1, Buffer.alloc(300_000, 1))
      pair.a.close()
      await until(() => a.closes.length === 1 && b.closes.length === 1, 'both ends')
      assert.equal(b.messages.length, 1)
      pair.a.send(Uint8Array.of(1), 1)
      pair.b.send(Uint8Array.of(1), 1)
      await pair.done()
      assert.deepEqual([a.closes.length, b.closes.length], [1, 1])
    })

    it('a lost transport and destroy are told once, with a reason', async () => {
      const { pair, a, b } = await started()
      pair.cut()
      await until(() => a.closes.length === 1 && b.closes.length === 1, 'both ends')
      assert.ok(a.closes[0] !== '' && b.closes[0] !== '')
      await pair.done()
      const other = await started()
      other.pair.a.destroy()
      await until(() => other.a.closes.length === 1 && other.b.closes.length === 1, 'both ends')
      await other.pair.done()
    })
  })
}
