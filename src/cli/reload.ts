import { statSync } from 'node:fs'
import type { Report } from './report.ts'

/** How often files are looked at, in milliseconds: what a change forbids ends within a second. */
const INTERVAL = 500

/** Something that is read from files, and read again when they change. */
export interface Reloadable {
  /** For people: "token file". */
  readonly what: string
  readonly files: readonly string[]
  /** Reads and applies; what it returns is said. If it throws, nothing has changed. */
  apply(): string
}

/** Looks at files and reloads on their change; a file that cannot be used is told, and what was stays. */
export class Reload {
  readonly #report: Report
  readonly #things: readonly Reloadable[]
  readonly #seen = new Map<string, string>()
  readonly #timer: NodeJS.Timeout

  constructor(things: readonly Reloadable[], report: Report) {
    this.#report = report
    this.#things = things
    for (const file of things.flatMap(({ files }) => files)) this.#seen.set(file, stateOf(file))
    this.#timer = setInterval(() => this.#look(), INTERVAL)
    this.#timer.unref()
  }

  /** Reads everything again. */
  now(): void {
    for (const thing of this.#things) this.#apply(thing)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    for (const thing of this.#things) {
      const changed = thing.files.filter((file) => {
        const state = stateOf(file)
        // A file that is being replaced may be away for a moment.
        if (state === GONE || state === this.#seen.get(file)) return false
        this.#seen.set(file, state)
        return true
      })
      if (changed.length > 0) this.#apply(thing)
    }
  }

  #apply({ what, apply }: Reloadable): void {
    try {
      this.#report.say(`${what} read again${apply()}`)
    } catch (error) {
      this.#report.problem(error)
      this.#report.say(`the ${what} stays as it was`)
    }
  }
}

const GONE = 'gone'

/** What differs when a file was written or replaced. */
function stateOf(file: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(file)
    return `${ino} ${size} ${mtimeMs}`
  } catch {
    return GONE
  }
}
