import net from 'node:net'
import tls from 'node:tls'
import { adopt, canAdopt, defaultReadMode, type OnRead, type ReadMode, readInto } from './adopt.ts'
import { type ByteStream, type ByteStreamEvents, HIGH_MARK, LOW_MARK } from './byte-stream.ts'
import { arrivals, HEADROOM, type Holdable, LARGE_SLAB, Slab, sharedPool, TLS_RECORD, takeArrivals } from './slab.ts'

/** A socket with a large slab is no longer busy when it brings less than this at once. */
const STILL_BUSY = 16 * 1024
/** Every so many milliseconds, those that have brought nothing since the last look give their slabs back. */
const LOOK = 5000

type Release = Holdable | undefined

/** A TCP, TLS or unix socket as a {@link ByteStream}, read into slabs with headroom where the host can. */
export class SocketStream implements ByteStream {
  /** Those that have slabs of their own. */
  static readonly #busyOnes = new Set<SocketStream>()
  static #looking: NodeJS.Timeout | undefined
  readonly #secure: boolean
  readonly #onread: OnRead | undefined
  #socket: net.Socket
  #events: ByteStreamEvents | undefined
  /** What a busy socket reads into; the others share one. */
  #slab: Slab | undefined
  #busy = false
  /** Whether nothing has come since the last look at those that are busy. */
  #quiet = false
  /** Where in the slab lies what a busy TLS socket has read and not handed on. */
  #start = HEADROOM
  #end = HEADROOM
  #handing: NodeJS.Immediate | undefined
  #paused = true
  /** Slabs of the writes whose callback is due, in order; undefined for those without one or already released. */
  readonly #pending: Release[] = []
  #firstPending = 0
  #wasHigh = false
  #endWhenWritten = false
  #early: Buffer | undefined
  #error: Error | undefined
  #closed = false
  readonly #written = (): void => this.#oneWritten()

  private constructor(secure: boolean, mode: ReadMode) {
    this.#secure = secure
    this.#socket = undefined as unknown as net.Socket
    if (mode === 'onread') {
      this.#onread = { buffer: () => this.#nextBuffer(), callback: (bytesRead) => this.#readInto(bytesRead) }
    }
  }

  /** Connects over TCP or a unix socket; listen to `socket` for 'connect' and 'error'. */
  static connect(options: net.NetConnectOpts, mode: ReadMode = defaultReadMode()): SocketStream {
    const stream = new SocketStream(false, mode)
    return stream.#use(net.connect({ ...options, allowHalfOpen: true, ...stream.#option() }))
  }

