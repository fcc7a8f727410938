import { formatEndpoint, formatHostPort } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import type { SpliceOutcome } from '../node/index.ts'
import type { Session, Stream } from '../session/index.ts'
import type { Target } from '../wire/index.ts'
import { type Bind, type Member, Place } from './place.ts'
import type { ReversePolicy, ReverseVerdict } from './policy/reverse.ts'
import type { Lease } from './quotas.ts'

/** What a session's listener needs of the session. */
export interface ListeningSession {
  readonly session: Session
  readonly pump: { touch(): void; flush(): void }
}

export interface ListenerEvents {
  /** What a connection counts against; undefined if there are too many. @param end called when it has had its share */
  lease(name: string, end: (why: string) => void): Lease | undefined
  /** A connection came, by this rule; every one ends in `ended`. */
  accepted(name: string, rule: string): void
  /** @param duration in milliseconds */
  ended(name: string, outcome: SpliceOutcome, duration: number): void
}

/** Listens for clients (LISTEN, spec §6): each connection, or sender of datagrams, that comes becomes a stream to the client. */
export class Listeners {
  readonly #udpIdle: number
  /** Places that are bound, by the name that was asked for and by that in use. */
  readonly #places = new Map<string, Place>()

  /** @param udpIdle after so many milliseconds of silence a sender of datagrams is forgotten */
  constructor(udpIdle: number) {
    this.#udpIdle = udpIdle
  }

  /**
   * Binds what a stream of kind LISTEN asks for, or joins who has it where the rules let it be shared; it is left when the
   * stream ends, with the session at the latest.
   *
   * @param reverse what its owner may have listened on, at the moment of asking
   * @returns the address in use, and the rule by which
   * @throws SluiceError `ERR_SLUICE_POLICY`; the system's error where it cannot be bound
   */
  async listen(
    of: ListeningSession,
    owner: string,
    reverse: () => ReversePolicy,
    stream: Stream,
    events: ListenerEvents,
  ): Promise<{ readonly address: string; readonly rule: string }> {
    const bind = bindOf(stream.target)
    const verdict = () => verdictOn(reverse(), bind)
    const { allowed, why, shared } = verdict()
    if (!allowed) throw new SluiceError('ERR_SLUICE_POLICY', why)
    const place = this.#placeFor(bind, owner, shared)
    const member: Member = { of, owner, stream, events, verdict, carried: new Set() }
    place.join(member)
    const leave = () => this.#leave(place, member)
    stream.start({ data: () => {}, ended: leave, reset: leave, closed: leave })
    const bound = await place.bound.catch((error: unknown) => {
      leave()
      // What the system said is what OPEN_FAILED says.
      throw error instanceof SluiceError && error.cause !== undefined ? error.cause : error
    })
    if (!place.has(member)) throw new SluiceError('ERR_SLUICE_CLOSED', 'the client gave up while the port was bound')
    // A port that the system has chosen is known only now.
    this.#places.set(formatEndpoint(bound), place)
    return { address: bound.kind === 'unix' ? bound.path : formatHostPort(bound), rule: why }
  }

  #placeFor(bind: Bind, owner: string, shared: boolean): Place {
    const name = formatEndpoint(bind)
    const before = this.#places.get(name)
    if (before !== undefined) {
      if (shared && before.shared) return before
      // A client that was killed and came back as a new session need not wait until the old one has expired.
      const abandoned = before.members.filter((member) => member.owner === owner && member.of.session.waiting)
      for (const member of abandoned) {
        member.stream.abort()
        this.#leave(before, member)
      }
    }
    const place = new Place(bind, shared, this.#udpIdle)
    if (!this.#places.has(name) && !isChosen(bind)) this.#places.set(name, place)
    return place
  }

  #leave(place: Place, member: Member): void {
    place.leave(member)
    if (place.members.length > 0) return
    for (const [name, one] of this.#places) if (one === place) this.#places.delete(name)
  }

  /** Ends the listeners that are not allowed any more, and what came by them; returns how many. */
  recheck(): number {
    let ended = 0
    for (const place of new Set(this.#places.values())) {
      for (const member of place.members.filter(({ verdict }) => !verdict().allowed)) {
        const { pump } = member.of
        pump.touch()
        member.stream.abort()
        this.#leave(place, member)
        for (const end of [...member.carried]) end()
        pump.flush()
        ended++
      }
    }
    return ended
  }
}

function verdictOn(reverse: ReversePolicy, bind: Bind): ReverseVerdict {
  return bind.kind === 'unix' ? reverse.checkPath(bind.path) : reverse.checkPort(bind.host, bind.port, bind.kind)
}

function isChosen(bind: Bind): boolean {
  return bind.kind !== 'unix' && bind.port === 0
}

/** Where a stream of kind LISTEN wants to be listened. */
function bindOf(target: Target): Bind {
  if (target.kind === 'UNIX') return { kind: 'unix', path: target.path }
  if (target.kind === 'TCP' || target.kind === 'UDP') {
    const host = target.host === '' || target.host === 'localhost' ? '127.0.0.1' : target.host
    return { kind: target.kind === 'TCP' ? 'tcp' : 'udp', host, port: target.port }
  }
  throw Object.assign(new Error(`listening for ${target.kind} is not supported`), { code: 'EOPNOTSUPP' })
}
