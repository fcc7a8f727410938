import type net from 'node:net'

/** How long something may take, what it is then, and what ends it sooner. */
export interface Limits {
  /** In milliseconds. */
  readonly timeout: number
  late(): Error
  readonly signal?: AbortSignal | undefined
}

/** How it ends: the first of these counts, the others do nothing. */
export interface Outcome<Result> {
  done(result: Result): void
  fail(error: Error): void
}

/**
 * Waits for what ends by events, within limits.
 *
 * @param begin starts it, and returns what takes the listeners off again; that is called once, with the error if it failed
 * @throws what `fail` was given, `late()`, or the reason of the signal
 */
export function within<Result>(
  { timeout, late, signal }: Limits,
  begin: (outcome: Outcome<Result>) => (error: Error | undefined) => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    let ended: { readonly error: Error | undefined } | undefined
    let undo: ((error: Error | undefined) => void) | undefined
    const end = (error: Error | undefined, act: () => void): void => {
      if (ended !== undefined) return
      ended = { error }
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      undo?.(error)
      act()
    }
    const fail = (error: Error): void => end(error, () => reject(error))
    const abort = (): void => fail(signal?.reason as Error)
    const timer = setTimeout(() => fail(late()), timeout)
    signal?.addEventListener('abort', abort)
    undo = begin({ done: (result) => end(undefined, () => resolve(result)), fail })
    // It may have ended while it began.
    if (ended !== undefined) undo((ended as { error: Error | undefined }).error)
    else if (signal?.aborted) abort()
  })
}

/** For the end of {@link within}: a socket without the listener, or destroyed if it is of no use. */
export function letGo(socket: net.Socket, onError: (error: Error) => void, error: Error | undefined): void {
  socket.off('error', onError)
  if (error === undefined) return
  socket.on('error', () => {})
  socket.destroy()
}
