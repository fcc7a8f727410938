import net from 'node:net'
import type { Target } from '../../config/index.ts'
import { messageOf, SluiceError } from '../../errors/index.ts'
import type { Way } from '../../link/index.ts'
import { type TunnelClientOptions, waysTo } from '../tunnel-client.ts'
import { checkBodies } from './bodies.ts'
import { Blocked, type Found, type ObstacleName } from './found.ts'
import { checkHttp } from './http.ts'
import { checkName, checkProxy, checkTcp, checkTls } from './line.ts'
import { checkLong } from './long.ts'
import { checkRate, checkSeveral, checkUser } from './measure.ts'
import { checkSession, checkTarget } from './session.ts'

export type CheckName =
  | 'name'
  | 'proxy'
  | 'tcp'
  | 'tls'
  | 'http'
  | Way
  | 'bodies'
  | 'user'
  | 'target'
  | 'rate'
  | 'several'
  | 'idle'
  | 'age'

/** One thing that was looked at on the way to a server. */
export interface CheckStep {
  readonly name: CheckName
  readonly ok: boolean
  /** How long it took, in milliseconds. */
  readonly took: number
  /** What was found, for people. */
  readonly text: string
  /** What is odd although it works. */
  readonly warnings: readonly string[]
  /** What of the known obstacles this shows. */
  readonly obstacle?: ObstacleName
  /** Why it failed, with the remedy. */
  readonly error?: SluiceError
  readonly facts: Readonly<Record<string, unknown>>
}

export interface CheckOptions {
  /** A target to connect to through the session, to see whether the server lets us. */
  readonly target?: Target | undefined
  /** Whether rates are measured, for some seconds and some MiB. Default true. */
  readonly rates?: boolean
  /** For how many milliseconds connections are kept, quiet ones and others, to see whether they are cut. Default: not at all. */
  readonly long?: number | undefined
}

/**
 * Looks at everything between here and a server, from the name to a session, one step after another. Ends with the first that
 * fails, except that the kinds of carriers are tried until one gets through; then says what goes through that one.
 */
export async function* checkServer(
  options: TunnelClientOptions,
  { target, rates = true, long }: CheckOptions = {},
): AsyncGenerator<CheckStep> {
  for (const [name, act] of stepsTo(options)) {
    const step = await look(name, act)
    yield step
    if (!step.ok) return
  }
  const { url, transport = 'auto' } = options
  let works: CheckStep | undefined
  const ways = transport === 'auto' ? waysTo(url) : [transport]
  for (const way of ways) {
    const step = await look(way, () => checkSession(options, way, ways))
    yield step
    if (step.ok) works = step
    if (step.ok || step.error?.code === 'ERR_SLUICE_AUTH') break
  }
  if (works === undefined) return
  const way = works.name as Way
  const by = { ...options, transport: way }
  if (way !== 'websocket') yield await look('bodies', () => checkBodies(options, way))
  yield await look('user', () => checkUser(by))
  if (target !== undefined) {
    const step = await look('target', () => checkTarget(by, target))
    yield step
    if (!step.ok) return
  }
  if (rates) {
    const rate = await look('rate', () => checkRate(by))
    yield rate
    const { down } = rate.facts
    const far = Number(works.facts.roundTrip) >= FAR && (way === 'websocket' || way === 'http2')
    if (far && typeof down === 'number' && rate.obstacle === undefined) {
      yield await look('several', () => checkSeveral(by, down))
    }
  }
  if (long === undefined) return
  const both = checkLong(by, long)
  for (const name of ['idle', 'age'] as const) yield await look(name, async () => (await both)[name])
}

/** Below this round trip, in milliseconds, several connections do not help. */
const FAR = 8

/** What must work before there can be a session. */
function stepsTo(options: TunnelClientOptions): [CheckName, () => Promise<Found>][] {
  const { url, proxy } = options
  const steps: [CheckName, () => Promise<Found>][] = [['http', () => checkHttp(options)]]
  if (url.secure) steps.unshift(['tls', () => checkTls(options)])
  if (proxy !== undefined) steps.unshift(['proxy', () => checkProxy(options)])
  else {
    steps.unshift(['tcp', () => checkTcp(url, options)])
    if (net.isIP(url.host) === 0) steps.unshift(['name', () => checkName(url)])
  }
  return steps
}

async function look(name: CheckName, act: () => Promise<Found>): Promise<CheckStep> {
  const started = performance.now()
  try {
    const { text, warnings = [], facts = {}, obstacle } = await act()
    const took = performance.now() - started
    return { name, ok: true, took, text, warnings, facts, ...(obstacle === undefined ? {} : { obstacle }) }
  } catch (thrown) {
    const cause = thrown instanceof Blocked ? thrown.cause : thrown
    const error =
      cause instanceof SluiceError ? cause : new SluiceError('ERR_SLUICE_UNREACHABLE', messageOf(cause), { cause })
    const told = thrown instanceof Blocked ? thrown.facts : {}
    const [took, text, facts] = [performance.now() - started, messageOf(error), { code: error.code, ...told }]
    const obstacle = thrown instanceof Blocked ? { obstacle: thrown.obstacle } : {}
    return { name, ok: false, took, text, warnings: [], error, facts, ...obstacle }
  }
}
