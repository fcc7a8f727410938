/** What a link needs of the place where it runs: clock, chance and timers, so that nothing below knows them. */
export interface Host {
  /** Milliseconds of a clock that only goes forward. */
  now(): number
  /** Runs a function as soon as what runs now is done. */
  soon(act: () => void): void
  /** Runs a function a little later, after what is ready to be read has been read. */
  defer(act: () => void): void
  /** Runs a function after a time, and keeps the process alive for it. Returns what cancels it. */
  after(milliseconds: number, act: () => void): () => void
  /** From 0 up to 1. */
  random(): number
  /** Unpredictable bytes. */
  randomBytes(length: number): Uint8Array
  /** HMAC-SHA-256. */
  hmac(key: Uint8Array, data: Uint8Array): Uint8Array | Promise<Uint8Array>
}
