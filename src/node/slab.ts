/** Bytes left free before what is read, so that a frame header fits before the first piece without a copy. */
export const HEADROOM = 32
/** What all sockets that are not busy read into: there may be thousands of them, and they need no memory of their own. */
const ARRIVALS = 16 * 1024
/** Below this many bytes Node's own pool is cheaper than ours. */
const EXACT_BELOW = 2 * 1024
/** What a socket that fills its reads gets: fewer, larger system calls. */
export const LARGE_SLAB: number = 256 * 1024 + HEADROOM
/** The most that TLS hands out at a time, in bytes (RFC 8446 §5.1). */
export const TLS_RECORD: number = 16 * 1024

/** The most that free slabs may keep, in all: bulk over several WebSockets has needed 45 MB for moments. */
const KEPT_BYTES = 64 * 1024 * 1024
/** Every so many milliseconds, slabs that were free all the time since the last look are given back. */
const LOOK = 5000

/** What can be kept from being read into again: a {@link Slab}, or something like it. */
export interface Holdable {
  hold(): void
  release(): void
}

/**
 * A piece of memory that is read into and written from. Whoever needs its bytes beyond the current call holds it; when the
 * last hold is released it is read into again, so a view of it must not be used afterwards.
 */
export class Slab implements Holdable {
  readonly bytes: Buffer
  readonly #home: SlabPool | undefined
  #holds = 1

  constructor(bytes: Buffer, home?: SlabPool) {
    this.bytes = bytes
    this.#home = home
  }

  hold(): void {
    this.#holds++
  }

  release(): void {
    if (--this.#holds === 0) this.#home?.take(this)
  }

  /** Whether only one holder is left, which may then read into it again. */
  get exclusive(): boolean {
    return this.#holds === 1
  }

  /** For the pool alone: in use again, with one holder. */
  revive(): void {
    this.#holds = 1
  }
}

interface Shelf {
  readonly slabs: Slab[]
  /** The fewest slabs that lay here since the last look: so many were not needed. */
  fewest: number
}

/**
 * Recycles slabs by size, and keeps as many free ones as were needed lately: making one anew costs more than reading into
 * it. One pool for the process is enough; a fresh one makes a test independent.
 */
export class SlabPool {
  readonly #shelves = new Map<number, Shelf>()
  #keptBytes = 0
  #looking: NodeJS.Timeout | undefined

  /** How much memory lies free here, in bytes. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  /** A slab of this size, held once. Its contents are what they happen to be. */
  acquire(size: number): Slab {
    const shelf = this.#shelves.get(size)
    const slab = shelf?.slabs.pop()
    if (slab === undefined) return new Slab(Buffer.allocUnsafeSlow(size), this)
    shelf!.fewest = Math.min(shelf!.fewest, shelf!.slabs.length)
    this.#keptBytes -= size
    slab.revive()
    return slab
  }

  /** Called by the last release. */
  take(slab: Slab): void {
    const size = slab.bytes.length
    if (this.#keptBytes + size > KEPT_BYTES) return
    this.#keptBytes += size
    const shelf = this.#shelves.get(size)
    if (shelf === undefined) this.#shelves.set(size, { slabs: [slab], fewest: 0 })
    else shelf.slabs.push(slab)
    this.#looking ??= setInterval(() => this.#look(), LOOK).unref()
  }

  /** Gives back what nobody needed since the last look. */
  #look(): void {
    for (const [size, shelf] of this.#shelves) {
      this.#keptBytes -= size * shelf.slabs.splice(0, shelf.fewest).length
      shelf.fewest = shelf.slabs.length
    }
    if (this.#keptBytes > 0) return
    clearInterval(this.#looking)
    this.#looking = undefined
  }
}

/** The process's pool. */
export const sharedPool: SlabPool = new SlabPool()

/** Where reads of sockets that are not busy land: valid only until the next read of any of them. */
export const arrivals: Buffer = Buffer.allocUnsafeSlow(ARRIVALS)

/** What has landed in {@link arrivals}, in a slab of its own after the headroom, held once. */
export function takeArrivals(length: number): Slab {
  const size = HEADROOM + length
  const slab =
    size < EXACT_BELOW
      ? new Slab(Buffer.allocUnsafe(size))
      : sharedPool.acquire(HEADROOM + (length <= 4096 ? 4096 : ARRIVALS))
  arrivals.copy(slab.bytes, HEADROOM, 0, length)
  return slab
}
