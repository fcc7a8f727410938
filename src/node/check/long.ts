import { setTimeout as sleep } from 'node:timers/promises'
import type { ClientLink } from '../../link/index.ts'
import { DEFAULT_LIVENESS } from '../../session/index.ts'
import { nodeHost } from '../host.ts'
import type { TunnelClientOptions } from '../tunnel-client.ts'
import type { Found } from './found.ts'
import { roundTrip, withSession } from './session.ts'

/** How often the busy connection says something, in milliseconds, and the quiet one is looked at. */
const BUSY = 500
const LOOK = 50
/** Two ages are alike within this part of the greater. */
const ALIKE = 0.2

interface Kept {
  /** Ages at which connections were cut, in milliseconds. */
  readonly ages: readonly number[]
  /** How long nothing had moved on the first that was cut; or the longest that nothing moved. */
  readonly quiet: number
}

/** Keeps a session for so long, quiet or not, and sees what becomes of its connections. */
function keep(options: TunnelClientOptions, long: number, busy: boolean): Promise<Kept> {
  const ages: number[] = []
  let begun = performance.now()
  let quiet = 0
  let longest = 0
  const events = {
    lost: () => {
      if (ages.length === 0) longest = quiet
      ages.push(performance.now() - begun)
    },
    resumed: () => {
      begun = performance.now()
    },
  }
  const act = async (link: ClientLink): Promise<Kept> => {
    begun = performance.now()
    const end = begun + long
    while (performance.now() < end && !(ages.length > 0 && !busy) && ages.length < 3) {
      if (busy) await Promise.race([roundTrip(link), sleep(long)])
      await sleep(Math.max(1, Math.min(busy ? BUSY : LOOK, end - performance.now())))
      const number = link.session?.carriers[0]
      if (number !== undefined) quiet = link.session!.quietOf(number, nodeHost.now())
      if (ages.length === 0) longest = Math.max(longest, quiet)
    }
    return { ages, quiet: longest }
  }
  const liveness = busy ? DEFAULT_LIVENESS : { ...DEFAULT_LIVENESS, idle: 0 }
  return withSession(options, act, { events, liveness, limit: long + 1_000 })
}

/** Whether connections are cut when they are quiet, or when they are old: one of each is kept for so many milliseconds. */
export async function checkLong(options: TunnelClientOptions, long: number): Promise<{ idle: Found; age: Found }> {
  const [silent, busy] = await Promise.all([keep(options, long, false), keep(options, long, true)])
  const [cut] = silent.ages
  const [old] = busy.ages
  const sameAge = cut !== undefined && old !== undefined && Math.abs(cut - old) <= ALIKE * Math.max(cut, old)
  return { idle: idleOf(silent, long, sameAge), age: ageOf(busy, long) }
}

function idleOf({ ages, quiet }: Kept, long: number, sameAge: boolean): Found {
  const after = seconds(quiet)
  if (ages.length === 0) {
    const text = `a connection on which nothing moved for up to ${after} was kept for ${seconds(long)}`
    return { text, facts: { quiet } }
  }
  if (sameAge) return { text: 'not known: connections are cut for their age before', facts: { quiet } }
  return {
    text: `a connection was cut after ${after} on which nothing moved`,
    facts: { cutAfter: quiet },
    obstacle: 'cut-when-idle',
    warnings: ['connect learns that, and says something before; a session goes on over the next connection'],
  }
}

function ageOf({ ages }: Kept, long: number): Found {
  const [first, second] = ages
  if (first === undefined) return { text: `a busy connection was kept for ${seconds(long)}`, facts: { kept: long } }
  if (second === undefined || Math.abs(first - second) > ALIKE * Math.max(first, second)) {
    const times = ages.length === 1 ? 'once' : `${ages.length} times`
    return { text: `a busy connection was lost ${times}, first after ${seconds(first)}`, facts: { ages } }
  }
  return {
    text: `busy connections are cut when they are ${seconds(Math.min(first, second))} old`,
    facts: { cutAfter: Math.min(first, second) },
    obstacle: 'cut-by-age',
    warnings: ['connect learns that, and opens the next connection before; a session goes on over it'],
  }
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 1 : 0)} s`
}
