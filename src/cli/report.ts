import { messageOf, SluiceError } from '../errors/index.ts'

/** How much is said. */
export type Level = 'quiet' | 'normal' | 'verbose'

/** Lines for people, or a JSON object in each line: `time`, `level`, `message`, `about` where there are several servers, and of errors `code` and `remedy`. */
export type LogFormat = 'text' | 'json'

/** What a command says, on standard error. Standard output is for data. */
export class Report {
  readonly #level: Level
  readonly #format: LogFormat
  readonly #about: string | undefined
  readonly #write: (text: string) => void

  /** @param about what everything that is said is about, where it could be about several things */
  constructor(level: Level, format: LogFormat = 'text', about?: string, write: (text: string) => void = toStderr) {
    this.#level = level
    this.#format = format
    this.#about = about
    this.#write = write
  }

  /** What the user waits for. */
  say(text: string): void {
    if (this.#level !== 'quiet') this.#line('info', text)
  }

  /** What only a curious user wants. */
  detail(text: string): void {
    if (this.#level === 'verbose') this.#line('debug', text)
  }

  /** What went wrong, with the remedy; said however quiet. */
  problem(error: unknown): void {
    const facts = error instanceof SluiceError ? { code: error.code, remedy: error.remedy } : {}
    this.#line('error', messageOf(error), facts)
    if (this.#format === 'json') return
    for (const line of facts.remedy?.split('\n') ?? []) this.#line('error', `  ${line}`)
  }

  #line(level: string, message: string, facts: { code?: string; remedy?: string | undefined } = {}): void {
    const about = this.#about
    if (this.#format === 'text') {
      return this.#write(`sluice: ${escapeControl(about === undefined ? message : `${about}: ${message}`)}\n`)
    }
    const entry = {
      time: new Date().toISOString(),
      level,
      ...(about === undefined ? {} : { about }),
      message,
      ...facts,
    }
    this.#write(`${JSON.stringify(entry)}\n`)
  }
}

function toStderr(text: string): void {
  process.stderr.write(text)
}

/** Makes control characters visible, so that what a peer sent cannot drive the terminal. */
export function escapeControl(text: string): string {
  return text.replace(
    /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}
