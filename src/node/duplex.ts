import { Duplex } from 'node:stream'
import type { ClientLink } from '../link/index.ts'
import type { Stream, StreamHandler } from '../session/index.ts'
import { OPEN_ERRORS, ResetCode, type Target } from '../wire/index.ts'
import { nodeHost } from './host.ts'

/** The error of a connection that failed, as `net.Socket` would give it: `code` is an errno name. */
function systemError(code: string, message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${message}`), { code, syscall: 'connect' })
}

/**
 * A tunnelled TCP connection with the face of `net.Socket`, for libraries that take a socket or a stream: `pg`, `mysql2`, `ioredis`,
 * `ssh2`, `http.Agent`. What of `net.Socket` has no meaning here does nothing.
 */
export class TunnelDuplex extends Duplex {
  readonly #link: ClientLink
  readonly #target: Target
  readonly #name: string
  #stream: Stream | undefined
  #connecting = true
  #full = false
  #owed = 0
  #goOn: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #timeout = 0
  #read = 0
  #written = 0
  remoteAddress: string | undefined
  remotePort: number | undefined
  readonly remoteFamily = 'IPv4'
  readonly localAddress = '127.0.0.1'
  readonly localPort = 0

  constructor(link: ClientLink, target: Target, name: string) {
    super({ allowHalfOpen: true, autoDestroy: true })
    this.#link = link
    this.#target = target
    this.#name = name
    if (target.kind === 'TCP') {
      this.remoteAddress = target.host
      this.remotePort = target.port
    }
    // A turn later, what is written at once is there to travel along.
    link.withSession(() => nodeHost.defer(() => this.#open()))
  }

  /** For libraries that connect the stream themselves: it is connecting already. */
  connect(...args: unknown[]): this {
    const listener = args.at(-1)
    if (typeof listener === 'function') this.once('connect', listener as () => void)
    return this
  }

  get connecting(): boolean {
    return this.#connecting
  }

  get pending(): boolean {
    return this.#connecting
  }

  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.#connecting) return 'opening'
    if (this.readable && this.writable) return 'open'
    return this.readable ? 'readOnly' : this.writable ? 'writeOnly' : 'closed'
  }

  get bytesRead(): number {
    return this.#read
  }

  get bytesWritten(): number {
    return this.#written
  }

  address(): object {
    return { address: this.localAddress, family: this.remoteFamily, port: this.localPort }
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  /** As `net.Socket`: emits 'timeout' when nothing has moved for so many milliseconds; 0 turns it off. */
  setTimeout(milliseconds: number, listener?: () => void): this {
    this.#timeout = milliseconds
    if (listener !== undefined) this.once('timeout', listener)
    this.#active()
    return this
  }

  /** Ends after what was written has left. */
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  /** Ends at once, and the target sees a reset. */
  resetAndDestroy(): this {
    this.#abort(ResetCode.CONNECTION_RESET)
    return this.destroy()
  }

  #open(): void {
    if (this.destroyed) return
    if (!this.#link.ready) return this.#failed(0, 'the session is over')
    this.#stream = this.#link.open(this.#target, this.#handler())
    this.#goOn?.()
  }

  #active(): void {
    clearTimeout(this.#timer)
    if (this.#timeout > 0 && !this.destroyed)
      this.#timer = setTimeout(() => this.emit('timeout'), this.#timeout).unref()
  }

  // --- what Duplex calls ---

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error) => void): void {
    if (this.#stream === undefined) {
      this.#goOn = () => this._write(chunk, _, done)
      return
    }
    this.#active()
    this.#written += chunk.length
    this.#link.touch()
    // The chunk may be written over once it is done with, and ours is kept until it is acknowledged.
    if (this.#stream.write(new Uint8Array(chunk))) done()
    else this.#goOn = done
  }

  override _final(done: () => void): void {
    if (this.#stream === undefined) {
      this.#goOn = () => this._final(done)
      return
    }
    this.#link.touch()
    this.#stream.end()
    done()
  }

  override _read(): void {
    this.#full = false
    this.#give()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#timer)
    this.#abort(ResetCode.CANCELLED)
    done(error)
  }

  #abort(code: number): void {
    this.#link.touch()
    this.#stream?.abort(code)
  }

  #give(): void {
    if (this.#owed === 0 || this.#stream === undefined) return
    const owed = this.#owed
    this.#owed = 0
    this.#link.touch()
    this.#stream.consume(owed)
  }

  /** What the stream tells. */
  #handler(): StreamHandler {
    return {
      data: (bytes) => this.#data(bytes),
      ended: () => void this.push(null),
      opened: (address) => this.#openedAt(address),
      failed: (code, text) => this.#failed(code, text),
      reset: (code, text) => this.#reset(code, text),
      writable: () => {
        const goOn = this.#goOn
        this.#goOn = undefined
        goOn?.()
      },
    }
  }

  #data(bytes: Uint8Array): void {
    this.#connected()
    this.#active()
    this.#read += bytes.length
    this.#owed += bytes.length
    if (!this.push(Buffer.from(bytes))) this.#full = true
    if (!this.#full) this.#give()
  }

  #openedAt(address: string): void {
    const colon = address.lastIndexOf(':')
    if (colon > 0) {
      this.remoteAddress = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
      this.remotePort = Number(address.slice(colon + 1))
    }
    this.#connected()
  }

  #connected(): void {
    if (!this.#connecting) return
    this.#connecting = false
    this.emit('connect')
    this.emit('ready')
  }

  #failed(code: number, text: string): void {
    this.#connecting = false
    const { errno } = OPEN_ERRORS[code] ?? OPEN_ERRORS[0]!
    this.destroy(systemError(errno, `${this.#name} could not be reached through the tunnel: ${text || errno}`))
  }

  #reset(code: number, text: string): void {
    this.#connecting = false
    const lost = code === ResetCode.SESSION_LOST
    this.destroy(
      lost
        ? systemError('ENETRESET', `the connection to ${this.#name} was lost with the session: ${text}`)
        : systemError('ECONNRESET', `${this.#name} reset the connection`),
    )
  }
}
