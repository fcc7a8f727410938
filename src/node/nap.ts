/** A wait that can be cut short. */
export class Nap {
  #wake: () => void = () => {}

  /** Waits so many milliseconds, or until {@link wake}. */
  take(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  wake(): void {
    this.#wake()
  }
}
