import { escapeControl } from './report.ts'
import type { ProcessState, SessionState } from './state.ts'
import { formatBytes } from './units.ts'
import type { ReportFlags } from './world.ts'

/** How often what is shown is looked at, in milliseconds. */
const INTERVAL = 1_000
/** Clears from the cursor to the end of the screen (ECMA-48 §8.3.39). */
const CLEAR = '\x1b[J'
const up = (lines: number) => `\x1b[${lines}A`

/** A terminal, as far as it is needed. */
export interface Terminal {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/**
 * A few lines at the end of a terminal that follow what runs: where it listens, to what, the round trip, what flows. What is
 * said otherwise goes above them.
 */
export class Display {
  readonly #terminal: Terminal
  #timer: NodeJS.Timeout | undefined
  #states: () => readonly ProcessState[] = () => []
  #shown: readonly string[] = []
  /** The same as they were cut for the terminal. */
  #drawn: readonly string[] = []
  #flow = new Flow()

  private constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  /** A display where there is a terminal that can have one, and nobody asked for quiet or for JSON. */
  static on(terminal: Terminal, { quiet, logFormat }: ReportFlags): Display | undefined {
    const { TERM, CI } = process.env
    const fit = terminal.isTTY === true && TERM !== undefined && TERM !== 'dumb' && !CI
    return fit && !quiet && logFormat !== 'json' ? new Display(terminal) : undefined
  }

  /** Shows this from now on. */
  show(states: () => readonly ProcessState[]): void {
    this.#states = states
    this.#timer = setInterval(() => this.#refresh(), INTERVAL)
    this.#timer.unref()
  }

  /** Writes whole lines above what is shown. */
  readonly write = (text: string): void => {
    this.#terminal.write(`${this.#erase()}${text}`)
    this.#draw(this.#shown)
  }

  close(): void {
    clearInterval(this.#timer)
    this.#terminal.write(this.#erase())
    this.#draw([])
  }

  #refresh(): void {
    const lines = this.#states().flatMap((state) => displayLines(state, this.#flow.rates(state, performance.now())))
    if (lines.join('\n') === this.#shown.join('\n')) return
    this.#terminal.write(this.#erase())
    this.#draw(lines)
  }

  #draw(lines: readonly string[]): void {
    this.#shown = lines
    const width = this.#width
    // A line that would wrap is cut, so that it is known how far up they begin.
    this.#drawn = lines.map((line) => (line.length < width ? line : `${line.slice(0, width - 2)}…`))
    this.#terminal.write(this.#drawn.map((line) => `${line}\n`).join(''))
  }

  #erase(): string {
    if (this.#drawn.length === 0) return ''
    // Since they were drawn the terminal may have become narrower, and have wrapped them.
    const rows = this.#drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / this.#width)), 0)
    return `${up(rows)}\r${CLEAR}`
  }

  get #width(): number {
    // Some terminals say that they have no columns.
    return Math.max(20, this.#terminal.columns || 80)
  }
}

/** Bytes per second, up and down. */
export interface Rates {
  readonly up: number
  readonly down: number
}

/** How fast the sessions of each server move, from one look to the next. */
class Flow {
  readonly #last = new Map<string, { readonly at: number; readonly sent: number; readonly received: number }>()

  rates({ address, sessions }: ProcessState, now: number): Rates {
    const total = (key: 'sent' | 'received') => sessions.reduce((sum, session) => sum + session[key], 0)
    const current = { at: now, sent: total('sent'), received: total('received') }
    const before = this.#last.get(address)
    this.#last.set(address, current)
    if (before === undefined) return { up: 0, down: 0 }
    const seconds = Math.max(1, now - before.at) / 1000
    // A new session counts from nothing.
    const rate = (key: 'sent' | 'received') => Math.max(0, current[key] - before[key]) / seconds
    return { up: rate('sent'), down: rate('received') }
  }
}

/** What is shown of one server. */
export function displayLines({ address, forwards = [], sessions }: ProcessState, { up, down }: Rates): string[] {
  const width = Math.max(0, ...forwards.map(({ listen }) => listen.length))
  const connections = forwards.reduce((sum, forward) => sum + forward.connections, 0)
  const flow = connections === 0 && up + down === 0 ? '' : `, ${formatBytes(up)}/s up, ${formatBytes(down)}/s down`
  return [
    `  ${address}: ${reach(sessions)}${flow}`,
    ...forwards.map(
      ({ listen, target, connections: count }) =>
        `    ${listen.padEnd(width)} → ${target}${count === 0 ? '' : `  ${count} connection${count === 1 ? '' : 's'}`}`,
    ),
  ].map(escapeControl)
}

function reach(sessions: readonly SessionState[]): string {
  const [session] = sessions
  if (session === undefined) return 'no session'
  if (session.waiting) return 'connection lost, coming back'
  const trips = session.carriers.flatMap(({ roundTrip }) => (roundTrip === undefined ? [] : [roundTrip]))
  const [count, trip] = [session.carriers.length, Math.min(...trips)]
  const ways = count > 1 ? `, ${count} at once` : ''
  return `${trips.length === 0 ? 'connected' : `round trip ${trip < 10 ? trip.toFixed(1) : trip.toFixed(0)} ms`}${ways}`
}
