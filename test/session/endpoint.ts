import type { Stream, StreamHandler } from '#src/session/index.js'

/** An application at one end of a stream: keeps what came, and says how it ended. */
export class Endpoint implements StreamHandler {
  stream!: Stream
  readonly chunks: Uint8Array[] = []
  length = 0
  ends: string[] = []
  address: string | undefined
  writableCalls = 0
  readonly datagrams: Uint8Array[] = []
  /** Whether what comes is consumed at once. */
  reading = true
  #owed = 0
  onWritable: () => void = () => {}
  onEnded: () => void = () => {}

  data(bytes: Uint8Array): void {
    this.chunks.push(bytes.slice())
    this.length += bytes.length
    if (this.reading) this.stream.consume(bytes.length)
    else this.#owed += bytes.length
  }

  /** Consumes what has come. */
  read(): void {
    const owed = this.#owed
    this.#owed = 0
    if (owed > 0) this.stream.consume(owed)
  }

  ended(): void {
    this.ends.push('ended')
    this.onEnded()
  }

  opened(address: string): void {
    this.address = address
  }

  failed(code: number, text: string): void {
    this.ends.push(`failed ${code} ${text}`)
  }

  reset(code: number): void {
    this.ends.push(`reset ${code}`)
  }

  writable(): void {
    this.writableCalls++
    this.onWritable()
  }

  datagram(payload: Uint8Array): void {
    this.datagrams.push(payload.slice())
  }

  closed(): void {
    this.ends.push('closed')
  }

  get bytes(): Uint8Array {
    return Buffer.concat(this.chunks)
  }
}
