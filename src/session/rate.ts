/** When and after how much had been delivered a message was sent: what a rate sample needs. */
export interface SendMark {
  sentAt: number
  delivered: number
  deliveredAt: number
  firstSentAt: number
  applicationLimited: boolean
}

const START = 256 * 1024
const LEAST = 64 * 1024
/** The least where the queue must be short: several carriers share the line. */
const LEAST_SHARED = 16 * 1024
const MOST = 32 * 1024 * 1024
/** Below this round trip the loops of the two processes, not the line, decide when an ACK comes. */
const LEAST_ROUND_TRIP = 1
const ROUNDS = 10
/** How much of a burst of ACKs counts, as time at the rate. */
const LONGEST_BURST = 100
const ROUND_TRIP_EXPIRES = 10_000
/** In flight, in units of rate × least round trip: alone, and beside streams that send little. */
const GAIN = 2
const GAIN_SHARED = 1.05
const GAIN_START = 2.89
/** However long what is in flight waits, so much stays: enough for the line. */
const GAIN_LEAST = 1.25
/** What waits for longer than this all the time, in milliseconds or of the round trip, whichever is more, waits for nothing. */
const STANDING = 10
const STANDING_SHARE = 0.2
/** While ACKs come this often, in milliseconds or of the round trip, whichever is more, nothing is being sent again by TCP. */
const STEADY = 25
const STEADY_SHARE = 0.5
/** After a gap between ACKs of this, or of a round trip if that is more, something may have been: packets are lost on this line. */
const LOSSY = 50
/** Whether there is such a queue is looked at after so many milliseconds or round trips, whichever is more. */
const STANDING_INTERVAL = 100
const STANDING_ROUNDS = 4
/** A message is late when it takes this many times as long as was expected, and no sooner than after so many milliseconds. */
const PATIENCE = 3
const LEAST_PATIENCE = 200

/**
 * How much may be in flight on a carrier (spec §12), from its ACKs alone: the greatest delivery rate of the last rounds and
 * the least round trip of the last ten seconds. Times in milliseconds, rates in bytes per millisecond.
 */
export class RateControl {
  #delivered = 0
  #deliveredAt = 0
  #firstSentAt = 0
  #roundEnd = 0
  readonly #rates: number[] = [0]
  #growth = 0
  #flatRounds = 0
  #starting = true
  #startWindow = START
  #leastAt = 0
  #probeUntil = 0
  #probed = 0
  /** Until this much is delivered, what is sent says little of the line; 0 when it does. */
  #limitedUntil = 0
  /** What has come beyond the rate, as of then, and the most of it in each of the last rounds. */
  #burst = 0
  #burstAt = 0
  readonly #bursts: number[] = [0]
  #greatestBurst = 0
  /** The quickest and slowest round trip of this interval, when it ends, and how much less is in flight because all of it waited. */
  #quickest = Number.POSITIVE_INFINITY
  #slowest = 0
  #longestGap = 0
  #sampledAt = 0
  #judgeAt = 0
  #trim = 0
  /** Bytes per millisecond; 0 while unknown. */
  rate = 0
  /** Undefined while unknown. */
  least: number | undefined
  smoothed: number | undefined
  /** Whether streams that send little are about, so that the queue on the line must be short. */
  shared = false

  /** The greeting took so long there and back: a sample without a queue of ours. */
  greeted(roundTrip: number, now: number): void {
    this.#roundTrip(Math.max(0.01, roundTrip), now)
  }

  /** Fills the mark of a message that is sent now. */
  mark(into: SendMark, now: number, inFlight: number): void {
    if (inFlight === 0) {
      this.#firstSentAt = now
      this.#deliveredAt = now
    }
    into.sentAt = now
    into.delivered = this.#delivered
    into.deliveredAt = this.#deliveredAt
    into.firstSentAt = this.#firstSentAt
    into.applicationLimited = this.#limitedUntil > 0
  }

  /** The application has no more to send although more might be in flight. */
  limit(inFlight: number): void {
    if (inFlight < this.window) this.#limitedUntil = this.#delivered + Math.max(1, inFlight)
  }

  /** This much more has been acknowledged. */
  deliver(bytes: number, now: number): void {
    this.#delivered += bytes
    this.#deliveredAt = now
    if (this.#delivered > this.#limitedUntil) this.#limitedUntil = 0
    this.#aggregate(bytes, now)
    if (!this.#starting || this.#startWindow > this.#startTarget) return
    // Threefold in a round trip, about as TCP's own start: where packets are lost a round trip of ours lasts longer than one of TCP's.
    this.#startWindow = Math.min(MOST, this.#startWindow + 2 * bytes)
  }

  /** A line that retransmits delivers nothing, then much at once: what may be in flight must last until it does. */
  #aggregate(bytes: number, now: number): void {
    if (this.rate === 0) return
    this.#burst = Math.max(0, this.#burst - this.rate * (now - this.#burstAt)) + bytes
    this.#burstAt = now
    this.#bursts[this.#bursts.length - 1] = Math.max(
      this.#bursts.at(-1)!,
      Math.min(this.#burst, this.rate * LONGEST_BURST),
    )
    this.#greatestBurst = Math.max(this.#greatestBurst, this.#bursts.at(-1)!)
  }

  /** Enough to find twice the rate that is known; more would only fill the queues of the line. */
  get #startTarget(): number {
    if (this.rate === 0 || this.least === undefined) return MOST
    return GAIN_START * this.rate * Math.max(this.least, LEAST_ROUND_TRIP)
  }

