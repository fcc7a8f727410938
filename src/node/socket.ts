import net from 'node:net'
import tls from 'node:tls'
import { adopt, canAdopt, defaultReadMode, type OnRead, type ReadMode } from './adopt.ts'
import { type ByteStream, type ByteStreamEvents, HIGH_MARK, LOW_MARK } from './byte-stream.ts'
import { arrivals, HEADROOM, type Holdable, LARGE_SLAB, Slab, sharedPool, TLS_SLAB, takeArrivals } from './slab.ts'

/** A socket with a large slab is no longer busy when a read brings less than this; over TLS, less than the second. */
const STILL_BUSY = 16 * 1024
const STILL_BUSY_TLS = 1024

type Release = Holdable | undefined

/** A TCP, TLS or unix socket as a {@link ByteStream}, read into slabs with headroom where the host can. */
export class SocketStream implements ByteStream {
  readonly #secure: boolean
  readonly #onread: OnRead | undefined
  #socket: net.Socket
  #events: ByteStreamEvents | undefined
  /** What a busy socket reads into; the others share one. */
  #slab: Slab | undefined
  #view: Buffer | undefined
  #busy = false
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
    const shutting = this.#socket.writableEnded && !this.#socket.writableFinished
    // A unix socket has no address and no RST: resetAndDestroy() throws on it.
    const unix = this.#socket.localAddress === undefined
    if (shutting || unix || this.#socket instanceof tls.TLSSocket || this.#secure) this.#socket.destroy()
    else this.#socket.resetAndDestroy()
  }

  destroy(): void {
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
    })
    socket.on('end', () => this.#events?.ended())
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

  /** The buffer for the next read: a busy socket's is the same again if nobody kept it. */
  #nextBuffer(): Buffer {
    if (this.#busy && this.#slab?.exclusive) return this.#view!
    this.#slab?.release()
    this.#slab = this.#busy ? sharedPool.acquire(this.#secure ? TLS_SLAB : LARGE_SLAB) : undefined
    this.#view = this.#slab?.bytes.subarray(HEADROOM)
    return this.#view ?? arrivals
  }

  #readInto(bytesRead: number): boolean {
    const own = this.#slab
    const slab = own ?? takeArrivals(bytesRead)
    if (own === undefined) this.#busy = bytesRead === arrivals.length
    else if (bytesRead < (this.#secure ? STILL_BUSY_TLS : STILL_BUSY)) this.#busy = false
    if (this.#events === undefined) this.#keepEarly(slab.bytes.subarray(HEADROOM, HEADROOM + bytesRead))
    else this.#events.read(slab, HEADROOM, HEADROOM + bytesRead)
    if (own === undefined) slab.release()
    return !this.#paused
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
    this.#slab?.release()
    this.#slab = undefined
    this.#events?.closed(this.#error)
  }
}
