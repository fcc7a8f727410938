import { parseHost, parsePort, usage } from './address.ts'
import { type Endpoint, type Forward, type ForwardTarget, isTargetName } from './forward.ts'

/** The option that a spec was given with: it says the direction, and what a lone port means. */
export type SpecOption = '-L' | '-R' | '-D'

const EXAMPLES: Readonly<Record<SpecOption, string>> = {
  '-L': 'Write it like 5432:db:5432, 127.0.0.1:8000-8010:web:8000, 53:1.1.1.1:53/udp, 8080:@web or /tmp/s.sock:db:5432; IPv6 in brackets.',
  '-R': 'Write it like 2222:localhost:22, 0.0.0.0:8080:localhost:80, socks or 1080 (SOCKS); IPv6 in brackets.',
  '-D': 'Write it like 1080, 127.0.0.1:1080 or socks.',
}
const SOCKS_PORT = 1080
/** More ports than this in one range are a slip of the finger. */
const MOST_PORTS = 1024

/** A part between colons, and the column where it begins, from 1. */
interface Part {
  readonly text: string
  readonly column: number
}

type Protocol = 'tcp' | 'udp'

/** Reads one spec; knows its text, for messages. */
class Spec {
  readonly #option: SpecOption
  readonly #text: string

  constructor(option: SpecOption, text: string) {
    this.#option = option
    this.#text = text
  }