  /** Connects over TLS; listen to `socket` for 'secureConnect' and 'error'. */
  static connectTls(options: tls.ConnectionOptions, mode: ReadMode = defaultReadMode()): SocketStream {
    const stream = new SocketStream(true, mode)
    const all = { ...options, allowHalfOpen: true, ...stream.#option() } as tls.ConnectionOptions
    const socket = tls.connect(all)
    // Unlike net.connect(), tls.connect() passes over `noDelay`: small packets would wait for the ACK of those before.
    socket.once('connect', () => socket.setNoDelay(true))
    return stream.#use(socket)
  }

  /**
   * Takes over a socket that was accepted, or upgraded from HTTP. The one given must not be used any more.
   *
   * @param head what was read of it already
   */
  static from(socket: net.Socket, head?: Buffer, mode: ReadMode = defaultReadMode()): SocketStream {
    const stream = new SocketStream(socket instanceof tls.TLSSocket, mode)
    const adopted = stream.#onread && canAdopt() ? adopt(socket, stream.#onread) : undefined
    const rest = socket.read() as Buffer | null
    const early = [head, rest].filter((part): part is Buffer => part instanceof Buffer && part.length > 0)
    if (early.length > 0) stream.#early = Buffer.concat(early)
    return adopted ? stream.#use(adopted) : stream.#useByData(socket)
  }

  /** The socket itself, for events and addresses. */
  get socket(): net.Socket {
    return this.#socket
  }

  get backlog(): number {
    return this.#socket.writableLength
  }

  get paused(): boolean {
    return this.#paused
  }

  start(events: ByteStreamEvents): void {
    this.#events = events
    if (this.#closed) {
      process.nextTick(() => events.closed(this.#error))
      return
    }
    this.resume()
    const early = this.#early
    if (early !== undefined) {
      this.#early = undefined
      events.read(new Slab(early), 0, early.length)
    }
  }

  pause(): void {
    this.#paused = true
    this.#socket.pause()
  }

  resume(): void {
    this.#paused = false
    this.#socket.resume()
  }

  write(bytes: Buffer, memory?: Holdable): void {
    if (this.#closed || this.#socket.destroyed || this.#endWhenWritten) return
    memory?.hold()
    this.#pending.push(memory)
    this.#socket.write(bytes, this.#written)
    const backlog = this.#socket.writableLength
    if (backlog === 0) this.#releaseAll()
    else if (backlog >= HIGH_MARK) this.#wasHigh = true
  }

  cork(): void {
    this.#socket.cork()
  }

  uncork(): void {
    this.#socket.uncork()
    if (this.#socket.writableLength === 0) this.#releaseAll()
  }

  /** Ends only when all has left: while libuv waits to shut a socket down it can be neither reset nor closed. */
  end(): void {
    if (this.#socket.destroyed) return
    if (this.#socket.writableLength > 0) this.#endWhenWritten = true
    else this.#socket.end()
  }

  reset(): void {
    this.#forget()
    const shutting = this.#socket.writableEnded && !this.#socket.writableFinished
    // A unix socket has no address and no RST: resetAndDestroy() throws on it.
    const unix = this.#socket.localAddress === undefined
    if (shutting || unix || this.#socket instanceof tls.TLSSocket || this.#secure) this.#socket.destroy()
    else this.#socket.resetAndDestroy()
  }

  destroy(): void {
    this.#forget()
    this.#socket.destroy()
  }

  #option(): { onread?: OnRead } {
    return this.#onread ? { onread: this.#onread } : {}
  }

  #use(socket: net.Socket): this {
    this.#socket = socket
    socket.pause()
    socket.on('error', (error) => {
      this.#error = error
      this.#handOn()
    })
    socket.on('end', () => {
      this.#handOn()
      this.#events?.ended()
    })
    socket.on('finish', () => this.#events?.finished())
    socket.on('close', () => this.#close())
    if (this.#onread === undefined) socket.on('data', (chunk: Buffer) => this.#readChunk(chunk))
    if (this.#onread === undefined) socket.pause()
    return this
  }

  #useByData(socket: net.Socket): this {
    socket.allowHalfOpen = true
    this.#use(socket)
    if (this.#onread !== undefined) socket.on('data', (chunk: Buffer) => this.#readChunk(chunk))
    socket.pause()
    return this
  }

  #readChunk(chunk: Buffer): void {
    this.#events?.read(new Slab(chunk), 0, chunk.length)
  }

  /** The buffer for the next read: after what is still to be handed on, or the same again if nobody kept it. */
  #nextBuffer(): Buffer {
    if (this.#end === this.#start) {
      this.#start = this.#end = HEADROOM
      if (!this.#busy) this.#giveBack()
      else if (!this.#slab?.exclusive) this.#takeSlab()
    }
    return this.#slab?.bytes.subarray(this.#end) ?? arrivals
  }

  #takeSlab(): Slab {
    this.#slab?.release()
    this.#slab = sharedPool.acquire(LARGE_SLAB)
    SocketStream.#busyOnes.add(this)
    SocketStream.#looking ??= setInterval(SocketStream.#look, LOOK).unref()
    return this.#slab
  }

  #giveBack(): void {
    if (this.#slab === undefined) return
    this.#slab.release()
    this.#slab = undefined
    SocketStream.#busyOnes.delete(this)
  }

  static #look(this: void): void {
    for (const one of SocketStream.#busyOnes) {
      if (one.#quiet) one.#rest()
      one.#quiet = true
    }
    if (SocketStream.#busyOnes.size > 0) return
    clearInterval(SocketStream.#looking)
    SocketStream.#looking = undefined
  }

  /** It may be long until the next read, and there may be thousands like this one: it shares the buffer of all. */
  #rest(): void {
    this.#busy = false
    if (this.#end === this.#start && readInto(this.#socket, arrivals)) this.#giveBack()
  }

  #readInto(bytesRead: number): boolean {
    this.#quiet = false
    if (this.#slab === undefined) {
      const slab = takeArrivals(bytesRead)
      this.#busy = bytesRead === arrivals.length
      this.#hand(slab, HEADROOM, HEADROOM + bytesRead)
      slab.release()
    } else if (this.#secure) {
      this.#gather(bytesRead)
    } else {
      this.#end += bytesRead
      this.#handOn()
    }
    return !this.#paused
  }

  /**
   * TLS hands out a record at a time, several for each read of the system: what comes in one pass of the event loop is
   * handed on at once, for fewer and larger writes.
   */
  #gather(bytesRead: number): void {
    // Since the buffer for this read was given, what lies before it was handed on: its headroom is not ours while that is held.
    if (this.#end === this.#start && this.#end > HEADROOM && !this.#slab!.exclusive) this.#moveToNewSlab(bytesRead)
    this.#end += bytesRead
    if (this.#slab!.bytes.length - this.#end < TLS_RECORD) this.#handOn()
    else this.#handing ??= setImmediate(() => this.#handOnAndRest())
  }

  #moveToNewSlab(length: number): void {
    const { bytes } = this.#slab!
    bytes.copy(this.#takeSlab().bytes, HEADROOM, this.#end, this.#end + length)
    this.#start = this.#end = HEADROOM
  }

  #handOnAndRest(): void {
    this.#handOn()
    if (!this.#busy) this.#rest()
  }

  #handOn(): void {
    const start = this.#start
    this.#forget()
    if (this.#end === start) return
    if (this.#end - start < STILL_BUSY) this.#busy = false
    this.#hand(this.#slab!, start, this.#end)
  }

  /** Nothing is left to be handed on. */
  #forget(): void {
    clearImmediate(this.#handing)
    this.#handing = undefined
    this.#start = this.#end
  }

  #hand(slab: Slab, start: number, end: number): void {
    if (this.#events === undefined) this.#keepEarly(slab.bytes.subarray(start, end))
    else this.#events.read(slab, start, end)
  }

  /** A TLS handshake reads whether the stream is paused or not, and data may come with its last flight. */
  #keepEarly(bytes: Buffer): void {
    this.#early = Buffer.concat(this.#early ? [this.#early, bytes] : [bytes])
    this.pause()
  }

  #oneWritten(): void {
    const slab = this.#pending[this.#firstPending]
    this.#pending[this.#firstPending++] = undefined
    if (this.#firstPending === this.#pending.length) {
      this.#pending.length = 0
      this.#firstPending = 0
    }
    slab?.release()
    if (this.#endWhenWritten && this.#socket.writableLength === 0) {
      this.#endWhenWritten = false
      this.#socket.end()
    }
    this.#events?.written?.()
    if (this.#wasHigh && this.backlog <= LOW_MARK) {
      this.#wasHigh = false
      this.#events?.drained()
    }
  }

  /** The system took everything: no view of a slab is needed any more, although the callbacks come later. */
  #releaseAll(): void {
    for (let i = this.#firstPending; i < this.#pending.length; i++) {
      const slab = this.#pending[i]
      this.#pending[i] = undefined
      slab?.release()
    }
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#releaseAll()
    this.#forget()
    this.#giveBack()
    this.#events?.closed(this.#error)
  }
}
