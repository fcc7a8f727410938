import { ExitCode } from './exit-codes.ts'
import { Report } from './report.ts'

/** The flags that say how much is said, and how. */
export interface ReportFlags {
  quiet?: boolean
  verbose?: boolean
  /** `text`, `json`, or `auto`: text in a terminal. Commands that keep no log have none, and speak to people. */
  logFormat?: string
}

/** The report that `-q`, `-v` and `--log-format` ask for; see {@link Report} for the rest. */
export function reportFor(
  { quiet, verbose, logFormat }: ReportFlags,
  about?: string,
  write?: (text: string) => void,
): Report {
  const level = quiet ? 'quiet' : verbose ? 'verbose' : 'normal'
  const json = logFormat === 'json' || (logFormat === 'auto' && !process.stderr.isTTY)
  return new Report(level, json ? 'json' : 'text', about, write)
}

/** The signals that end a command. */
export interface Stop {
  /** Resolves with the first SIGINT or SIGTERM. */
  readonly promise: Promise<void>
  /** Resolves with the second one. */
  readonly again: Promise<void>
  readonly received: NodeJS.Signals | undefined
  readonly exitCode: number
  /** Has this done at each SIGHUP. */
  onHangUp(act: () => void): void
  release(): void
}

/** Begins to listen for signals. */
export function onSignals(): Stop {
  let received: NodeJS.Signals | undefined
  let first = () => {}
  let second = () => {}
  const promise = new Promise<void>((resolve) => {
    first = resolve
  })
  const again = new Promise<void>((resolve) => {
    second = resolve
  })
  const end = (signal: NodeJS.Signals) => {
    if (received !== undefined) second()
    received ??= signal
    first()
  }
  let onHangUp = () => {}
  const hangUp = () => onHangUp()
  process.on('SIGINT', end)
  process.on('SIGTERM', end)
  process.on('SIGHUP', hangUp)
  return {
    promise,
    again,
    get received() {
      return received
    },
    get exitCode() {
      return received === 'SIGINT' ? ExitCode.interrupted : ExitCode.ok
    },
    onHangUp: (act) => {
      onHangUp = act
    },
    release: () => {
      process.off('SIGINT', end)
      process.off('SIGTERM', end)
      process.off('SIGHUP', hangUp)
    },
  }
}
