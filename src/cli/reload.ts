import { unwatchFile, watchFile } from 'node:fs'
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

/** Watches files and reloads on their change; a file that cannot be used is told, and what was stays. */
export class Reload {
  readonly #report: Report
  readonly #things: readonly Reloadable[]

  constructor(things: readonly Reloadable[], report: Report) {
    this.#things = things
    this.#report = report
    for (const thing of things) {
      for (const file of thing.files) {
        watchFile(file, { interval: INTERVAL, persistent: false }, (now, before) => {
          // A file that is being replaced may be away for a moment.
          if (now.mtimeMs !== 0 && (now.mtimeMs !== before.mtimeMs || now.ino !== before.ino)) this.#apply(thing)
        })
      }
    }
  }

  /** Reads everything again. */
  now(): void {
    for (const thing of this.#things) this.#apply(thing)
  }

  close(): void {
    for (const { files } of this.#things) for (const file of files) unwatchFile(file)
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
