import { CloseReason, type Target, Violation } from '../wire/index.ts'
import { type CreditPool, ReceiveWindow } from './credit.ts'
import { SeenIds } from './ids.ts'
import { type Carries, Stream } from './stream.ts'
import type { StreamOwner } from './stream-contracts.ts'

/** Which end of a session this is. */
export type Role = 'client' | 'server'

export interface StreamLimits {
  /** How many streams the peer may have at once, and credit for each of them at its start. */
  readonly maxStreams: number
  readonly initialCredit: number
}

/** The live streams of a session, by id, and how many each side may open (spec §6). */
export class Streams {
  readonly #owner: StreamOwner
  readonly #live = new Map<number, Stream>()
  readonly #limits: StreamLimits
  readonly #pool: CreditPool
  readonly #peerCredit: number
  readonly #ownParity: 0 | 1
  readonly #seen: SeenIds
  #nextId: number
  /** Above all ids that the peer has opened so far. */
  nextPeerId: number
  /** How many streams we may open in all, and how many the peer may. */
  mayOpen: number
  allowed: number
  /** What `allowed` was in the last MAX_STREAMS. */
  announced: number

  /** @param peer what the peer said in its HELLO */
  constructor(role: Role, owner: StreamOwner, own: StreamLimits, peer: StreamLimits, pool: CreditPool) {
    this.#owner = owner
    this.#limits = own
    this.#pool = pool
    this.#peerCredit = peer.initialCredit
    this.#ownParity = role === 'client' ? 0 : 1
    this.#nextId = this.#ownParity
    this.nextPeerId = 1 - this.#ownParity
    this.#seen = new SeenIds(1 - this.#ownParity)
    this.mayOpen = peer.maxStreams
    this.allowed = own.maxStreams
    this.announced = own.maxStreams
  }

  get size(): number {
    return this.#live.size
  }

  all(): Iterable<Stream> {
    return this.#live.values()
  }

  /** How many streams have moved at least so many bytes since this was called last. */
  countMoved(bytes: number): number {
    let count = 0
    for (const stream of this.#live.values()) if (stream.takeMoved() >= bytes) count++
    return count
  }

  /** A stream of ours. It may have to wait before its OPEN may leave: see {@link mayLeave}. */
  open(frame: 'OPEN' | 'LISTEN', target: Target): Stream {
    const stream = this.#make(this.#nextId, true, frame, target)
    this.#nextId += 2
    return stream
  }

  /** Whether the peer's limit allows the OPEN of this stream. */
  mayLeave(stream: Stream): boolean {
    return Math.floor(stream.id / 2) < this.mayOpen
  }

  /**
   * The stream of an OPEN or LISTEN of the peer's.
   *
   * @returns the stream and whether it is new; undefined for one that is forgotten
   * @throws Violation STREAM_STATE, STREAM_LIMIT
   */
  peerOpens(id: number, frame: 'OPEN' | 'LISTEN', target: Target): { stream: Stream; fresh: boolean } | undefined {
    if ((id & 1) === this.#ownParity) {
      throw new Violation(CloseReason.STREAM_STATE, `${frame}: stream ${id} is not the sender's to open`)
    }
    const live = this.#live.get(id)
    if (live !== undefined) return { stream: live, fresh: false }
    if (this.#seen.has(id)) return undefined
    const index = Math.floor(id / 2)
    if (index >= this.allowed) {
      throw new Violation(
        CloseReason.STREAM_LIMIT,
        `${frame}: stream ${id} is number ${index + 1} (allowed: ${this.allowed})`,
      )
    }
    this.#seen.add(id)
    this.nextPeerId = Math.max(this.nextPeerId, id + 2)
    return { stream: this.#make(id, false, frame, target), fresh: true }
  }

  /**
   * The live stream of a frame that is no OPEN; undefined for one that is forgotten.
   *
   * @throws Violation STREAM_STATE for one that never was
   */
  find(id: number, frame: string): Stream | undefined {
    const stream = this.#live.get(id)
    if (stream !== undefined) return stream
    const known = (id & 1) === this.#ownParity ? id < this.#nextId : this.#seen.has(id)
    if (!known) throw new Violation(CloseReason.STREAM_STATE, `${frame}: stream ${id} was never opened`)
    return undefined
  }

  /** The stream is over on both sides. Returns whether MAX_STREAMS is due. */
  forget(stream: Stream): boolean {
    if (!this.#live.delete(stream.id) || stream.opener) return false
    this.allowed++
    return this.allowed - this.announced >= Math.max(1, this.#limits.maxStreams / 4)
  }

  #make(id: number, opener: boolean, frame: 'OPEN' | 'LISTEN', target: Target): Stream {
    const window = new ReceiveWindow(this.#limits.initialCredit, this.#pool, this.#owner.now)
    const carries = this.#carries(frame, target)
    const stream = new Stream(this.#owner, id, opener, frame, target, carries, window, this.#peerCredit)
    this.#live.set(id, stream)
    return stream
  }

  /** What comes at a listener is what was listened for (spec §6). */
  #carries(frame: 'OPEN' | 'LISTEN', target: Target): Carries {
    if (frame === 'LISTEN') return 'nothing'
    if (target.kind !== 'ACCEPTED') return target.kind === 'UDP' ? 'datagrams' : 'bytes'
    const listener = this.#live.get(target.listener)
    if (listener?.frame !== 'LISTEN') return 'unknown'
    return listener.target.kind === 'UDP' ? 'datagrams' : 'bytes'
  }
}
