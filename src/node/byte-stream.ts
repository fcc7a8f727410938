import type { Holdable, Slab } from './slab.ts'

/** What a {@link ByteStream} tells its owner. No call comes before `start`, none after `closed`. */
export interface ByteStreamEvents {
  /**
   * Bytes `start` to `end` of the slab have come. They are the callee's until it returns; to keep them it holds the slab.
   * It may write into them, and into the `start` bytes before them.
   */
  read(slab: Slab, start: number, end: number): void
  /** The peer will send no more; writing goes on. */
  ended(): void
  /** The backlog has fallen below the low mark after it had been at the high mark. */
  drained(): void
  /** Some of what was written has left. */
  written?(): void
  /** Everything written has left, after `end`. */
  finished(): void
  /** The stream is gone: exactly once. `error` says why if it did not end by itself. */
  closed(error: Error | undefined): void
}

/** A peer that was told why it is refused has this long to read it and close, in milliseconds. */
const FAREWELL = 1_000

/** Ends our direction, and soon after all of it: an answer that is still under way is not cut off by a reset. */
export function dismiss(stream: ByteStream): void {
  stream.end()
  setTimeout(() => stream.destroy(), FAREWELL).unref()
}

/** Reading should stop when this many bytes wait to be written to the other side… */
export const HIGH_MARK: number = 512 * 1024
/** …and go on when no more than this wait. */
export const LOW_MARK: number = 128 * 1024

/**
 * A two-way stream of bytes with back-pressure and half-close: a socket, or standard input and output.
 * test/suites/byte-stream.ts is run against every implementation.
 */
export interface ByteStream {
  /** Begins to deliver; until then nothing is read. Called again, it hands the stream over to another owner. */
  start(events: ByteStreamEvents): void
  /** Stops reading; a read that is under way may still be delivered. */
  pause(): void
  resume(): void
  readonly paused: boolean
  /** Queues bytes. `memory` is where they lie, held until they have left; without it they must not change any more. */
  write(bytes: Buffer, memory?: Holdable): void
  /** Queues several as one system call where the host can. */
  cork(): void
  uncork(): void
  /** Bytes queued and not yet handed to the system. */
  readonly backlog: number
  /** Ends our direction after what is queued (a TCP FIN). */
  end(): void
  /** Ends both directions at once in a way that the peer takes for an error (a TCP RST), as far as the host can say so. */
  reset(): void
  /** Ends both directions at once; what is queued is dropped. */
  destroy(): void
}
