import { formatHostPort, type HostPort } from '../config/index.ts'
import type { PathCutsState } from '../link/index.ts'
import type { SessionTunnel } from '../node/index.ts'
import type { SessionStatus, Tunnel } from '../server/index.ts'
import type { SessionFigures } from '../session/index.ts'
import { formatBytes, formatTime } from './units.ts'
import { VERSION } from './version.ts'

/** What `sluice status` shows of one process; with `--json` as it is. Times are in milliseconds. */
export interface ProcessState {
  readonly version: string
  readonly pid: number
  readonly role: 'connect' | 'serve'
  /** The server's URL, or where it listens. */
  readonly address: string
  /** In milliseconds. */
  readonly age: number
  readonly sessions: readonly SessionState[]
  readonly forwards?: readonly ForwardState[]
  /** What was learned of paths: after how much quiet they cut connections. */
  readonly paths?: Readonly<Record<string, PathCutsState>>
}

export interface SessionState extends SessionFigures {
  readonly waiting: boolean
  readonly resumes: number
  readonly principal?: string
  readonly from?: string
  readonly age?: number
}

export interface ForwardState {
  readonly listen: string
  readonly target: string
  readonly connections: number
}

function common(role: ProcessState['role'], address: string): Omit<ProcessState, 'sessions'> {
  return { version: VERSION, pid: process.pid, role, address, age: Math.round(process.uptime() * 1000) }
}

export function serverState(bound: HostPort, tunnel: Tunnel): ProcessState {
  const sessions: readonly SessionStatus[] = tunnel.sessionStatus
  return { ...common('serve', formatHostPort(bound)), sessions }
}

export function clientState(
  url: string,
  tunnel: SessionTunnel | undefined,
  forwards: readonly ForwardState[],
  paths: Readonly<Record<string, PathCutsState>>,
): ProcessState {
  const sessions = (tunnel?.links ?? []).flatMap(({ session, resumes }) =>
    session === undefined ? [] : [{ ...session.figures, waiting: session.waiting, resumes }],
  )
  return { ...common('connect', url), sessions, forwards, paths }
}

/** A process's state in lines for people. */
export function stateLines(state: ProcessState): string[] {
  const lines = [
    `sluice ${state.role} ${state.address} (pid ${state.pid}, for ${formatTime(state.age)}, version ${state.version})`,
  ]
  for (const { listen, target, connections } of state.forwards ?? []) {
    lines.push(`  ${listen} to ${target}: ${count(connections, 'connection')}`)
  }
  for (const session of state.sessions) lines.push(...sessionLines(session))
  if (state.sessions.length === 0) lines.push('  no session')
  for (const [path, { limit }] of Object.entries(state.paths ?? {})) {
    if (limit !== undefined) lines.push(`  ${path}: cuts what is quiet for ${formatTime(limit)}`)
  }
  return lines
}

function sessionLines(session: SessionState): string[] {
  const { principal, from, waiting, streams, resumes, held, resent } = session
  const who = principal === undefined ? 'session' : `session of ${principal} from ${from}`
  const where = waiting ? 'waiting for a WebSocket' : count(session.carriers.length, 'WebSocket')
  return [
    `  ${who}: ${where}, ${count(streams, 'stream')}, ${count(resumes, 'resume')}, ${formatBytes(held)} held, ${formatBytes(resent)} sent again`,
    ...session.carriers.map(
      ({ number, roundTrip, inFlight, window, rate, silentFor, stalled }) =>
        `    WebSocket ${number}: round trip ${roundTrip === undefined ? 'unknown' : `${roundTrip.toFixed(1)} ms`}, ` +
        `${formatBytes(inFlight)} of ${formatBytes(window)} in flight, ${formatBytes(rate)}/s at best, ` +
        `${stalled ? 'stalled' : `heard ${formatTime(silentFor)} ago`}`,
    ),
  ]
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}
