// The carrier contract with Chromium's own WebSocket: the carrier lives in a page, and calls and events go to and fro.
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { build } from 'esbuild'
import { type Browser, chromium, type Page } from 'playwright-core'
import type { Carrier, CarrierEvents } from '#src/link/index.js'
import { SESSION_PROTOCOL } from '#src/node/index.js'
import { pairWith } from '../helpers/carrier-pair.js'
import { need, ROOT, which } from '../helpers/need.js'
import { carrierSuite } from '../suites/carrier.js'

const FLAGS = ['--no-sandbox', '--disable-background-networking', '--disable-component-update']

/** Runs in the page. What a carrier must not do to a body or its surroundings is looked for here, where the body is. */
const GLUE = `
  const bytesOf = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
  const textOf = (bytes) => { let text = ''; for (const byte of bytes) text += String.fromCharCode(byte); return btoa(text) }
  window.open_ = async (url, protocol) => {
    const ws = new WebSocket(url, [protocol])
    await new Promise((resolve, reject) => { ws.onopen = resolve; ws.onerror = reject })
    window.carrier = new sluice.W3cWebSocketCarrier(ws)
  }
  window.call = (name, head, body, changes) => {
    if (name === 'start') return carrier.start({
      begin: (declared) => tell('begin', declared),
      part: (bytes) => tell('part', textOf(bytes)),
      end: () => tell('end'),
      closed: (why) => tell('closed', why),
    })
    if (name !== 'send') return carrier[name]()
    const bytes = bytesOf(head)
    const scratch = new Uint8Array(64)
    scratch.set(bytes)
    if (body === undefined) carrier.send(scratch, bytes.length)
    else {
      const given = bytesOf(body)
      const slab = new Uint8Array(32 + given.length).fill(0x55, 0, 32)
      slab.set(given, 32)
      carrier.send(scratch, bytes.length, slab.subarray(32), undefined, changes)
      if (given.some((byte, index) => byte !== slab[32 + index])) throw new Error('the body was changed')
      if (changes !== 'before' && slab.subarray(0, 32).some((byte) => byte !== 0x55)) throw new Error('written before the body')
    }
    scratch.fill(0xee)
  }
`

/** A carrier whose every call is made in the page, in order. */
class PageCarrier implements Carrier {
  readonly #page: Page
  #events: CarrierEvents | undefined
  #calls: Promise<unknown> = Promise.resolve()
  #destroyed = false

  constructor(page: Page) {
    this.#page = page
  }

  tell(name: keyof CarrierEvents, value: never): void {
    if (name === 'part') this.#events?.part(Buffer.from(value as string, 'base64'), undefined)
    else this.#events?.[name](value)
  }

  start(events: CarrierEvents): void {
    this.#events = events
    this.#call('start')
  }

  send(head: Uint8Array, headLength: number, body?: Uint8Array, _memory?: unknown, changes = 'nothing'): undefined {
    const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')
    this.#call('send', text(head.subarray(0, headLength)), body === undefined ? undefined : text(body), changes)
  }

  cork(): void {
    this.#call('cork')
  }

  uncork(): void {
    this.#call('uncork')
  }

  close(): void {
    this.#call('close')
  }

  destroy(): void {
    if (this.#destroyed) return
    this.#call('destroy')
    this.#destroyed = true
    void this.#calls.then(() => this.#page.close())
  }

  #call(...args: unknown[]): void {
    if (this.#destroyed) return
    const script = `window.call(${args.map((arg) => JSON.stringify(arg) ?? 'undefined').join(', ')})`
    this.#calls = this.#calls.then(() => this.#page.evaluate(script))
  }
}

if (which('chromium') === undefined) {
  describe("carrier: the W3C's, in Chromium", () => it('needs Chromium', (t) => void need(t, 'chromium')))
} else {
  let browser: Promise<Browser> | undefined
  let script: Promise<string> | undefined
  const bundle = async () => {
    const entryPoints = [join(ROOT, 'dist', 'carriers', 'index.js')]
    const options = { bundle: true, format: 'iife', globalName: 'sluice', platform: 'browser', write: false } as const
    return (await build({ entryPoints, ...options })).outputFiles[0]!.text
  }
  carrierSuite("the W3C's, in Chromium", () =>
    pairWith(async (port) => {
      browser ??= chromium.launch({ executablePath: which('chromium')!, args: FLAGS })
      script ??= bundle()
      const page = await (await browser).newPage()
      const carrier = new PageCarrier(page)
      await page.exposeFunction('tell', (name: keyof CarrierEvents, value: never) => carrier.tell(name, value))
      await page.evaluate(`${await script}\nwindow.sluice = sluice\n${GLUE}`)
      await page.evaluate(`window.open_('ws://127.0.0.1:${port}/', '${SESSION_PROTOCOL}')`)
      return carrier
    }),
  )
  after(async () => (await browser)?.close())
}
