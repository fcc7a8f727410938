import { messageOf, SluiceError } from '../errors/index.ts'

/** How much is said. */
export type Level = 'quiet' | 'normal' | 'verbose'

/** What a command says to people, on standard error. Standard output is for data. */
export class Report {
  readonly #level: Level
  readonly #write: (text: string) => void

  constructor(level: Level, write: (text: string) => void = (text) => void process.stderr.write(text)) {
    this.#level = level
    this.#write = write
  }

  /** What the user waits for. */
  say(text: string): void {
    if (this.#level !== 'quiet') this.#line(text)
  }

  /** What only a curious user wants. */
  detail(text: string): void {
    if (this.#level === 'verbose') this.#line(text)
  }

  /** What went wrong, with the remedy; said however quiet. */
  problem(error: unknown): void {
    this.#line(messageOf(error))
    if (!(error instanceof SluiceError) || error.remedy === undefined) return
    for (const line of error.remedy.split('\n')) this.#line(`  ${line}`)
  }

  #line(text: string): void {
    this.#write(`sluice: ${escapeControl(text)}\n`)
  }
}

/** Makes control characters visible, so that what a peer sent cannot drive the terminal. */
export function escapeControl(text: string): string {
  return text.replace(
    /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}
