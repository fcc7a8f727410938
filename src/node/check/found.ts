import type { SluiceError } from '../../errors/index.ts'

/** What stands in the way although something gets through, or in the way of something. */
export type ObstacleName =
  | 'dead-address'
  | 'upgrade-removed'
  | 'upgrade-refused'
  | 'websocket-reset'
  | 'websocket-dropped'
  | 'requests-kept-back'
  | 'answers-kept-back'
  | 'one-request-at-a-time'
  | 'cut-by-size'
  | 'cut-when-idle'
  | 'cut-by-age'
  | 'slow-connections'
  | 'slow-line'

/** What a look at something found. */
export interface Found {
  readonly text: string
  readonly warnings?: readonly string[]
  readonly facts?: Readonly<Record<string, unknown>>
  readonly obstacle?: ObstacleName | undefined
}

/** A look that failed because of something that has a name. */
export class Blocked extends Error {
  readonly obstacle: ObstacleName
  override readonly cause: SluiceError
  readonly facts: Readonly<Record<string, unknown>>

  constructor(obstacle: ObstacleName, cause: SluiceError, facts: Readonly<Record<string, unknown>> = {}) {
    super(cause.message)
    this.obstacle = obstacle
    this.cause = cause
    this.facts = facts
  }
}
