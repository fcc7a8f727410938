import type { Host } from '../link/index.ts'

/** Clock, chance and timers of any host with the Web APIs. */
export const webHost: Host = {
  now: () => performance.now(),
  soon: (act) => queueMicrotask(act),
  defer: (act) => void setTimeout(act, 0),
  after: (milliseconds, act) => {
    const timer = setTimeout(act, milliseconds)
    return () => clearTimeout(timer)
  },
  random: () => Math.random(),
  randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  hmac: async (key, data) => {
    const algorithm = { name: 'HMAC', hash: 'SHA-256' }
    const imported = await crypto.subtle.importKey('raw', new Uint8Array(key), algorithm, false, ['sign'])
    return new Uint8Array(await crypto.subtle.sign('HMAC', imported, new Uint8Array(data)))
  },
}
