import type { Changes, Memory } from '../session/index.ts'

/** What a carrier tells its owner. None of these comes before `start`, none after `closed`. */
export interface CarrierEvents {
  /** A message begins. @param declared its length in bytes, where it is known from the start */
  begin(declared: number | undefined): void
  /** Part of the message: the callee's until it returns. To keep it, it holds the memory, or copies where there is none. */
  part(bytes: Uint8Array, memory: Memory | undefined): void
  end(): void
  /** The carrier is gone: exactly once. `why` is for people. */
  closed(why: string): void
}

/**
 * Something that moves whole binary messages, in order, until it dies (spec §3). It is always read: nothing here can pause it.
 * test/suites/carrier.ts is run against every implementation.
 */
export interface Carrier {
  /** Begins to deliver. Messages that came before are kept until then. */
  start(events: CarrierEvents): void
  /**
   * Sends one message: the first `headLength` bytes of `head`, which are copied, then `body`, which must not change until it
   * has left; its memory is held until then. After the end of the carrier it does nothing.
   *
   * @param memory where `body` lies
   * @param changes what of it the carrier may write over; default: nothing
   * @returns the key that the body was masked with where it lies, its first byte lowest; undefined if it was left as it is
   */
  send(head: Uint8Array, headLength: number, body?: Uint8Array, memory?: Memory, changes?: Changes): number | undefined
  /** Between these, messages may be put together into fewer writes. */
  cork(): void
  uncork(): void
  /** Ends after what was sent has left. */
  close(): void
  /** Ends at once. */
  destroy(): void
}

/** For bytes that nobody writes into again: whoever wants to keep them need not copy. */
export const OWNED: Memory = { hold() {}, release() {} }
