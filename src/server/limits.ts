/** What a stranger can make the server hold, bounded. */
export interface Limits {
  /** Bytes of request header. */
  readonly headerBytes: number
  /** Milliseconds until a TLS handshake and a request's header must be whole. */
  readonly handshakeTimeout: number
  /** Tunnelled connections at once. */
  readonly connections: number
  /** Streams of one session at once. */
  readonly streams: number
  /** Bytes by which the windows of all sessions together may grow; each session may have 128 MiB of them. */
  readonly windowBytes: number
  /** Bytes that one session holds for sending, queued and unacknowledged; then its targets are not read. */
  readonly replayBytes: number
  /** Sockets at once, those that have not asked for anything yet included. */
  readonly sockets: number
  /** Upgrades a second from one address, and how many may come at once. */
  readonly handshakesPerSecond: number
  readonly handshakeBurst: number
  /** Wrong credentials of one address that cost it nothing; those after them are answered late, and then not. */
  readonly freeFailures: number
  /** Milliseconds until a target must have answered. */
  readonly dialTimeout: number
  /** Milliseconds after which a flow of datagrams without any ends. */
  readonly udpIdle: number
}

export const DEFAULT_LIMITS: Limits = {
  headerBytes: 16 * 1024,
  handshakeTimeout: 10_000,
  connections: 10_000,
  sockets: 12_000,
  streams: 8192,
  windowBytes: 512 * 1024 * 1024,
  replayBytes: 128 * 1024 * 1024,
  handshakesPerSecond: 1_000,
  handshakeBurst: 5_000,
  freeFailures: 10,
  dialTimeout: 10_000,
  udpIdle: 60_000,
}

/** Addresses that are remembered at most; beyond that the oldest is forgotten. */
const REMEMBERED = 10_000

/** A token bucket for each key: `rate` a second, `burst` at once. The time is an argument. */
export class RateLimit {
  readonly #rate: number
  readonly #burst: number
  readonly #buckets = new Map<string, { level: number; at: number }>()

  constructor(rate: number, burst: number) {
    this.#rate = rate
    this.#burst = burst
  }

  /** Takes one; false if there is none left. `now` is in milliseconds, from any clock that only goes forward. */
  take(key: string, now: number): boolean {
    const bucket = this.#buckets.get(key) ?? { level: this.#burst, at: now }
    bucket.level = Math.min(this.#burst, bucket.level + ((now - bucket.at) / 1000) * this.#rate)
    bucket.at = now
    this.#buckets.delete(key)
    this.#buckets.set(key, bucket)
    if (this.#buckets.size > REMEMBERED) this.#buckets.delete(this.#buckets.keys().next().value!)
    if (bucket.level < 1) return false
    bucket.level--
    return true
  }
}
