import { SluiceError } from '../../errors/index.ts'
import type { ClientLink } from '../../link/index.ts'
import type { Stream } from '../../session/index.ts'
import { nodeHost } from '../host.ts'
import { openFailure } from '../splice-failure.ts'
import type { TunnelClientOptions } from '../tunnel-client.ts'
import type { Found } from './found.ts'
import { CHECK_TARGET, roundTrip, withSession } from './session.ts'

/** Sizes that are moved to measure a rate, in bytes: each larger one only where the one before was quick. */
const SIZES = [16, 128, 1024, 8 * 1024, 64 * 1024].map((kibibytes) => kibibytes * 1024)
/** What takes this long, in milliseconds, is enough to tell the rate. */
const ENOUGH = 400
/** The slowest that the largest of {@link SIZES} may be on the way to {@link ENOUGH}, in milliseconds. */
const LIMIT = 60_000
const BLOCK = Buffer.alloc(64 * 1024, 'sluice check ')
/** Below this many bits per second a line is called slow. */
const SLOW = 1e6
const SEVERAL = 4
/** Several connections help when they carry so many times as much as one. */
const HELP = 1.5

/** Asks the server's own target; resolves with what it said, once it is all there. */
function ask(link: ClientLink, request: string, options: { upload?: number; count?: boolean } = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = []
    let left = options.upload ?? 0
    const stream: Stream = link.open(CHECK_TARGET, {
      data: (bytes) => {
        if (!options.count) pieces.push(Buffer.from(bytes))
        stream.consume(bytes.length)
      },
      ended: () => {
        stream.end()
        resolve(Buffer.concat(pieces).toString())
      },
      writable: () => send(),
      failed: (code, text) => reject(openFailure(code, text, '@sluice-check')),
      reset: (_, text) => reject(new SluiceError('ERR_SLUICE_CLOSED', `@sluice-check ended the stream: ${text}`)),
    })
    const send = () => {
      while (left > 0) {
        const piece = BLOCK.subarray(0, left)
        left -= piece.length
        if (!stream.write(piece)) return
      }
      stream.end()
    }
    stream.write(Buffer.from(`${request}\n`))
    if (options.upload === undefined) stream.end()
    else send()
  })
}

/** What `@sluice-check` answers to `who`. */
interface Who {
  readonly version?: string
  readonly user?: string
  readonly groups?: readonly string[]
  readonly time?: number
  readonly rules?: readonly string[]
  readonly reverse?: readonly string[]
}

/** Who we are to the server, and what it lets us do. */
export function checkUser(options: TunnelClientOptions): Promise<Found> {
  return withSession(options, async (link) => {
    let who: Who
    try {
      who = JSON.parse(await ask(link, 'who')) as Who
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      return { text: 'the server does not tell who we are and what we may do: it is older, or a rule forbids it' }
    }
    const { version = '?', user = '?', groups = [], rules = [], reverse = [] } = who
    const known = groups.length === 0 ? user : `${user} of ${groups.join(', ')}`
    const reach = rules.length === 0 ? 'nothing' : rules.join(' ')
    const listen = reverse.length === 0 ? '' : `; it listens for us on ${reverse.join(' ')}`
    return { text: `to sluice ${version} we are ${known}, and may reach ${reach}${listen}`, facts: { ...who } }
  })
}

interface Moved {
  /** Bits per second. */
  readonly rate: number
  readonly bytes: number
}

/** Moves more and more, until it takes long enough to tell the rate. */
async function measure(move: (bytes: number) => Promise<void>, least: number, from = 0): Promise<Moved> {
  for (let index = from; ; index++) {
    const bytes = SIZES[index]!
    const started = performance.now()
    await move(bytes)
    const took = performance.now() - started
    if (took >= ENOUGH || index === SIZES.length - 1) {
      return { rate: (bytes * 8e3) / Math.max(1, took - least), bytes }
    }
  }
}

const down = (link: ClientLink) => async (bytes: number) => {
  await ask(link, `down ${bytes}`, { count: true })
}

const up = (link: ClientLink) => async (bytes: number) => {
  await ask(link, 'up', { upload: bytes, count: true })
}

/** How much goes through, each way, over one connection, and whether it is cut meanwhile. */
export function checkRate(options: TunnelClientOptions): Promise<Found> {
  const cuts: number[] = []
  let link: ClientLink | undefined
  const lost = () => {
    const { received = 0, sent = 0 } = link?.session?.figures ?? {}
    cuts.push(received + sent)
  }
  const act = async (opened: ClientLink): Promise<Found> => {
    link = opened
    const least = await roundTrip(link)
    let downward: Moved
    try {
      downward = await measure(down(link), least)
    } catch (error) {
      if (error instanceof SluiceError && error.code === 'ERR_SLUICE_POLICY') {
        return { text: 'not measured: the server has no @sluice-check for us' }
      }
      throw error
    }
    const upward = await measure(up(link), least)
    const facts = { down: downward.rate, up: upward.rate, bytes: downward.bytes + upward.bytes, cuts: cuts.length }
    const text = `${mbit(downward.rate)} down, ${mbit(upward.rate)} up, over one connection`
    if (cuts.length >= 2) {
      const size = sizeOf(cuts)
      const warning = `connections are cut after some ${(size / 1024 / 1024).toFixed(1)} MiB: a session goes on over the next one, nothing is lost`
      return { text, facts: { ...facts, cutAfter: size }, obstacle: 'cut-by-size', warnings: [warning] }
    }
    return { text, facts, obstacle: Math.min(downward.rate, upward.rate) < SLOW ? 'slow-line' : undefined }
  }
  return withSession(options, act, { events: { lost }, limit: LIMIT })
}

/** How many bytes lay between two cuts: the middle of what was seen. */
function sizeOf(cuts: readonly number[]): number {
  const sizes = cuts.map((moved, index) => moved - (cuts[index - 1] ?? 0)).sort((a, b) => a - b)
  return sizes[Math.floor(sizes.length / 2)]!
}

/** Whether several connections carry more than one. @param one what one carries down, in bits per second */
export function checkSeveral(options: TunnelClientOptions, one: number): Promise<Found> {
  const act = async (link: ClientLink): Promise<Found> => {
    for (let i = 0; i < 20 && link.session!.carriers.length < SEVERAL; i++) {
      await new Promise<void>((resolve) => void nodeHost.after(50, resolve))
    }
    const { length } = link.session!.carriers
    if (length < 2) return { text: 'no second connection could be had', facts: { connections: length } }
    const least = await roundTrip(link)
    // From where one connection would have taken long enough, so that the start is not all that is seen.
    const from = SIZES.findIndex((size) => (size * 8e3) / one >= ENOUGH)
    const { rate } = await measure(down(link), least, from < 0 ? SIZES.length - 1 : from)
    const facts = { connections: length, down: rate }
    const text = `${length} connections together carry ${mbit(rate)} down`
    if (rate < one * HELP) return { text: `${text}: one is enough`, facts }
    return {
      text: `${text}: more than one does, so connect opens more while they help`,
      facts,
      obstacle: 'slow-connections',
    }
  }
  return withSession(options, act, { carriers: SEVERAL, limit: LIMIT })
}

function mbit(bits: number): string {
  const rate = bits / 1e6
  return `${rate >= 100 ? rate.toFixed(0) : rate >= 1 ? rate.toFixed(1) : rate.toFixed(2)} Mbit/s`
}