  fail(column: number, problem: string, remedy = EXAMPLES[this.#option]): never {
    throw usage(`${this.#option} ${JSON.stringify(this.#text)}, column ${column}: ${problem}`, remedy)
  }

  read(): Forward[] {
    if (this.#text === '') this.fail(1, 'it is empty')
    const control = /[^\x21-\x7e\u0080-\uffff]/.exec(this.#text)
    if (control !== null) this.fail(control.index + 1, 'a space or control character is not allowed')
    const url = /^([a-z0-9+]+):\/\//i.exec(this.#text)
    return url === null ? this.#readColons() : this.#readUrl(url[1]!.toLowerCase(), url[0].length)
  }

  // --- ssh's and chisel's forms ---

  #readColons(): Forward[] {
    const reverse = /^R:/.test(this.#text)
    if (reverse && this.#option === '-D') this.fail(1, 'R: makes a reverse forward', 'Give it to -R.')
    const { parts, protocol } = this.#split(reverse ? 2 : 0)
    const direction = reverse || this.#option === '-R' ? 'reverse' : 'local'
    return this.#forwards(direction, parts, protocol, reverse)
  }

  /** Cuts at colons outside of brackets and after the protocol, `/udp` or `/tcp`, has been taken off. */
  #split(from: number): { parts: Part[]; protocol: Protocol } {
    const suffix = /(?<=[^/:.]{1,64}|\])\/(tcp|udp)$/i.exec(this.#text)
    const lastColon = this.#text.lastIndexOf(':')
    const inPath = /^[/.~]/.test(this.#text.slice(lastColon + 1))
    const protocol = suffix !== null && !inPath ? (suffix[1]!.toLowerCase() as Protocol) : undefined
    const end = protocol === undefined ? this.#text.length : suffix!.index
    const parts: Part[] = []
    let start = from
    let depth = 0
    for (let at = from; at <= end; at++) {
      const char = at === end ? ':' : this.#text[at]
      if (char === '[') depth++
      else if (char === ']') depth--
      if (depth < 0 || depth > 1) this.fail(at + 1, 'brackets do not match')
      if (char !== ':' || (depth > 0 && at < end)) continue
      parts.push({ text: this.#text.slice(start, at), column: start + 1 })
      start = at + 1
    }
    if (depth !== 0) this.fail(end, 'a bracket is not closed')
    return { parts, protocol: protocol ?? 'tcp' }
  }

  #forwards(
    direction: Forward['direction'],
    all: Part[],
    protocol: Protocol,
    chisel: boolean,
    listenFirst = false,
  ): Forward[] {
    const parts = [...all]
    if (parts.at(-1)?.text.toLowerCase() === 'socks') {
      parts.pop()
      return this.#dynamic(direction, parts)
    }
    if (this.#option === '-D') return this.#dynamic(direction, parts)
    // ssh: -R PORT offers a SOCKS proxy on the far side.
    if (this.#option === '-R' && !chisel && parts.length <= 2 && isPorts(parts.at(-1)!) && !isPath(parts[0]!)) {
      return this.#dynamic(direction, parts)
    }
    const [first, second] = parts as [Part, Part | undefined]
    if (listenFirst && parts.length < 3) this.fail(first.column, 'where it listens, or where it leads to, is missing')
    if (isPath(first)) {
      if (protocol === 'udp') this.fail(first.column, 'a unix socket carries no datagrams')
      const [target] = this.#targets(parts.slice(1), 'tcp', 1, first)
      return [{ direction, listen: { kind: 'unix', path: first.text }, target: target! }]
    }
    if (isPorts(first)) return this.#pairs(direction, undefined, first, parts.slice(1), protocol)
    // chisel's HOST:PORT listens on the same port here.
    if (parts.length === 2 && second !== undefined && isPorts(second)) {
      return this.#pairs(direction, undefined, second, parts, protocol)
    }
    if (second === undefined || !isPorts(second)) this.fail((second ?? first).column, 'a port to listen on is missing')
    return this.#pairs(direction, first, second, parts.slice(2), protocol)
  }

  #dynamic(direction: Forward['direction'], parts: readonly Part[]): Forward[] {
    if (parts.length > 2) this.fail(parts[2]!.column, 'there is too much of it')
    const port = parts.at(-1)
    if (port !== undefined && !isPorts(port)) this.fail(port.column, `${JSON.stringify(port.text)} is not a port`)
    const host = parts.length === 2 ? parts[0] : undefined
    const ports = port === undefined ? [SOCKS_PORT] : this.#ports(port, 0)
    return ports.map((number) => ({
      direction,
      listen: { kind: 'tcp', host: this.#bindHost(host), port: number },
      target: { kind: 'dynamic' },
    }))
  }

  /** One forward for each port that is listened on, with its target. */
  #pairs(
    direction: Forward['direction'],
    host: Part | undefined,
    port: Part,
    rest: readonly Part[],
    protocol: Protocol,
  ): Forward[] {
    const ports = this.#ports(port, 0)
    const lone: Part = { text: '127.0.0.1', column: port.column }
    const targets = this.#targets(rest.length === 0 ? [lone, port] : rest, protocol, ports.length, port)
    return ports.map((number, index) => ({
      direction,
      listen: { kind: protocol, host: this.#bindHost(host), port: number },
      target: targets[index] ?? targets[0]!,
    }))
  }

  #targets(parts: readonly Part[], protocol: Protocol, count: number, before: Part): ForwardTarget[] {
    const [first, second, third] = parts
    if (first === undefined) this.fail(before.column + before.text.length, 'where it leads to is missing')
    if (first.text.startsWith('@')) {
      if (second !== undefined) this.fail(second.column, 'nothing can follow a target name')
      if (!isTargetName(first.text.slice(1))) this.fail(first.column, `${JSON.stringify(first.text)} is not @NAME`)
      return [{ kind: 'named', name: first.text.slice(1) }]
    }
    if (isPath(first)) {
      if (second !== undefined) this.fail(second.column, 'nothing can follow a path')
      if (protocol === 'udp') this.fail(first.column, 'a unix socket carries no datagrams')
      if (count > 1) this.fail(first.column, 'a range of ports cannot lead to one unix socket')
      return [{ kind: 'unix', path: first.text }]
    }
    if (second === undefined) {
      const problem = isPorts(first) ? 'the host is missing' : 'the port is missing'
      this.fail(first.column, `${problem} in ${JSON.stringify(first.text)}`)
    }
    if (third !== undefined) this.fail(third.column, 'there is too much of it')
    const host = this.#host(first)
    const ports = this.#ports(second, 1)
    if (ports.length !== 1 && ports.length !== count) {
      this.fail(
        second.column,
        `${ports.length} ports for ${count}`,
        'Give ranges of the same length, or one first port.',
      )
    }
    const numbers = ports.length === count ? ports : Array.from({ length: count }, (_, index) => ports[0]! + index)
    if (numbers.at(-1)! > 65_535) this.fail(second.column, `the range would end at ${numbers.at(-1)}`)
    return numbers.map((port): Endpoint => ({ kind: protocol, host, port }))
  }

  #ports({ text, column }: Part, least: 0 | 1): number[] {
    const what = `${this.#option} ${JSON.stringify(this.#text)}, column ${column}`
    const [from, to] = text.split('-') as [string, string | undefined]
    const first = parsePort(from, what, least)
    if (to === undefined) return [first]
    const last = parsePort(to, what)
    if (first === 0 || last < first) this.fail(column, `${text} is not a range of ports`)
    if (last - first >= MOST_PORTS) this.fail(column, `${last - first + 1} ports (allowed: ${MOST_PORTS})`)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  }

  #host({ text, column }: Part): string {
    if (text === '') this.fail(column, 'the host is missing')
    return parseHost(text, `${this.#option} ${JSON.stringify(this.#text)}, column ${column}`)
  }

  #bindHost(part: Part | undefined): string {
    if (part === undefined) return '127.0.0.1'
    return part.text === '*' || part.text === '' ? '::' : this.#host(part)
  }

  // --- wstunnel's form ---

  #readUrl(scheme: string, from: number): Forward[] {
    const query = this.#text.indexOf('?', from)
    if (query >= 0) {
      this.fail(
        query + 1,
        'settings after ? are not known here',
        'Leave them out: a UDP flow ends after a minute of silence, a password for SOCKS goes into --dynamic-auth-file.',
      )
    }
    const direction = this.#option === '-R' ? 'reverse' : 'local'
    const { parts, protocol } = this.#split(from)
    switch (scheme) {
      case 'tcp':
      case 'udp':
        if (protocol === 'udp' && scheme === 'tcp') this.fail(from, '/udp contradicts tcp://')
        return this.#forwards(direction, parts, scheme, true, true)
      case 'unix':
        return this.#unix(direction, parts)
      case 'socks5':
      case 'http':
        return this.#dynamic(direction, parts)
      case 'stdio':
        return this.fail(1, 'standard input and output belong to one connection', 'Use sluice stdio URL HOST:PORT.')
      default:
        return this.fail(1, `${scheme}:// is not one of tcp, udp, unix, socks5 and http`)
    }
  }

  /** wstunnel writes a relative path. */
  #unix(direction: Forward['direction'], [path, ...rest]: Part[]): Forward[] {
    if (path === undefined || path.text === '') this.fail(8, 'the path is missing')
    const [target] = this.#targets(rest, 'tcp', 1, path)
    return [{ direction, listen: { kind: 'unix', path: path.text }, target: target! }]
  }
}

function isPorts({ text }: Part): boolean {
  return /^[0-9]+(-[0-9]+)?$/.test(text)
}

function isPath({ text }: Part): boolean {
  return /^(\/|\.{1,2}\/|~\/)/.test(text)
}

/**
 * A forward in ssh's form (`5432:db:5432`), chisel's (`R:2222:localhost:22`, `socks`, `53:1.1.1.1:53/udp`) or wstunnel's
 * (`tcp://5432:db:5432`); a range of ports is several forwards. A lone port binds loopback; port 0 lets the system choose; `*`
 * is every interface. docs/forwards.md has the grammar.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`, with the column and the remedy
 */
export function parseForwards(option: SpecOption, text: string): Forward[] {
  return new Spec(option, text).read()
}
