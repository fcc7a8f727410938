import net from 'node:net'
import type { HostPort } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import type { ReadMode } from './adopt.ts'
import { SocketStream } from './socket.ts'

/** A TCP port that is listened on here; each connection is handed over unread. */
export class LocalListener {
  readonly #bind: HostPort
  readonly #server: net.Server

  constructor(bind: HostPort, onConnection: (stream: SocketStream) => void, readMode?: ReadMode) {
    this.#bind = bind
    this.#server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true })
    this.#server.on('connection', (socket) => onConnection(SocketStream.from(socket, undefined, readMode)))
  }

  /**
   * Binds the port; resolves with the address in use.
   *
   * @throws SluiceError `ERR_SLUICE_CONFIG` if it cannot be bound
   */
  listen(): Promise<HostPort> {
    const { host, port } = this.#bind
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(error, host, port)))
      this.#server.listen({ host, port, backlog: 4096 }, () => {
        const address = this.#server.address() as net.AddressInfo
        resolve({ host: address.address, port: address.port })
      })
    })
  }

  /** Frees the port; connections go on. */
  close(): void {
    this.#server.close()
  }
}

/** Why a port could not be bound, in words. */
export function bindError(error: NodeJS.ErrnoException, host: string, port: number): SluiceError {
  const where = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const known: Record<string, [string, string]> = {
    EADDRINUSE: [`${where} is already in use`, 'Choose another port, or 0 to let the system choose.'],
    EACCES: [`${where} may not be bound by this user`, 'Choose a port above 1023.'],
    EADDRNOTAVAIL: [`${where} is not an address of this machine`, 'Bind 127.0.0.1, [::1], or * for every interface.'],
  }
  const [message, remedy] = known[error.code ?? ''] ?? [
    `${where} cannot be bound: ${error.message}`,
    'See the reason given.',
  ]
  return new SluiceError('ERR_SLUICE_CONFIG', message, { cause: error, remedy })
}
