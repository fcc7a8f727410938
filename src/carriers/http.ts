import { CREDENTIALS_REMEDY, messageOf, SluiceError } from '../errors/index.ts'
import { type Carrier, type CarrierEvents, OWNED } from '../link/index.ts'
import type { Memory } from '../session/index.ts'
import { ANSWER_MARK, ID_LENGTH, PART_END, PartReader, partHead } from '../wire/index.ts'

/** What a carrier needs of HTTP: `fetch`, or node:http. */
export interface HttpClient {
  /** How many parts up may be under way at once: on a long line, one after another would be slow. At most 8. */
  readonly posts: number
  /**
   * Sends one `POST`, and resolves once the head of the answer has come.
   *
   * @param path below `[prefix]/http`, with the query
   */
  post(path: string, body: Uint8Array | undefined, signal: AbortSignal): Promise<HttpAnswer>
  /** Lets go of connections: there will be no more requests. */
  close(): void
}

export interface HttpAnswer {
  readonly status: number
  /** The next bytes of the body, which nobody writes into again; undefined at its end. Rejects if it is cut. */
  read(): Promise<Uint8Array | undefined>
}

/** How requests are used (spec/http-1.md §5). */
export type HttpWay = 'stream' | 'poll' | 'turns'

/** Requests that wait for something to come down: while one answers, another is there. */
const POLLS = 2
/** A part up has no more bytes than this, unless one message has: nginx takes bodies of 1 MiB by default. */
const PART_SIZE = 1_000_000
/** `hold` of a turn in milliseconds: while things move, and at most, when all is quiet. */
const SHORT_HOLD = 50
const LONG_HOLD = 1_000
/** How long it may take, in milliseconds, until two requests at once are answered; a slow line has four round trips more. */
const PATIENCE = 750
/** How long the server may take to be told of the end, in milliseconds. */
const FAREWELL = 5_000
/** An answer that begins a carrier, and one that only says why not, are no longer than this. */
const SMALL = 64 * 1024

interface Queued {
  readonly head: Uint8Array
  readonly body: Uint8Array | undefined
  readonly memory: Memory | undefined
}

export interface OpenHttpOptions {
  readonly way: HttpWay
  /** Where the session of a join is. */
  readonly route: string | undefined
  readonly signal: AbortSignal
  /** The longest message that is taken, in bytes. */
  readonly maxMessage: number
}

/**
 * Begins a carrier over HTTP. Resolves once something has been seen to go up while a request waits for what comes down, and for
 * `stream` an answer to come as it is sent.
 *
 * @throws SluiceError `ERR_SLUICE_AUTH`, `ERR_SLUICE_POLICY`, `ERR_SLUICE_REFUSED`, `ERR_SLUICE_UNREACHABLE`, and what the client throws
 */
export async function openHttp(client: HttpClient, options: OpenHttpOptions): Promise<HttpCarrier> {
  const asked = performance.now()
  const carrier = await begin(client, options)
  try {
    const patience = PATIENCE + 4 * Math.min(PATIENCE, performance.now() - asked)
    if (options.way !== 'turns') await carrier.prove(patience, options.signal)
  } catch (error) {
    carrier.destroy()
    throw error
  }
  return carrier
}

async function begin(client: HttpClient, options: OpenHttpOptions): Promise<HttpCarrier> {
  const { route, signal, maxMessage } = options
  try {
    const answer = await client.post(route ? `?route=${encodeURIComponent(route)}` : '', undefined, signal)
    const body = await readWhole(answer)
    if (answer.status !== 200) throw refusedBy(answer.status, body)
    const [id, messages] = readBegin(body, maxMessage)
    return new HttpCarrier(client, id, messages, options)
  } catch (error) {
    client.close()
    throw error
  }
}

/** A carrier made of HTTP requests, each of which has one body up and one down (spec/http-1.md). */
export class HttpCarrier implements Carrier {
  readonly #client: HttpClient
  readonly #path: string
  readonly #way: HttpWay
  readonly #maxMessage: number
  readonly #abort = new AbortController()
  #early: readonly Uint8Array[]
  #events: CarrierEvents | undefined
  #queue: Queued[] = []
  #corked = false
  #posting = 0
  #up = 0
  #down = 0
  /** When the part before has been delivered. */
  #turn: Promise<void> = Promise.resolve()
  /** Parts down that were asked for before there was anybody to hand them to. */
  readonly #asked: Promise<HttpAnswer>[] = []
  #closing = false
  #over = false
  #why: string | undefined

