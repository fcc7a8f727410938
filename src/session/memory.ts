/** What may be written over where bytes lie: nothing, the bytes themselves by masking them, or also the 32 before them. */
export type Changes = 'nothing' | 'body' | 'before'

/** Where bytes lie that are read into again when nobody holds them: a slab of the host. */
export interface Memory {
  hold(): void
  release(): void
}
