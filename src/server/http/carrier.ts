import type { IncomingMessage, ServerResponse } from 'node:http'
import { messageOf } from '../../errors/index.ts'
import { type Carrier, type CarrierEvents, OWNED } from '../../link/index.ts'
import { PartWriter } from '../../node/index.ts'
import type { Memory } from '../../session/index.ts'
import { ANSWER_MARK, PART_END, PartReader, partHead } from '../../wire/index.ts'
import type { Down } from './request.ts'

/** Requests that wait for their turn, in each direction. */
const MOST_WAITING = 8
/** A part up has no more bytes, a part down that is not streamed is closed at so many. */
const MOST_UP = 4 * 1024 * 1024
const PART_DOWN = 1024 * 1024
/** Without a request for so long, in milliseconds, a carrier is over. */
const SILENCE = 30_000
/** How long a carrier that is closed waits for a request by which to say the last of it. */
const FAREWELL = 2_000

/** One HTTP request and its answer. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Begins the answer: fields that are the same in each. `length` is unknown where it is streamed. */
  begin(length: number | undefined): void
  /** Answers with a status other than 200, and ends the exchange. */
  refuse(status: number, message: string): void
}

/** A part up that waits for its turn, and what its answer is to carry. */
interface Up {
  readonly exchange: Exchange
  readonly down: Down | undefined
}

/** The server's end of a carrier over HTTP (spec/http-1.md): requests come and go, messages flow. */
export class HttpServerCarrier implements Carrier {
  readonly #maxMessage: number
  readonly #onOver: () => void
  #events: CarrierEvents | undefined
  #up = 0
  #down = 0
  readonly #waitingUp = new Map<number, Up>()
  readonly #waitingDown = new Map<number, { readonly exchange: Exchange; readonly how: Down }>()
  /** The part up that is being read. */
  #taking: Exchange | undefined
  /** What is to go down and has no answer to go in. */
  #pending: Uint8Array[] = []
  #held: { readonly exchange: Exchange; readonly timer: NodeJS.Timeout } | undefined
  #stream: { readonly exchange: Exchange; readonly writer: PartWriter } | undefined
  #corked = false
  #open = 0
  #silence: NodeJS.Timeout | undefined
  #closing = false
  #over = false

  /** @param onOver it is gone from the server's list */
  constructor(maxMessage: number, onOver: () => void) {
    this.#maxMessage = maxMessage
    this.#onOver = onOver
    this.#watchSilence()
  }

  start(events: CarrierEvents): void {
    this.#events = events
    this.#takeNext()
  }

  // --- requests ---

