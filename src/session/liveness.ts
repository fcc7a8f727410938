import type { Carrier } from './carrier.ts'

/** When a carrier is asked whether it lives, and when it is given up, in milliseconds. */
export interface LivenessOptions {
  /** Ask what has been silent this long although nothing is due; 0 never. */
  readonly idle: number
  /** Ask what has been silent this long while data waits for its ACK; sooner where the round trip is short. */
  readonly waiting: number
  /** Give up what has not answered for this long after it was asked; sooner where the round trip is short. */
  readonly patience: number
}

export const DEFAULT_LIVENESS: LivenessOptions = { idle: 25_000, waiting: 2_500, patience: 7_500 }

/** So many round trips without a sign are odd, and so many without an answer are enough; but no less than these times. */
const ODD = 8
const ENOUGH = 16
const LEAST_WAITING = 1_000
const LEAST_PATIENCE = 2_500

/** The times for a carrier with this round trip: the far side may be slow, but not by hundreds of round trips. */
export function timesFor(options: LivenessOptions, roundTrip: number | undefined): LivenessOptions {
  if (roundTrip === undefined) return options
  return {
    idle: options.idle,
    waiting: Math.min(options.waiting, Math.max(LEAST_WAITING, ODD * roundTrip)),
    patience: Math.min(options.patience, Math.max(LEAST_PATIENCE, ENOUGH * roundTrip)),
  }
}

/** A wake-up later than this after its deadline: the process slept, and what came meanwhile has not been read. */
const JUMP = 2_000

/** When something is to be done about a carrier; undefined if never. */
export function livenessDeadline(carrier: Carrier, options: LivenessOptions): number | undefined {
  const { oldest, rate } = carrier.flight
  if (carrier.askedAt !== undefined) return carrier.askedAt + timesFor(options, rate.smoothed).patience
  if (oldest !== undefined) return Math.max(carrier.heardAt, oldest) + timesFor(options, rate.smoothed).waiting
  return options.idle === 0 ? undefined : carrier.heardAt + options.idle
}

/** Looks at a carrier: undefined if all is well, `ask` if a PING is due, `dead` if it is to be given up. */
export function judge(carrier: Carrier, options: LivenessOptions, now: number): 'ask' | 'dead' | undefined {
  if (carrier.askedAt !== undefined && carrier.heardAt > carrier.askedAt) carrier.askedAt = undefined
  const deadline = livenessDeadline(carrier, options)
  if (deadline === undefined || now < deadline) return undefined
  if (carrier.askedAt === undefined || now - deadline > JUMP) return 'ask'
  return 'dead'
}
