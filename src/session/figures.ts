import type { Core } from './core.ts'

/** Figures of one carrier, for people and metrics. */
export interface CarrierFigures {
  readonly number: number
  /** Bytes sent and not acknowledged, and how many there may be. */
  readonly inFlight: number
  readonly window: number
  /** Bytes per second that were delivered at best of late. */
  readonly rate: number
  /** In milliseconds. */
  readonly roundTrip: number | undefined
  readonly leastRoundTrip: number | undefined
  readonly silentFor: number
  /** Whether it gives no sign, so that nothing new is sent on it. */
  readonly stalled: boolean
}

/** Figures of a session, for people and metrics. */
export interface SessionFigures {
  readonly streams: number
  readonly carriers: readonly CarrierFigures[]
  /** Replay memory in use, and at most so far, in bytes. */
  readonly held: number
  readonly mostHeld: number
  /** Bytes sent again after a carrier died or stalled. */
  readonly resent: number
  /** Bytes of stream data that came, that were sent and acknowledged, and both together. */
  readonly received: number
  readonly sent: number
  readonly moved: number
  /** For how many milliseconds streams have had something to send that no carrier had room for. */
  readonly heldUpFor: number
  /** Which part of the credit that was given lies here, received and not taken by the application: 0 to 1. */
  readonly unread: number
  readonly datagramsDropped: number
  readonly framesIgnored: number
}

/** Reads a session's figures off its state. */
export function figuresOf(core: Core): SessionFigures {
  let unread = 0
  let unreadCredit = 0
  for (const { window, received } of core.streams.all()) {
    unread += received - window.consumed
    unreadCredit += window.granted - window.consumed
  }
  return {
    streams: core.streams.size,
    carriers: core.alive.map(({ number, flight, heardAt, suspected }) => ({
      number,
      inFlight: flight.bytes,
      window: Math.round(flight.rate.window),
      rate: Math.round(flight.rate.rate * 1000),
      roundTrip: flight.rate.smoothed,
      leastRoundTrip: flight.rate.least,
      silentFor: core.now - heardAt,
      stalled: suspected,
    })),
    held: core.heldBytes,
    mostHeld: core.mostHeld,
    resent: core.resent,
    received: core.received,
    sent: core.moved - core.received,
    moved: core.moved,
    heldUpFor: core.blockedSince === undefined ? 0 : core.now - core.blockedSince,
    unread: unreadCredit === 0 ? 0 : unread / unreadCredit,
    datagramsDropped: core.datagramsDropped,
    framesIgnored: core.framesIgnored,
  }
}
