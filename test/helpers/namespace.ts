import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

let count = 0

/** A network of its own on this machine, with nothing but loopback. Needs root. */
export class Namespace {
  readonly name: string = `sluice-t-${process.pid}-${count++}`
  readonly #etc: string = join('/etc/netns', this.name)

  constructor() {
    execFileSync('ip', ['netns', 'add', this.name])
    this.run('ip', 'link', 'set', 'lo', 'up')
  }

  /** The beginning of a command that runs inside. */
  get prefix(): string[] {
    return ['ip', 'netns', 'exec', this.name]
  }

  run(...command: string[]): void {
    const [program = '', ...args] = [...this.prefix, ...command]
    execFileSync(program, args)
  }

  /** Rules of nftables for what leaves. */
  filter(...rules: string[]): void {
    this.run('nft', 'add', 'table', 'inet', 'obstacle')
    this.run('nft', 'add', 'chain', 'inet', 'obstacle', 'out', '{ type filter hook output priority 0; }')
    for (const rule of rules) this.run('nft', 'add', 'rule', 'inet', 'obstacle', 'out', ...rule.split(' '))
  }

  /** What names are inside. */
  hosts(lines: string): void {
    mkdirSync(this.#etc, { recursive: true })
    writeFileSync(join(this.#etc, 'hosts'), `127.0.0.1 localhost\n${lines}\n`)
  }

  close(): void {
    execFileSync('ip', ['netns', 'del', this.name])
    rmSync(this.#etc, { recursive: true, force: true })
  }
}
