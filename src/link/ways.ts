import { messageOf, SluiceError, type SluiceErrorCode } from '../errors/index.ts'
import { Abort, type AbortSignalLike } from './abort.ts'
import type { Carrier } from './carrier.ts'
import { type Greeted, greet } from './greeting.ts'
import type { Host } from './host.ts'

/** Kinds of carriers, from best to worst (spec/http-1.md §5). */
export const WAYS = ['websocket', 'http2', 'stream', 'poll', 'turns'] as const
export type Way = (typeof WAYS)[number]

export interface WaysOptions {
  readonly host: Host
  /** The ways that may be gone, from best to worst. */
  readonly allowed: readonly Way[]
  /** Opens a carrier that is ready for the server's HELLO; `route` is what the server wants in the URL of a join. */
  open(way: Way, route: string | undefined, signal: AbortSignalLike): Promise<Carrier>
  /** The way that worked the last time. */
  readonly known?: Way | undefined
  /** Another way than the last time is used. @param why what was in the way of the best, if that is not it */
  changed?(way: Way, why: string | undefined): void
}

/** The carrier that came first. */
export interface Won extends Greeted {
  readonly way: Way
  /** What was in the way of the best, if that is not it. */
  readonly why: string | undefined
}

/** The best way has so much of a head start, in milliseconds, and each further one before the next. */
const HEAD_START = 500
const STAGGER = 250
/** What another way would not mend. */
const FINAL: ReadonlySet<SluiceErrorCode> = new Set<SluiceErrorCode>([
  'ERR_SLUICE_AUTH',
  'ERR_SLUICE_TLS',
  'ERR_SLUICE_PROXY',
  'ERR_SLUICE_CONFIG',
  'ERR_SLUICE_USAGE',
])

/**
 * Which kind of carrier gets through: they race, the better ones with a head start, as addresses do in RFC 8305, and what won is
 * begun with the next time.
 */
export class Ways {
  readonly #options: WaysOptions
  #current: Way | undefined

  constructor(options: WaysOptions) {
    this.#options = options
    const { known, allowed } = options
    this.#current = known !== undefined && allowed.includes(known) ? known : undefined
  }

  /** The way that was gone last. */
  get current(): Way | undefined {
    return this.#current
  }

  /** Whether there is a better one than that which was gone last. */
  get improvable(): boolean {
    return this.#current !== undefined && this.#options.allowed.indexOf(this.#current) > 0
  }

  /**
   * A carrier on which the server's HELLO has come.
   *
   * @throws SluiceError what is in the way of the best one
   */
  open(route: string | undefined, signal: AbortSignalLike): Promise<Won> {
    const { allowed } = this.#options
    const known = this.#current
    const first = known === undefined ? [] : [known]
    return this.#race([...first, ...allowed.filter((way) => way !== known)], route, signal)
  }

  /** The same of the way that was gone last alone: beside carriers that live, one that is merely slow to come needs no worse one. */
  again(route: string | undefined, signal: AbortSignalLike): Promise<Won> {
    return this.#race([this.#current!], route, signal)
  }

  /** The same of those ways alone that are better than what was gone last. */
  improve(route: string | undefined, signal: AbortSignalLike): Promise<Won> {
    const { allowed } = this.#options
    return this.#race(allowed.slice(0, allowed.indexOf(this.#current!)), route, signal)
  }

  #race(ways: readonly Way[], route: string | undefined, signal: AbortSignalLike): Promise<Won> {
    const { host, allowed } = this.#options
    const errors = new Map<Way, unknown>()
    const attempts = new Map<Way, Abort>()
    let begun = 0
    let over = false
    let cancel = () => {}
    return new Promise((resolve, reject) => {
      const settle = (act: () => void, winner?: Way) => {
        if (over) return
        over = true
        cancel()
        for (const [way, abort] of attempts) if (way !== winner) abort.abort()
        act()
      }
      const begin = () => {
        cancel()
        const way = ways[begun++]
        if (way === undefined || over) return
        if (begun < ways.length) cancel = host.after(begun === 1 ? HEAD_START : STAGGER, begin)
        const abort = new Abort()
        attempts.set(way, abort)
        this.#attempt(way, route, abort).then(
          (greeted) => {
            if (over) return greeted.carrier.destroy()
            const error = errors.get(allowed[0]!)
            settle(() => resolve({ ...greeted, way, why: error === undefined ? undefined : messageOf(error) }), way)
          },
          (error: unknown) => {
            errors.set(way, error)
            const final = error instanceof SluiceError && (FINAL.has(error.code) || error.status === 101)
            if (final) settle(() => reject(error))
            else if (errors.size === ways.length) settle(() => reject(errors.get(allowed[0]!) ?? error))
            else if (begun < ways.length && errors.size === begun) begin()
          },
        )
      }
      signal.onAbort(() => settle(() => reject(new SluiceError('ERR_SLUICE_CLOSED', 'sluice is shutting down'))))
      begin()
    })
  }

  async #attempt(way: Way, route: string | undefined, abort: Abort): Promise<Greeted> {
    const { host, open } = this.#options
    const carrier = await open(way, route, abort)
    let greeted = false
    abort.onAbort(() => {
      if (!greeted) carrier.destroy()
    })
    const result = await greet(carrier, host)
    greeted = true
    return result
  }

  /** The session goes this way now. */
  use({ way, why }: Pick<Won, 'way' | 'why'>): void {
    if (way === this.#current) return
    const first = this.#current === undefined && way === this.#options.allowed[0]
    this.#current = way
    if (!first) this.#options.changed?.(way, why)
  }
}