  /** A sample from the newest message of an ACK, after `deliver`. @param delay how long the peer waited before the ACK */
  sample(mark: SendMark, now: number, delay: number): void {
    this.#firstSentAt = mark.sentAt
    const roundTrip = Math.max(0.01, now - mark.sentAt - delay)
    this.#roundTrip(roundTrip, now)
    this.#standing(roundTrip, now)
    const elapsed = Math.max(now - mark.deliveredAt, mark.sentAt - mark.firstSentAt)
    if (elapsed <= 0 || elapsed < this.least! / 2) return
    const rate = (this.#delivered - mark.delivered) / elapsed
    if (mark.delivered >= this.#roundEnd) this.#newRound(mark.applicationLimited)
    if (mark.applicationLimited && rate <= this.rate) return
    this.#rates[this.#rates.length - 1] = Math.max(this.#rates.at(-1)!, rate)
    this.rate = Math.max(...this.#rates)
  }

  #newRound(applicationLimited: boolean): void {
    this.#roundEnd = this.#delivered
    // A round in which the application had too little to say tells nothing of the line.
    if (applicationLimited) return
    for (const values of [this.#rates, this.#bursts]) {
      values.push(0)
      if (values.length > ROUNDS) values.shift()
    }
    this.#greatestBurst = Math.max(...this.#bursts)
    if (!this.#starting) return
    if (this.rate > this.#growth * 1.25) {
      this.#growth = this.rate
      this.#flatRounds = 0
    } else if (++this.#flatRounds >= 3) this.#starting = false
  }

  #roundTrip(sample: number, now: number): void {
    this.smoothed = this.smoothed === undefined ? sample : this.smoothed + (sample - this.smoothed) / 8
    if (this.#probeUntil > 0) this.#probed = Math.min(this.#probed, sample)
    if (this.least === undefined || sample <= this.least * 1.05) {
      this.least = Math.min(this.least ?? sample, sample)
      this.#leastAt = now
    } else if (this.#probeUntil > 0 && now >= this.#probeUntil) {
      this.least = this.#probed
      this.#leastAt = now
      this.#probeUntil = 0
    } else if (this.#probeUntil === 0 && now - this.#leastAt > ROUND_TRIP_EXPIRES) {
      // Our own queue hides the line's round trip; for two of them little is sent, and it shows.
      this.#probed = Number.POSITIVE_INFINITY
      this.#probeUntil = now + 2 * this.smoothed
    }
  }

  /**
   * What waited even at best, waited in a queue that never empties: in the line, or in this host until TCP sends it. It makes
   * nothing faster, and whoever comes next waits for it.
   */
  #standing(sample: number, now: number): void {
    this.#quickest = Math.min(this.#quickest, sample)
    this.#slowest = Math.max(this.#slowest, sample)
    this.#longestGap = Math.max(this.#longestGap, now - this.#sampledAt)
    this.#sampledAt = now
    if (now < this.#judgeAt) return
    const excess = this.#quickest - this.least! - Math.max(STANDING, STANDING_SHARE * this.least!)
    const gap = this.#longestGap
    // Where packets are lost, round trips are long because what came waits for what is sent again, and then comes at once: they
    // differ by more than they are too long. Several carriers on a slow line have gaps too, but round trips that are alike.
    const alike = this.#slowest - this.#quickest < excess
    this.#quickest = Number.POSITIVE_INFINITY
    this.#slowest = 0
    this.#longestGap = 0
    this.#judgeAt = now + Math.max(STANDING_INTERVAL, STANDING_ROUNDS * this.least!)
    const lossy = !alike && gap >= Math.max(LOSSY, this.least!)
    if (excess <= 0 || lossy) this.#trim *= 0.75
    const steady = alike || gap < Math.max(STEADY, STEADY_SHARE * this.least!)
    if (excess <= 0 || !steady) return
    this.#starting = false
    // There was always something to send, so the last rounds say what the line gives now.
    this.#rates.splice(0, this.#rates.length - 2)
    this.rate = Math.max(...this.#rates)
    this.#trim = Math.min(this.#trim + this.rate * excess, (GAIN - GAIN_LEAST) * this.#product + this.#greatestBurst)
  }

  /** How long the ACK of a message may take that is sent behind so many bytes, in milliseconds. */
  patience(inFlight: number): number {
    if (this.rate === 0 || this.least === undefined) return Number.POSITIVE_INFINITY
    return Math.max(LEAST_PATIENCE, PATIENCE * (inFlight / this.rate + this.least))
  }

  /** A message is late: the line is not what it was. */
  slowed(late: SendMark, now: number): void {
    this.rate = Math.max(1, Math.min(this.rate / 2, (this.#delivered - late.delivered) / (now - late.sentAt)))
    this.#rates.length = 0
    this.#rates.push(this.rate)
    this.#bursts.length = 0
    this.#bursts.push(0)
    this.#greatestBurst = 0
    this.#starting = false
  }

  /** What the line holds, in bytes. */
  get #product(): number {
    return this.rate * Math.max(this.least!, LEAST_ROUND_TRIP)
  }

  /** How many bytes may be in flight. */
  get window(): number {
    if (this.#starting || this.least === undefined) return this.#startWindow
    const product = this.#product
    const gain = this.#probeUntil > 0 ? 0.5 : this.shared ? GAIN_SHARED : GAIN
    const bursts = gain === GAIN ? this.#greatestBurst : 0
    const floor = gain === GAIN_SHARED ? LEAST_SHARED : LEAST
    const enough = Math.min(gain, GAIN_LEAST) * product
    return Math.min(MOST, Math.max(floor, Math.max(enough, gain * product + bursts - this.#trim) + this.message))
  }

  /** How long a message should be: about 10 ms of the rate, or half of that where others wait behind it. */
  get message(): number {
    if (this.rate === 0) return 16 * 1024
    return Math.min(256 * 1024, Math.max(4 * 1024, Math.floor(this.rate * (this.shared ? 5 : 10))))
  }
}
