import type { TokenEntry } from '../../config/index.ts'
import { Policy } from '../policy/policy.ts'
import { ReversePolicy } from '../policy/reverse.ts'
import type { Rules } from '../policy/rules.ts'

/** Until when, in milliseconds since 1970, and for what somebody is let in. */
export interface Terms {
  readonly expires: number
  readonly rules: Partial<Rules>
}

/** What a line of the token file says beside the credential. */
export function termsOf({ expires, allow, allowReverse }: TokenEntry): Terms {
  return {
    expires: expires === undefined ? Number.POSITIVE_INFINITY : Date.parse(expires),
    rules: {
      ...(allow === undefined ? {} : { policy: new Policy(allow) }),
      ...(allowReverse === undefined ? {} : { reverse: new ReversePolicy(allowReverse) }),
    },
  }
}
