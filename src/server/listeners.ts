import { formatHostPort } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { LocalListener, type SocketStream, Splice, type SpliceOutcome, type StreamEndpoint } from '../node/index.ts'
import type { Session, Stream } from '../session/index.ts'
import type { Target } from '../wire/index.ts'
import type { ReversePolicy } from './policy/reverse.ts'

/** What a session's listener needs of the session. */
export interface ListeningSession {
  readonly session: Session
  readonly pump: { touch(): void }
}

/** A listener that is bound. */
interface Live {
  readonly of: ListeningSession
  readonly owner: string
  end(): void
}

export interface ListenerEvents {
  /** A connection came; every one ends in `ended`. */
  accepted(name: string): void
  ended(name: string, outcome: SpliceOutcome): void
}

/** Listens for clients (LISTEN, spec §6): each connection that comes becomes a stream to the client. */
export class Listeners {
  readonly #policy: ReversePolicy
  readonly #live = new Map<string, Live>()

  constructor(policy: ReversePolicy) {
    this.#policy = policy
  }

  get size(): number {
    return this.#live.size
  }

  /**
   * Binds what a stream of kind LISTEN asks for, and unbinds it when the stream ends, with the session at the latest.
   *
   * @returns the address in use
   * @throws SluiceError `ERR_SLUICE_POLICY`; the system's error where it cannot be bound
   */
  async listen(of: ListeningSession, owner: string, stream: Stream, events: ListenerEvents): Promise<string> {
    const bind = this.#check(stream.target)
    let over = false
    const name = bind.kind === 'unix' ? bind.path : formatHostPort(bind)
    const before = this.#live.get(name)
    // A client that was killed and came back as a new session need not wait until the old one has expired.
    if (before !== undefined && before.owner === owner && before.of.session.waiting) before.end()
    const listener = new LocalListener(bind, (tcp) => {
      if (over) return tcp.reset()
      // A turn later what came at once has been read, and travels with OPEN.
      setImmediate(() => this.#carry(of, stream.id, name, tcp, events))
    })
    const end = () => {
      if (over) return
      over = true
      if (this.#live.get(name) === live) this.#live.delete(name)
      listener.close()
    }
    const live: Live = {
      of,
      owner,
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
    this.#live.set(name, live)
    if (over) {
      this.#live.delete(name)
      listener.close()
      throw new SluiceError('ERR_SLUICE_CLOSED', 'the client gave up while the port was bound')
    }
    return bound.kind === 'unix' ? bound.path : formatHostPort(bound)
  }

  #check(target: Target): StreamEndpoint {
    if (target.kind === 'UNIX') {
      const { allowed, why } = this.#policy.checkPath(target.path)
      if (!allowed) throw new SluiceError('ERR_SLUICE_POLICY', why)
      return { kind: 'unix', path: target.path }
    }
    if (target.kind !== 'TCP') {
      throw Object.assign(new Error(`listening for ${target.kind} is not supported`), { code: 'EOPNOTSUPP' })
    }
    const host = target.host === '' || target.host === 'localhost' ? '127.0.0.1' : target.host
    const { allowed, why } = this.#policy.checkPort(host, target.port)
    if (!allowed) throw new SluiceError('ERR_SLUICE_POLICY', why)
    return { kind: 'tcp', host, port: target.port }
  }

  #carry(
    { session, pump }: ListeningSession,
    listener: number,
    name: string,
    tcp: SocketStream,
    events: ListenerEvents,
  ): void {
    const { remoteAddress, remotePort } = tcp.socket
    const origin = remoteAddress === undefined ? '' : formatHostPort({ host: remoteAddress, port: remotePort ?? 0 })
    pump.touch()
    events.accepted(name)
    const splice = new Splice(tcp, pump, (outcome) => events.ended(name, outcome))
    splice.start(session.open({ kind: 'ACCEPTED', listener, origin }, splice, performance.now()))
  }
}
