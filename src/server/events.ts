import type { ConnectionOutcome } from './live.ts'

/** What happens at a tunnel, for logs. Nothing here is a secret; what a peer chose is in `target` alone. */
export type TunnelEvent =
  | { readonly type: 'refused'; readonly from: string; readonly status: number; readonly message: string }
  | {
      readonly type: 'opened'
      readonly from: string
      readonly principal: string
      readonly target: string
      /** Which rule allowed it. */
      readonly rule: string
    }
  | {
      readonly type: 'ended'
      readonly from: string
      readonly principal: string
      readonly target: string
      readonly outcome: ConnectionOutcome
    }
  | {
      readonly type: 'session'
      readonly from: string
      readonly principal: string
      readonly what: 'started' | 'lost' | 'joined' | 'ended' | 'refused'
      readonly detail: string
    }
  | {
      readonly type: 'failed'
      readonly from: string
      readonly principal: string
      readonly target: string
      /** In plain mode the close code, in a session the code of OPEN_FAILED. */
      readonly code: number
      readonly reason: string
      /** For the operator: which rule, which address. */
      readonly detail: string
    }
