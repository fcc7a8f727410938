import type { Memory } from './memory.ts'
import type { Stream } from './stream.ts'

/** What a stream tells its owner. Every stream ends in exactly one of `failed`, `reset` and `closed`. */
export interface StreamHandler {
  /**
   * The next bytes. They are the callee's until it returns; to keep them it holds the memory, or copies where there is none.
   * Credit comes back by {@link Stream.consume}.
   */
  data(bytes: Uint8Array, memory: Memory | undefined): void
  /** The peer ended its direction, and all of it has been delivered. */
  ended(): void
  /** The target is connected (or the listener bound) at this address, as far as the peer says. */
  opened?(address: string): void
  /** It could not be opened: see OPEN_ERRORS. */
  failed?(code: number, text: string): void
  /** The peer, or the loss of the session, ended both directions at once. */
  reset(code: number, text: string): void
  /** After `write` returned false, more may be written. */
  writable?(): void
  datagram?(payload: Uint8Array): void
  /** Both directions ended in good order. */
  closed?(): void
}

/** What a stream asks of its session. */
export interface StreamOwner {
  readonly now: number
  readonly roundTrip: number | undefined
  /** Whether replay memory is full. */
  readonly full: boolean
  /** The stream has a control frame to send, or data. */
  wantsControl(stream: Stream): void
  wantsData(stream: Stream): void
  /** This much more, or less, is held for sending. */
  held(bytes: number): void
  datagram(stream: Stream, payload: Uint8Array): boolean
  settled(stream: Stream): void
}
