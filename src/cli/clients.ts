import { Client, type ClientSettings } from './client.ts'
import type { Report } from './report.ts'
import type { ProcessState } from './state.ts'
import type { Stop } from './world.ts'

/** The servers that one process is a client of; which they are may change. */
export class Clients {
  readonly #stop: Stop
  readonly #reportFor: (settings: ClientSettings) => Report
  readonly #live = new Map<Client, Report>()
  #failure: unknown
  #allOver: () => void = () => {}

  /** @param reportFor what one of them says goes there */
  constructor(stop: Stop, reportFor: (settings: ClientSettings) => Report) {
    this.#stop = stop
    this.#reportFor = reportFor
  }

  /**
   * Runs these until the process is to stop, or nothing is left to run.
   *
   * @throws the error of the last one, if all of them have failed
   */
  async run(settings: readonly ClientSettings[]): Promise<void> {
    const over = new Promise<void>((resolve) => (this.#allOver = resolve))
    for (const one of settings) this.#begin(one)
    void this.#stop.promise.then(() => {
      for (const client of this.#live.keys()) client.end()
    })
    await over
    if (this.#failure !== undefined && this.#stop.received === undefined) throw this.#failure
  }

  #begin(settings: ClientSettings): void {
    const report = this.#reportFor(settings)
    const client = new Client(settings, report)
    this.#live.set(client, report)
    client
      .run(this.#stop.again)
      .catch((error: unknown) => {
        this.#failure = error
        // The last one's error is that of the process.
        if (this.#live.size > 1) report.problem(error)
      })
      .finally(() => {
        this.#live.delete(client)
        if (this.#live.size === 0) this.#allOver()
      })
  }

  /**
   * From now on it is these; what stays the same runs on untouched.
   *
   * @returns what has changed, for people
   */
  replace(settings: readonly ClientSettings[]): string {
    const left = new Map([...this.#live.keys()].map((client) => [client.identity, client]))
    const changes: string[] = []
    const fresh = settings.filter((one) => {
      const client = left.get(one.identity)
      if (client === undefined) return true
      left.delete(one.identity)
      const { begun, ended } = client.replace(one.forwards)
      if (begun > 0) changes.push(counted(begun, 'forward', 'begun'))
      if (ended > 0) changes.push(counted(ended, 'forward', 'ended'))
      return false
    })
    // New ones first, so that there is always one: without any the process would end.
    for (const one of fresh) this.#begin(one)
    for (const client of left.values()) client.end()
    if (fresh.length > 0) changes.push(counted(fresh.length, 'server', 'begun'))
    if (left.size > 0) changes.push(counted(left.size, 'server', 'ended'))
    return changes.length === 0 ? ': nothing has changed' : `: ${changes.join(', ')}`
  }

  retryNow(): void {
    for (const client of this.#live.keys()) client.retryNow()
  }

  get states(): ProcessState[] {
    return [...this.#live.keys()].map(({ state }) => state)
  }
}

function counted(count: number, what: string, how: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'} ${how}`
}
