import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './need.js'
import { connectTo, endAtLast, until } from './net.js'

export const CLI: string = join(ROOT, 'dist', 'cli', 'main.js')

/** A process with everything it said. */
export interface Running {
  readonly child: ChildProcess
  readonly stdout: () => string
  readonly stderr: () => string
  /** The exit code, or the signal. */
  readonly exited: Promise<number | string>
  stop(signal?: NodeJS.Signals): Promise<number | string>
}

/** Starts a program; what sluice says without a terminal is text here, unless `options.env` says otherwise. */
export function start(program: string, args: readonly string[], options: SpawnOptions = {}): Running {
  const env = { SLUICE_LOG_FORMAT: 'text', ...(options.env ?? process.env) }
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options, env })
  let out = ''
  let err = ''
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString('latin1')))
  child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()))
  child.stdin?.on('error', () => {})
  const secrets = secretsOf(args, env)
  const ended = endAtLast(() => child.kill('SIGKILL'))
  const exited = once(child, 'close').then(([code, signal]) => {
    ended()
    if (secrets.some((secret) => out.includes(secret) || err.includes(secret))) {
      throw new Error(`a secret that ${args.slice(0, 3).join(' ')} was given is in what it said`)
    }
    return (code as number | null) ?? String(signal)
  })
  return {
    child,
    stdout: () => out,
    stderr: () => err,
    exited,
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      const force = setTimeout(() => child.kill('SIGKILL'), 10_000)
      const result = await exited
      clearTimeout(force)
      return result
    },
  }
}

/** What a process is given and must never show: the token of its environment, and what is in files of secrets. */
function secretsOf(args: readonly string[], env: NodeJS.ProcessEnv): string[] {
  if (!args.includes(CLI)) return []
  const files = args.filter((_, index) =>
    /^--(token|login|proxy-auth|dynamic-auth|password)-file$/.test(args[index - 1] ?? ''),
  )
  const lines = files.flatMap((file) => (existsSync(file) ? readFileSync(file, 'utf8').split(/\r?\n/) : []))
  const kept = lines.map((line) => (/^[^:\s]+:(.*)$/.exec(line)?.[1] ?? line).split(/ (?:expires|allow)/)[0]!)
  return [env.SLUICE_TOKEN ?? '', ...kept].filter((secret) => secret.length >= 8 && !/^(sha256-|\$)/.test(secret))
}

/** Runs to the end; throws with what it said when it fails. */
export async function run(
  program: string,
  args: readonly string[],
  options: SpawnOptions & { input?: Buffer } = {},
): Promise<{ stdout: string; stderr: string }> {
  const running = start(program, args, options)
  running.child.stdin?.end(options.input)
  const code = await running.exited
  if (code !== 0)
    throw new Error(
      `${program} ${args.join(' ')} ended with ${code}:\n${running.stderr()}\n${running.stdout().slice(-2000)}`,
    )
  return { stdout: running.stdout(), stderr: running.stderr() }
}

/** Runs `sluice` with these arguments. */
export function sluice(args: readonly string[], env: Record<string, string> = {}): Running {
  return start(process.execPath, [CLI, ...args], { env: { ...cleanEnv(), ...env } })
}

/** The environment without settings of sluice that a developer may have. */
function cleanEnv(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && !entry[0].startsWith('SLUICE_'),
    ),
  )
}

/** Starts `sluice serve` on a free port; resolves with its URL when it listens. */
export async function serve(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Running & { url: string; port: number }> {
  const running = sluice(['serve', '--listen', '0', ...args], env)
  await said(running, /serving on (\S+)/)
  const url = /serving on (\S+)/.exec(running.stderr())![1]!
  return { ...running, url, port: Number(/:(\d+)$/.exec(url)![1]) }
}

/** Starts `sluice connect` with one forward from a free port; resolves with that port. */
export async function connect(
  url: string,
  target: string,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<Running & { port: number }> {
  const running = sluice(['connect', url, '-L', `0:${target}`, ...args], env)
  await said(running, /listening on \S+:(\d+) for/)
  return { ...running, port: Number(/listening on \S+:(\d+) for/.exec(running.stderr())![1]) }
}

/** Waits until a program listens on its port. */
export async function untilOpen(port: number, running: Running): Promise<void> {
  for (let tries = 0; tries < 400 && running.child.exitCode === null; tries++) {
    try {
      ;(await connectTo(port)).destroy()
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
  throw new Error(`nothing listens on port ${port}: ${running.stderr()}`)
}

/** Waits until the process has said this on standard error. */
export async function said(running: Running, pattern: RegExp): Promise<void> {
  let over = false
  void running.exited.then(() => (over = true))
  await until(
    () => pattern.test(running.stderr()) || over,
    `${pattern} from the process, which said: ${running.stderr()}`,
    20_000,
  )
  if (!pattern.test(running.stderr())) throw new Error(`the process ended without ${pattern}: ${running.stderr()}`)
}
