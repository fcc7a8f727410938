import { createHmac, randomBytes } from 'node:crypto'
import type { SyncHost } from '../link/index.ts'

/** The process's clock, chance and timers. */
export const nodeHost: SyncHost = {
  now: () => performance.now(),
  soon: (act) => process.nextTick(act),
  // After the poll phase: what several sockets brought in this turn leaves together.
  defer: (act) => void setImmediate(act),
  after: (milliseconds, act) => {
    const timer = setTimeout(act, milliseconds)
    return () => clearTimeout(timer)
  },
  random: Math.random,
  randomBytes: (length) => randomBytes(length),
  hmac: (key, data) => createHmac('sha256', key).update(data).digest(),
}
