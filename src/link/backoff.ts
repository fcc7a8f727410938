/** How long to wait between attempts, in milliseconds. */
export interface BackoffOptions {
  readonly first: number
  readonly most: number
}

export const DEFAULT_BACKOFF: BackoffOptions = { first: 250, most: 15_000 }

/**
 * The delay before an attempt: none before the first, then doubling with jitter, so that clients of a server that was
 * restarted do not come back in step.
 *
 * @param attempt 0 for the first
 * @param random from 0 up to 1
 */
export function backoff(attempt: number, random: number, options: BackoffOptions = DEFAULT_BACKOFF): number {
  if (attempt === 0) return 0
  const ceiling = Math.min(options.most, options.first * 2 ** (attempt - 1))
  return ceiling / 2 + (random * ceiling) / 2
}
