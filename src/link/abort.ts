/** The part of AbortSignal that is needed here, so that this room knows no host. */
export interface AbortSignalLike {
  readonly aborted: boolean
  onAbort(act: () => void): void
}

export class Abort implements AbortSignalLike {
  aborted = false
  #acts: (() => void)[] = []

  onAbort(act: () => void): void {
    if (this.aborted) act()
    else this.#acts.push(act)
  }

  abort(): void {
    if (this.aborted) return
    this.aborted = true
    for (const act of this.#acts) act()
  }
}
