import { formatTarget, type HostPort, type LocalForward, type Target } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { OPEN_ERRORS, OpenError, ResetCode, type Target as WireTarget } from '../wire/index.ts'
import type { ReadMode } from './adopt.ts'
import { LocalListener } from './local-listener.ts'
import type { SessionTunnel } from './session-tunnel.ts'
import type { SocketStream } from './socket.ts'
import { Splice, type SpliceOutcome } from './splice.ts'

/** A connection that comes while there is no session waits so long for one, in milliseconds. */
const PATIENCE = 10_000

/** What a forward reports; every connection ends in exactly one of `finished` and `failed`. */
export interface SessionForwardEvents {
  opened?(target: Target): void
  finished?(target: Target, outcome: SpliceOutcome): void
  failed(target: Target, error: SluiceError): void
}

/** A target as OPEN says it. */
export function wireTarget(target: Target): WireTarget {
  return 'named' in target ? { kind: 'NAMED', name: target.named } : { kind: 'TCP', ...target }
}

/** A local listener whose connections go to one target, each as a stream of the tunnel's session. */
export class SessionForward {
  readonly #forward: LocalForward
  readonly #tunnel: SessionTunnel
  readonly #events: SessionForwardEvents
  readonly #listener: LocalListener
  readonly #live = new Set<Splice>()

  constructor(forward: LocalForward, tunnel: SessionTunnel, events: SessionForwardEvents, readMode?: ReadMode) {
    this.#forward = forward
    this.#tunnel = tunnel
    this.#events = events
    // A turn of the loop later what the program sent at once has been read, and travels with OPEN.
    this.#listener = new LocalListener(forward.bind, (local) => setImmediate(() => void this.#carry(local)), readMode)
  }

  /** @throws SluiceError `ERR_SLUICE_CONFIG` if the port cannot be bound */
  listen(): Promise<HostPort> {
    return this.#listener.listen()
  }

  /** How many connections are being carried. */
  get connections(): number {
    return this.#live.size
  }

  /** Frees the port and ends every connection. */
  close(): void {
    this.#listener.close()
    for (const splice of this.#live) splice.abort()
  }

  async #carry(local: SocketStream): Promise<void> {
    const { target } = this.#forward
    const link = this.#tunnel.link ?? (await this.#tunnel.ready(PATIENCE))
    if (link === undefined) {
      local.reset()
      this.#events.failed(target, new SluiceError('ERR_SLUICE_GONE', 'there is no session with the server at present'))
      return
    }
    const splice = new Splice(local, link, (outcome) => {
      this.#live.delete(splice)
      const failure = spliceFailure(outcome, target)
      if (failure === undefined) this.#events.finished?.(target, outcome)
      else this.#events.failed(target, failure)
    })
    this.#live.add(splice)
    splice.onOpened = () => this.#events.opened?.(target)
    const stream = link.open(wireTarget(target), splice)
    splice.start(stream)
  }
}

/** What a connection's end means: undefined if all went well, or if the local program broke it off. */
export function spliceFailure({ error }: SpliceOutcome, target: Target): SluiceError | undefined {
  if (error === undefined || error.from === 'tcp') return undefined
  const name = formatTarget(target)
  if (error.from === 'open') return openFailure(error.code, error.text, name)
  if (error.code === ResetCode.POLICY) {
    return new SluiceError('ERR_SLUICE_POLICY', `the server does not allow ${name} any more`)
  }
  if (error.code === ResetCode.SESSION_LOST) {
    return new SluiceError('ERR_SLUICE_GONE', `the connection to ${name} was lost with the session: ${error.text}`)
  }
  return new SluiceError('ERR_SLUICE_TARGET', `${name} reset the connection`)
}

/** OPEN_FAILED in words. */
export function openFailure(code: number, text: string, name: string): SluiceError {
  const facts = OPEN_ERRORS[code] ?? OPEN_ERRORS[OpenError.GENERAL]!
  const reason = printable(text) || facts.errno
  if (code === OpenError.NOT_ALLOWED) {
    return new SluiceError('ERR_SLUICE_POLICY', `the server does not allow ${name}: ${reason}`, {
      remedy: `On the server, allow it: --allow ${name}`,
    })
  }
  return new SluiceError('ERR_SLUICE_TARGET', `the server could not reach ${name}: ${reason}`)
}

/** What a peer sent, safe to print. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}
