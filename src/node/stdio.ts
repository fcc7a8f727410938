import { fstatSync } from 'node:fs'
import net from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { type ByteStream, type ByteStreamEvents, HIGH_MARK, LOW_MARK } from './byte-stream.ts'
import { type Holdable, Slab } from './slab.ts'

/** Standard input and output as one {@link ByteStream}, for `sluice stdio` and ssh's ProxyCommand. */
export class StdioStream implements ByteStream {
  readonly #input: Readable
  readonly #output: Writable
  #events: ByteStreamEvents | undefined
  #paused = true
  #wasHigh = false
  #inputOver = false
  #outputOver = false
  #closed = false

  constructor(input: Readable = standardInput(), output: Writable = standardOutput()) {
    this.#input = input
    this.#output = output
    input.pause()
    input.on('data', (chunk: Buffer) => this.#events?.read(new Slab(chunk), 0, chunk.length))
    input.on('end', () => {
      this.#inputOver = true
      this.#events?.ended()
      this.#closeIfOver()
    })
    input.on('error', (error) => this.#close(error))
    output.on('error', (error) => this.#close(error))
    output.on('finish', () => {
      this.#outputOver = true
      this.#events?.finished()
      this.#closeIfOver()
    })
    input.pause()
  }

  start(events: ByteStreamEvents): void {
    this.#events = events
    this.resume()
  }

  pause(): void {
    this.#paused = true
    this.#input.pause()
  }

  resume(): void {
    this.#paused = false
    this.#input.resume()
  }

  get paused(): boolean {
    return this.#paused
  }

  get backlog(): number {
    return this.#output.writableLength
  }

  write(bytes: Buffer, memory?: Holdable): void {
    if (this.#closed || this.#output.writableEnded) return
    memory?.hold()
    this.#output.write(bytes, () => {
      memory?.release()
      this.#events?.written?.()
      if (this.#wasHigh && this.backlog <= LOW_MARK) {
        this.#wasHigh = false
        this.#events?.drained()
      }
    })
    if (this.backlog >= HIGH_MARK) this.#wasHigh = true
  }

  cork(): void {
    this.#output.cork()
  }

  uncork(): void {
    this.#output.uncork()
  }

  end(): void {
    this.#output.end()
  }

  /** A pipe has no reset: both ends are simply gone. */
  reset(): void {
    this.destroy()
  }

  destroy(): void {
    this.#close(undefined)
  }

  #closeIfOver(): void {
    if (this.#inputOver && this.#outputOver) this.#close(undefined)
  }

  #close(error: Error | undefined): void {
    if (this.#closed) return
    this.#closed = true
    this.#input.destroy()
    this.#output.destroy()
    process.nextTick(() => this.#events?.closed(error))
  }
}

/** Whether a descriptor is a pipe or a socket, which can be written without blocking the process. */
function isPipe(fd: number): boolean {
  const stat = fstatSync(fd)
  return stat.isFIFO() || stat.isSocket()
}

function standardInput(): Readable {
  return isPipe(0) ? new net.Socket({ fd: 0, readable: true, writable: false }) : process.stdin
}

function standardOutput(): Writable {
  return isPipe(1) ? new net.Socket({ fd: 1, readable: false, writable: true }) : process.stdout
}
