/** Where bytes lie that are read into again when nobody holds them: a slab of the host. */
export interface Memory {
  hold(): void
  release(): void
}
