// Processes that a bench starts, and ends with itself.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { root } from '../tools/root.mjs'

export const TOKEN = 'bench-token-0123456789abcdef'
export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
export const percentile = (values, p) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor((values.length * p) / 100))]

/** The number that follows this flag of the command line. */
export const argument = (name, preset) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? preset : Number(process.argv[at + 1])
}

const children = []

/** Starts a program; what it says is kept. */
export function start(program, args) {
  const child = spawn(program, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, SLUICE_TOKEN: TOKEN, SLUICE_LOG_FORMAT: 'text' },
  })
  const running = { child, out: '' }
  child.stdout.on('data', (chunk) => (running.out += chunk))
  child.stderr.on('data', (chunk) => (running.out += chunk))
  children.push(running)
  return running
}

/** Waits until it has said this. */
export async function said(running, pattern) {
  for (let tries = 0; tries < 400; tries++) {
    const match = pattern.exec(running.out)
    if (match !== null) return match
    await sleep(25)
  }
  throw new Error(`waited in vain for ${pattern}: ${running.out}`)
}

/** What it said, once it has ended well. */
export async function output(running) {
  const [code] = await once(running.child, 'close')
  if (code !== 0) throw new Error(`ended with ${code}: ${running.out.slice(-500)}`)
  return running.out
}

/**
 * What iperf3 says of one test, which `begin` starts. Its server takes one at a time and may still be ending the last one: then it
 * is tried again, as it is after any other failure, which is told.
 */
export async function iperf(begin) {
  for (let tries = 1; ; tries++) {
    const running = begin()
    await once(running.child, 'close')
    const { end, error } = JSON.parse(running.out)
    if (error === undefined) return end
    if (tries === 20) throw new Error(`${running.child.spawnargs.join(' ')}: ${error}`)
    if (!/busy/.test(error)) console.error(`iperf3 is started again: ${error}`)
    await sleep(250)
  }
}

export async function endAll() {
  for (const { child } of children.splice(0).reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGTERM')
    const force = setTimeout(() => child.kill('SIGKILL'), 1_000)
    await once(child, 'close')
    clearTimeout(force)
  }
}
