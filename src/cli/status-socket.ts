import { chmodSync, lstatSync, mkdirSync, readdirSync, unlinkSync } from 'node:fs'
import net from 'node:net'
import { homedir, tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { SluiceError } from '../errors/index.ts'

/** Where what runs can be asked for its state: one unix socket for each process, in a folder that only its user can enter. */
export function statusFolder(): string {
  const { XDG_RUNTIME_DIR } = process.env
  return XDG_RUNTIME_DIR ? join(XDG_RUNTIME_DIR, 'sluice') : join(tmpdir(), `sluice-${userInfo().uid}`)
}

/** Where what is learned and made is kept between runs (XDG Base Directory). */
export function stateFolder(): string {
  const { XDG_STATE_HOME } = process.env
  return join(XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'sluice')
}

/** Where knowledge of paths is kept between runs. */
export function pathsFile(): string {
  return join(stateFolder(), 'paths.json')
}

/** How long a process may take to answer, in milliseconds. */
const PATIENCE = 2_000

/** Answers whoever connects with the state as JSON, until it is closed. */
export class StatusSocket {
  readonly #server: net.Server
  readonly #path: string

  /** @param state what to answer; called for each question */
  constructor(state: () => unknown) {
    this.#path = join(statusFolder(), `${process.pid}.sock`)
    this.#server = net.createServer((socket) => {
      socket.on('error', () => {})
      socket.end(JSON.stringify(state()))
    })
    this.#server.on('error', () => {})
    this.#server.unref()
  }

  /** Begins to listen. Where that is not possible, status is not to be had, and nothing else is lost. */
  open(): void {
    try {
      ownFolder()
      remove(this.#path)
      this.#server.listen(this.#path, () => chmodSync(this.#path, 0o600))
    } catch {
      // No folder of our own: no status.
    }
  }

  close(): void {
    this.#server.close()
    remove(this.#path)
  }
}

function ownFolder(): void {
  const folder = statusFolder()
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { uid, mode } = lstatSync(folder)
  if (uid === userInfo().uid && (mode & 0o077) === 0) return
  throw new SluiceError('ERR_SLUICE_CONFIG', `${folder} belongs to somebody else, or others can enter it`, {
    remedy: `Remove it, or set XDG_RUNTIME_DIR.`,
  })
}

function remove(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // It was not there.
  }
}

/** Asks every process of this user's that runs. Sockets whose process is gone are removed. */
export async function askAll(): Promise<unknown[]> {
  const folder = statusFolder()
  let names: string[]
  try {
    names = readdirSync(folder).filter((name) => name.endsWith('.sock'))
  } catch {
    return []
  }
  const answers = await Promise.all(names.map((name) => ask(join(folder, name))))
  return answers.filter((answer) => answer !== undefined)
}

function ask(path: string): Promise<unknown> {
  return new Promise((resolve) => {
    const socket = net.connect(path)
    const parts: Buffer[] = []
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error('no answer')))
    socket.on('data', (part: Buffer) => parts.push(part))
    socket.on('end', () => resolve(parse(Buffer.concat(parts))))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') remove(path)
      resolve(undefined)
    })
  })
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}
