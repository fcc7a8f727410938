import { CODES, SluiceError } from '../errors/index.ts'

/** What the process returns. The codes of errors are in {@link CODES}. */
export const ExitCode = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const

export function exitCodeOf(error: unknown): number {
  return error instanceof SluiceError ? CODES[error.code].exit : ExitCode.failed
}

/** Takes a command's exit code when it is over. */
export type Finish = (code: number) => void
