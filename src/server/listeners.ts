import { formatHostPort } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { LocalListener, type SocketStream, Splice, type SpliceOutcome, type StreamEndpoint } from '../node/index.ts'
import type { Session, Stream } from '../session/index.ts'
import type { Target } from '../wire/index.ts'
import type { ReversePolicy } from './policy/reverse.ts'

/** What a session's listener needs of the session. */
export interface ListeningSession {
  readonly session: Session
  readonly pump: { touch(): void; flush(): void }
}

/** A listener that is bound. */
interface Live {
  readonly of: ListeningSession
  readonly owner: string
  readonly allowed: () => boolean
  end(): void
}

export interface ListenerEvents {
  /** A connection came, by this rule; every one ends in `ended`. */
  accepted(name: string, rule: string): void
  /** @param duration in milliseconds */
  ended(name: string, outcome: SpliceOutcome, duration: number): void
}

/** Listens for clients (LISTEN, spec §6): each connection that comes becomes a stream to the client. */
export class Listeners {
  readonly #live = new Map<string, Live>()

  get size(): number {
    return this.#live.size
  }

  /**
   * Binds what a stream of kind LISTEN asks for, and unbinds it when the stream ends, with the session at the latest.
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
    const verdict = () =>
      bind.kind === 'unix' ? reverse().checkPath(bind.path) : reverse().checkPort(bind.host, bind.port)
    const { allowed, why } = verdict()
    if (!allowed) throw new SluiceError('ERR_SLUICE_POLICY', why)
    let over = false
    const name = bind.kind === 'unix' ? bind.path : formatHostPort(bind)
    const before = this.#live.get(name)
    // A client that was killed and came back as a new session need not wait until the old one has expired.
    if (before !== undefined && before.owner === owner && before.of.session.waiting) before.end()
    const listener = new LocalListener(bind, (tcp) => {
      if (over) return tcp.reset()
      // A turn later what came at once has been read, and travels with OPEN.
      setImmediate(() => this.#carry(of, stream.id, { name, rule: verdict().why }, tcp, events))
    })
    const end = () => {
      if (over) return
      over = true
      for (const [place, one] of this.#live) if (one === live) this.#live.delete(place)
      listener.close()
    }
    const live: Live = {
      of,
      owner,
      allowed: () => verdict().allowed,
      end: () => {
        stream.abort()
        end()
      },
    }
    stream.start({
      data: () => {},
      ended: end,
      reset: end,
      closed: end,
    })
    const bound = await listener.listen().catch((error: unknown) => {
      // What the system said is what OPEN_FAILED says.
      throw error instanceof SluiceError && error.cause !== undefined ? error.cause : error
    })
    // A port that the system has chosen is known only now.
    const place = bound.kind === 'unix' ? bound.path : formatHostPort(bound)
    this.#live.set(place, live)
    if (over) {
      this.#live.delete(place)
      listener.close()
      throw new SluiceError('ERR_SLUICE_CLOSED', 'the client gave up while the port was bound')
    }
    return { address: place, rule: why }
  }

  /** Ends the listeners that are not allowed any more; returns how many. */
  recheck(): number {
    const forbidden = [...this.#live.values()].filter(({ allowed }) => !allowed())
    for (const { of, end } of forbidden) {
      of.pump.touch()
      end()
      of.pump.flush()
    }
    return forbidden.length
  }

  #carry(
    { session, pump }: ListeningSession,
    listener: number,
    { name, rule }: { readonly name: string; readonly rule: string },
    tcp: SocketStream,
    events: ListenerEvents,
  ): void {
    const { remoteAddress, remotePort } = tcp.socket
    const origin = remoteAddress === undefined ? '' : formatHostPort({ host: remoteAddress, port: remotePort ?? 0 })
    pump.touch()
    events.accepted(name, rule)
    const since = performance.now()
    const splice = new Splice(tcp, pump, (outcome) => events.ended(name, outcome, performance.now() - since))
    splice.start(session.open({ kind: 'ACCEPTED', listener, origin }, splice, performance.now()))
  }
}

/** Where a stream of kind LISTEN wants to be listened. */
function bindOf(target: Target): StreamEndpoint {
  if (target.kind === 'UNIX') return { kind: 'unix', path: target.path }
  if (target.kind === 'TCP') {
    const host = target.host === '' || target.host === 'localhost' ? '127.0.0.1' : target.host
    return { kind: 'tcp', host, port: target.port }
  }
  throw Object.assign(new Error(`listening for ${target.kind} is not supported`), { code: 'EOPNOTSUPP' })
}
