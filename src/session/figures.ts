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
}

/** Figures of a session, for people and metrics. */
export interface SessionFigures {
  readonly streams: number
  readonly carriers: readonly CarrierFigures[]
  /** Replay memory in use, and at most so far, in bytes. */
  readonly held: number
  readonly mostHeld: number
  /** Bytes sent again after a carrier died. */
  readonly resent: number
  readonly datagramsDropped: number
  readonly framesIgnored: number
}