  /** Answers the request that begins the carrier: its id, and what is to be said first. */
  begin(exchange: Exchange, id: Uint8Array): void {
    const pieces = [Uint8Array.of(ANSWER_MARK), id, ...this.#pending, Uint8Array.of(PART_END)]
    this.#pending = []
    const body = Buffer.concat(pieces)
    exchange.begin(body.length)
    exchange.response.end(body)
  }

  /** Takes a request for the carrier; it is answered in its turn. */
  exchange(exchange: Exchange, up: number | undefined, down: Down | undefined): void {
    this.#enter(exchange)
    if (up === undefined) return this.#askedDown(exchange, down!)
    if (up < this.#up || (up === this.#up && this.#taking !== undefined)) return this.#seen(exchange, up)
    if (up >= this.#up + MOST_WAITING || this.#waitingUp.has(up))
      return this.#refuse(exchange, `part ${up} up is not due`)
    this.#waitingUp.set(up, { exchange, down })
    this.#takeNext()
  }

  /** A part that was taken, sent again by something on the way. */
  #seen(exchange: Exchange, up: number): void {
    if (up === this.#up) return this.#refuse(exchange, `part ${up} up comes twice at once`)
    exchange.request.resume()
    exchange.begin(0)
    exchange.response.end()
  }

  /** A carrier whose parts are the bodies of this one exchange. */
  duplex(exchange: Exchange): void {
    this.#enter(exchange)
    this.#askedDown(exchange, { part: 0, stream: true, hold: 0 })
    this.#waitingUp.set(0, { exchange, down: undefined })
    this.#takeNext()
  }

  /** Until its answer has left, an exchange that breaks is the end of the carrier. */
  #enter({ response }: Exchange): void {
    this.#open++
    clearTimeout(this.#silence)
    response.once('close', () => {
      this.#open--
      if (!response.writableFinished) this.#finish('a request was cut')
      if (this.#open === 0) this.#watchSilence()
    })
  }

  #watchSilence(): void {
    clearTimeout(this.#silence)
    if (this.#over) return
    this.#silence = setTimeout(() => this.#finish('no request came'), SILENCE)
    this.#silence.unref()
  }

  #refuse(exchange: Exchange, why: string): void {
    exchange.refuse(400, why)
    this.#finish(why)
  }

  // --- up ---

  #takeNext(): void {
    const next = this.#waitingUp.get(this.#up)
    if (next === undefined || this.#taking !== undefined || this.#events === undefined || this.#over) return
    const { exchange, down } = next
    this.#waitingUp.delete(this.#up)
    this.#taking = exchange
    const events = this.#events
    const sink = {
      begin: (length: number) => events.begin(length),
      part: (bytes: Uint8Array) => events.part(bytes, OWNED),
      end: () => events.end(),
    }
    const reader = new PartReader(sink, this.#maxMessage)
    const duplex = this.#stream?.exchange === exchange
    let length = 0
    exchange.request.on('data', (bytes: Buffer) => {
      if (this.#over) return
      length += bytes.length
      try {
        if (length > MOST_UP && !duplex) throw new Error(`a part up of more than ${MOST_UP} bytes`)
        reader.push(bytes)
      } catch (error) {
        this.#refuse(exchange, messageOf(error))
      }
    })
    exchange.request.once('end', () => {
      if (this.#over) return
      if (duplex) return this.#finish(reader.ended ? 'the client ended it' : 'a part was cut')
      if (!reader.ended) return this.#refuse(exchange, 'a part was cut')
      this.#taken(exchange, down)
    })
  }

  #taken(exchange: Exchange, down: Down | undefined): void {
    this.#taking = undefined
    this.#up++
    if (down !== undefined) this.#askedDown(exchange, down)
    else {
      exchange.begin(0)
      exchange.response.end()
    }
    this.#takeNext()
  }

  // --- down ---

  #askedDown(exchange: Exchange, how: Down): void {
    const { part } = how
    if (this.#waitingDown.has(part) || part < this.#down || part >= this.#down + MOST_WAITING) {
      return this.#refuse(exchange, `part ${part} down cannot be had`)
    }
    this.#waitingDown.set(part, { exchange, how })
    this.#answerNext()
  }

  #answerNext(): void {
    if (this.#held !== undefined || this.#stream !== undefined || this.#over) return
    const next = this.#waitingDown.get(this.#down)
    if (next === undefined) return
    this.#waitingDown.delete(this.#down++)
    const { exchange, how } = next
    if (how.stream) this.#beginStream(exchange)
    else {
      const timer = setTimeout(() => this.#answerHeld(), this.#closing ? 0 : how.hold)
      this.#held = { exchange, timer }
      if (this.#pending.length > 0) this.#answerHeld()
    }
    this.#endIfSaid()
  }

  #beginStream(exchange: Exchange): void {
    const { response } = exchange
    exchange.begin(undefined)
    response.write(Uint8Array.of(ANSWER_MARK))
    for (const bytes of this.#pending) response.write(bytes)
    this.#pending = []
    this.#stream = { exchange, writer: new PartWriter(response) }
  }

  #answerHeld(): void {
    const { exchange, timer } = this.#held!
    this.#held = undefined
    clearTimeout(timer)
    const pieces: Uint8Array[] = [Uint8Array.of(ANSWER_MARK)]
    let length = 2
    for (const bytes of this.#pending) {
      if (length >= PART_DOWN) break
      pieces.push(bytes)
      length += bytes.length
    }
    this.#pending.splice(0, pieces.length - 1)
    pieces.push(Uint8Array.of(PART_END))
    exchange.begin(length)
    exchange.response.end(Buffer.concat(pieces, length))
    this.#answerNext()
  }

  send(head: Uint8Array, headLength: number, body?: Uint8Array, memory?: Memory): undefined {
    if (this.#over || this.#closing) return
    if (this.#stream !== undefined) return this.#stream.writer.send(head, headLength, body, memory)
    const first = partHead(head, headLength, body?.length ?? 0)
    this.#pending.push(body === undefined ? first : Buffer.concat([first, body]))
    if (!this.#corked && this.#held !== undefined) this.#answerHeld()
  }

  cork(): void {
    this.#corked = true
    this.#stream?.exchange.response.cork()
  }

  uncork(): void {
    this.#corked = false
    this.#stream?.exchange.response.uncork()
    if (this.#held !== undefined && this.#pending.length > 0) this.#answerHeld()
  }

  // --- the end ---

  close(): void {
    if (this.#over || this.#closing) return
    this.#closing = true
    this.#corked = false
    setTimeout(() => this.#finish('closed'), FAREWELL).unref()
    this.#endIfSaid()
  }

  /** Once all is said, those that wait are told that there is no more. */
  #endIfSaid(): void {
    if (!this.#closing || this.#pending.length > 0) return
    const stream = this.#stream
    if (stream !== undefined) {
      stream.exchange.response.end(Uint8Array.of(PART_END), () => this.#finish('closed'))
    } else if (this.#held !== undefined) {
      const { response } = this.#held.exchange
      response.once('close', () => this.#finish('closed'))
      this.#answerHeld()
    }
  }

  /** The client said that it is over. */
  end(): void {
    this.#finish('the client ended it')
  }

  destroy(): void {
    this.#finish('given up')
  }

  #finish(why: string): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#silence)
    clearTimeout(this.#held?.timer)
    this.#pending = []
    const waiting = [...this.#waitingUp.values(), ...this.#waitingDown.values()].map(({ exchange }) => exchange)
    for (const exchange of [this.#taking, this.#held?.exchange, ...waiting])
      exchange?.refuse(410, 'the carrier is over')
    if (this.#stream !== undefined && !this.#stream.exchange.response.writableEnded) {
      this.#stream.exchange.response.destroy()
    }
    this.#onOver()
    this.#events?.closed(why)
  }
}
