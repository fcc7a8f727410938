import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import { SluiceError } from '../errors/index.ts'

/** A line of an answer is no longer than this, in characters: tickets of Kerberos have some KiB. */
const LONGEST = 64 * 1024

/**
 * A command that answers for us: each time a proxy has said what it wants, it gets a line with the values of
 * `Proxy-Authenticate`, separated by tabs, and answers with a line, the value of `Proxy-Authorization`. It is started at the first
 * question, for one connection, and ends when its input does.
 */
export class AuthCommand {
  readonly #command: string
  readonly #env: Readonly<Record<string, string>>
  #child: ChildProcess | undefined
  #lines: Interface | undefined
  #said = ''
  #waiting: { resolve(line: string): void; reject(error: Error): void } | undefined

  constructor(command: string, env: Readonly<Record<string, string>>) {
    this.#command = command
    this.#env = env
  }

  /** @throws SluiceError `ERR_SLUICE_AUTH`: it ended, or answered nothing that can be sent */
  answer(offered: readonly string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#start()
      this.#child!.stdin!.write(`${offered.join('\t')}\n`)
    })
  }

  #start(): void {
    if (this.#child !== undefined) return
    const child = spawn(this.#command, {
      shell: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#env },
    })
    this.#child = child
    child.stdin.on('error', () => {})
    child.stderr.on('data', (bytes: Buffer) => (this.#said = `${this.#said}${bytes.toString()}`.slice(-500)))
    child.on('error', (error) => this.#fail(error.message))
    child.on('close', (code) => this.#fail(`it ended${code === 0 ? '' : ` with ${code}`} without an answer`))
    this.#lines = createInterface({ input: child.stdout })
    this.#lines.on('line', (line) => {
      const waiting = this.#waiting
      this.#waiting = undefined
      if (/^[\x21-\x7e][\x20-\x7e]*$/.test(line) && line.length <= LONGEST) waiting?.resolve(line)
      else waiting?.reject(failure('its answer is not the value of a header field', ''))
    })
  }

  #fail(why: string): void {
    this.#waiting?.reject(failure(why, this.#said.trim().split('\n').at(-1) ?? ''))
    this.#waiting = undefined
  }

  end(): void {
    this.#waiting = undefined
    this.#lines?.close()
    this.#child?.stdin?.end()
  }
}

function failure(why: string, said: string): SluiceError {
  const text = `--proxy-auth-command: ${why}${said === '' ? '' : `; it said: ${said}`}`
  return new SluiceError('ERR_SLUICE_AUTH', text, {
    remedy: 'Run the command by hand: it gets what the proxy offers on its input, a line each time.',
  })
}
