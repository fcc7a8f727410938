import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { dirname } from 'node:path'
import { PathCuts, type PathCutsState, WAYS, type Way } from '../link/index.ts'

/** What one path was seen to do, as it is kept in the file. */
interface Kept extends PathCutsState {
  /** The kind of carrier that got through, where it was not a WebSocket. */
  readonly way?: Way
  /** Day of the last change, as `Date.now()`. */
  readonly at: number
}

/** Older knowledge is dropped: networks change. */
const KEPT_FOR = 30 * 24 * 3600_000
const MOST_PATHS = 256

/**
 * What was learned of paths, for each server and each network that this machine was in, kept in a small JSON file. A file that
 * cannot be read or written costs the knowledge, nothing else.
 */
export class PathMemory {
  readonly #file: string | undefined
  readonly #paths = new Map<string, PathCuts>()
  readonly #times = new Map<string, number>()
  /** Kinds of carriers, by server and all networks that this machine is in: chosen before a connection is. */
  readonly #ways = new Map<string, Way>()
  #networks = new Map<string, string>()

  /** @param file where to keep it; undefined to keep it for the life of the process only */
  constructor(file?: string) {
    this.#file = file
    if (file === undefined) return
    for (const [key, { at, way, ...state }] of Object.entries(readKept(file))) {
      if (Date.now() - at > KEPT_FOR) continue
      if (way === undefined) this.#paths.set(key, new PathCuts(state))
      else if (WAYS.includes(way)) this.#ways.set(key, way)
      this.#times.set(key, at)
    }
  }

  /** What is known of the way to a server from a local address. */
  of(server: string, localAddress: string | undefined): PathCuts {
    const key = `${server} from ${this.#network(localAddress)}`
    let cuts = this.#paths.get(key)
    if (cuts === undefined) {
      cuts = new PathCuts()
      this.#paths.set(key, cuts)
    }
    this.#times.set(key, Date.now())
    return cuts
  }

  /** The kind of carrier that got through to a server from where this machine is now; undefined if nothing is known. */
  wayTo(server: string): Way | undefined {
    return this.#ways.get(`${server} at ${this.#here()}`)
  }

  /** This kind of carrier got through to a server. */
  wentBy(server: string, way: Way): void {
    const key = `${server} at ${this.#here()}`
    // The WebSocket is tried first in any case.
    if (way === 'websocket') this.#ways.delete(key)
    else this.#ways.set(key, way)
    this.#times.set(key, Date.now())
    this.save()
  }

  /** What is known, by path. */
  get known(): Readonly<Record<string, Omit<Kept, 'at'>>> {
    const cuts = [...this.#paths].map(([key, { state }]) => [key, state] as const)
    const ways = [...this.#ways].map(([key, way]) => [key, { way }] as const)
    return Object.fromEntries([...cuts.filter(([, state]) => Object.keys(state).length > 0), ...ways])
  }

  /** Writes what is known to the file. */
  save(): void {
    if (this.#file === undefined) return
    const all = Object.entries(this.known).map(
      ([key, state]) => [key, { ...state, at: this.#times.get(key) ?? 0 }] as const,
    )
    const newest = all.sort(([, a], [, b]) => b.at - a.at).slice(0, MOST_PATHS)
    const temporary = `${this.#file}.${process.pid}`
    try {
      mkdirSync(dirname(this.#file), { recursive: true, mode: 0o700 })
      writeFileSync(temporary, `${JSON.stringify(Object.fromEntries(newest), undefined, 2)}\n`, { mode: 0o600 })
      renameSync(temporary, this.#file)
    } catch {
      // A home that cannot be written to: the next run learns again.
    }
  }

  /** The networks that this machine is in, as CIDRs. */
  #here(): string {
    const own = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
    const networks = own.filter(({ internal, cidr }) => !internal && cidr !== null && !cidr.startsWith('fe80:'))
    return networks.map(({ cidr }) => cidr).join(' ') || 'nowhere'
  }

  /** The network that an address of this machine is in, as CIDR. */
  #network(address: string | undefined): string {
    if (address === undefined) return 'anywhere'
    const known = this.#networks.get(address)
    if (known !== undefined) return known
    const own = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
    const cidr = own.find((entry) => entry.address === address)?.cidr ?? address
    this.#networks = new Map([...this.#networks, [address, cidr]])
    return cidr
  }
}

function readKept(file: string): Readonly<Record<string, Kept>> {
  try {
    const read = JSON.parse(readFileSync(file, 'utf8')) as Record<string, Kept>
    return Object.fromEntries(
      Object.entries(read).filter(([, { at, limit, seen, age, ageSeen }]) =>
        [at, limit ?? 0, seen ?? 0, age ?? 0, ageSeen ?? 0].every(Number.isFinite),
      ),
    )
  } catch {
    return {}
  }
}