  constructor(client: HttpClient, id: string, early: readonly Uint8Array[], { way, maxMessage }: OpenHttpOptions) {
    this.#client = client
    this.#path = `/${id}`
    this.#early = early
    this.#way = way
    this.#maxMessage = maxMessage
  }

  /**
   * Asks for the first parts down, and sends an empty one up beside them.
   *
   * @param patience how long all of it may take, in milliseconds
   */
  async prove(patience: number, signal: AbortSignal): Promise<void> {
    const why = `requests over HTTP do not get through side by side, or are kept back (${this.#way})`
    const late = () => this.#abort.abort(new SluiceError('ERR_SLUICE_TIMEOUT', why))
    const abort = () => this.#abort.abort(signal.reason)
    const timer = setTimeout(late, patience)
    signal.addEventListener('abort', abort)
    try {
      if (this.#way === 'stream') this.#asked.push(this.#askStream())
      else for (let i = 0; i < POLLS; i++) this.#asked.push(this.#exchange(`down=${this.#down++}`))
      // A poll has nothing to answer yet; what goes wrong with it is seen when it is read.
      for (const asked of this.#asked) asked.catch(() => {})
      await readWhole(await this.#exchange(`up=${this.#up++}`, Uint8Array.of(PART_END)))
      if (this.#way === 'stream') await this.#asked[0]
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    }
  }

  start(events: CarrierEvents): void {
    this.#events = events
    const early = this.#early
    this.#early = []
    for (const message of early) {
      events.begin(message.length)
      events.part(message, OWNED)
      events.end()
    }
    if (this.#why !== undefined) return void queueMicrotask(() => events.closed(this.#why!))
    if (this.#way === 'turns') this.#run(this.#takeTurns())
    else if (this.#way === 'stream') this.#run(this.#readStreams())
    else for (let i = 0; i < POLLS; i++) this.#run(this.#poll())
    this.#flush()
  }

  send(head: Uint8Array, headLength: number, body?: Uint8Array, memory?: Memory): undefined {
    if (this.#over || this.#closing) return
    memory?.hold()
    this.#queue.push({ head: partHead(head, headLength, body?.length ?? 0), body, memory })
    if (!this.#corked) this.#flush()
  }

  cork(): void {
    this.#corked = true
  }

  uncork(): void {
    this.#corked = false
    this.#flush()
  }

  close(): void {
    if (this.#over || this.#closing) return
    this.#closing = true
    this.#corked = false
    this.#flush()
  }

  destroy(): void {
    this.#finish('given up')
  }

  #flush(): void {
    if (this.#way !== 'turns') {
      while (this.#queue.length > 0 && this.#posting < this.#client.posts && !this.#over)
        this.#run(this.#post(this.#takePart()))
    }
    if (this.#closing && this.#queue.length === 0 && this.#posting === 0) this.#finish('closed')
  }

  /** What is queued, up to the size of a part, as one. */
  #takePart(): Uint8Array<ArrayBuffer> {
    const taken: Queued[] = []
    let length = 1
    for (const next of this.#queue) {
      const more = next.head.length + (next.body?.length ?? 0)
      if (taken.length > 0 && length + more > PART_SIZE) break
      taken.push(next)
      length += more
    }
    this.#queue.splice(0, taken.length)
    const part = new Uint8Array(length)
    let at = 0
    for (const { head, body, memory } of taken) {
      part.set(head, at)
      at += head.length
      if (body !== undefined) part.set(body, at)
      at += body?.length ?? 0
      memory?.release()
    }
    part[at] = PART_END
    return part
  }

  async #post(part: Uint8Array): Promise<void> {
    this.#posting++
    const answer = await this.#exchange(`up=${this.#up++}`, part)
    await readWhole(answer)
    this.#posting--
    this.#flush()
  }

  async #readStreams(): Promise<void> {
    while (!this.#over) await this.#deliver(await (this.#asked.shift() ?? this.#askStream()))
  }

  async #askStream(): Promise<HttpAnswer> {
    return afterMark(await this.#exchange(`down=${this.#down++}&stream`))
  }

  async #poll(): Promise<void> {
    while (!this.#over) {
      const before = this.#turn
      const asked = this.#asked.shift() ?? this.#exchange(`down=${this.#down++}`)
      this.#turn = asked.then(async (answer) => {
        await before
        await this.#deliver(await afterMark(answer))
      })
      await this.#turn
    }
  }

  async #takeTurns(): Promise<void> {
    for (let quiet = 0; !this.#over; quiet++) {
      const part = this.#takePart()
      const before = this.#queue.length
      if (part.length > 1) quiet = 0
      const hold = before > 0 || this.#closing ? 0 : Math.min(LONG_HOLD, SHORT_HOLD * 2 ** Math.min(quiet, 10))
      this.#posting++
      const answer = await this.#exchange(`up=${this.#up++}&down=${this.#down++}&hold=${hold}`, part)
      if (await this.#deliver(await afterMark(answer))) quiet = 0
      this.#posting--
      this.#flush()
    }
  }

  /** Hands the messages of a part on as they come. Returns whether there was one. */
  async #deliver(answer: HttpAnswer): Promise<boolean> {
    const events = this.#events!
    let some = false
    const reader = new PartReader(
      {
        begin: (length) => {
          some = true
          events.begin(length)
        },
        part: (bytes) => events.part(bytes, OWNED),
        end: () => events.end(),
      },
      this.#maxMessage,
    )
    for (let bytes = await answer.read(); bytes !== undefined; bytes = await answer.read()) {
      if (this.#over) return some
      reader.push(bytes)
    }
    if (!reader.ended) throw new Error('an answer was cut short')
    return some
  }

  async #exchange(query: string, body?: Uint8Array): Promise<HttpAnswer> {
    const answer = await this.#client.post(`${this.#path}?${query}`, body, this.#abort.signal)
    if (answer.status === 200) return answer
    if (answer.status === 410) throw new Error('the server ended it')
    throw new Error(`HTTP status ${answer.status}`)
  }

  #run(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#finish(messageOf(error)))
  }

  #finish(why: string): void {
    if (this.#over) return
    this.#over = true
    for (const { memory } of this.#queue) memory?.release()
    this.#queue = []
    this.#abort.abort()
    // Where requests go through proxies, the server would otherwise notice only by their absence.
    this.#client
      .post(`${this.#path}?end`, undefined, AbortSignal.timeout(FAREWELL))
      .then(readWhole)
      .catch(() => {})
      .finally(() => this.#client.close())
    if (this.#events === undefined) this.#why = why
    else this.#events.closed(why)
  }
}

/** What follows Mark. @throws Error if the body does not begin with it */
async function afterMark(answer: HttpAnswer): Promise<HttpAnswer> {
  const first = await answer.read()
  if (first === undefined || first[0] !== ANSWER_MARK) throw new Error('an answer that sluice did not write')
  let rest: Uint8Array | undefined = first.subarray(1)
  const read = async () => {
    const now = rest
    rest = undefined
    return now !== undefined && now.length > 0 ? now : answer.read()
  }
  return { status: answer.status, read }
}

async function readWhole(answer: HttpAnswer): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  let length = 0
  for (let bytes = await answer.read(); bytes !== undefined && length < SMALL; bytes = await answer.read()) {
    pieces.push(bytes)
    length += bytes.length
  }
  const whole = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

function readBegin(body: Uint8Array, maxMessage: number): [id: string, messages: Uint8Array[]] {
  const messages: Uint8Array[] = []
  let message = new Uint8Array(0)
  let at = 0
  const reader = new PartReader(
    {
      begin: (length) => {
        message = new Uint8Array(length)
        at = 0
      },
      part: (bytes) => {
        message.set(bytes, at)
        at += bytes.length
      },
      end: () => void messages.push(message),
    },
    maxMessage,
  )
  const id = body.subarray(1, 1 + ID_LENGTH)
  try {
    if (body[0] === ANSWER_MARK) reader.push(body.subarray(1 + ID_LENGTH))
  } catch {
    // Said below.
  }
  if (reader.ended && id.length === ID_LENGTH) return [base64url(id), messages]
  throw new SluiceError('ERR_SLUICE_REFUSED', 'something answers HTTP requests for the server with a page of its own', {
    status: 200,
    remedy: 'Is the path right? If this network has a sign-in page, open it in a browser first.',
  })
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}

function refusedBy(status: number, body: Uint8Array): SluiceError {
  const line = new TextDecoder('latin1').decode(body).split(/\r?\n/)[0]!.slice(0, 200)
  const said = /^[\x20-\x7e]+$/.test(line) && !line.startsWith('<') ? `: ${line}` : ''
  if (status === 401) {
    return new SluiceError('ERR_SLUICE_AUTH', `the server does not accept the credentials: 401${said}`, {
      status,
      remedy: CREDENTIALS_REMEDY,
    })
  }
  const code = status === 403 ? 'ERR_SLUICE_POLICY' : status >= 500 ? 'ERR_SLUICE_UNREACHABLE' : 'ERR_SLUICE_REFUSED'
  return new SluiceError(code, `the server answers requests over HTTP with ${status}${said}`, { status })
}
