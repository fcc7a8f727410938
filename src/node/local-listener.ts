import { rm } from 'node:fs/promises'
import net from 'node:net'
import type { Endpoint } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import type { ReadMode } from './adopt.ts'
import { TCP_OPTIONS } from './dial.ts'
import { SocketStream } from './socket.ts'

/** What connections are accepted on. */
export type StreamEndpoint = Extract<Endpoint, { kind: 'unix' | 'tcp' }>

/** A TCP port or unix socket that is listened on here; each connection is handed over unread. */
export class LocalListener {
  readonly #bind: StreamEndpoint
  readonly #server: net.Server

  constructor(bind: StreamEndpoint, onConnection: (stream: SocketStream) => void, readMode?: ReadMode) {
    this.#bind = bind
    this.#server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, ...TCP_OPTIONS })
    this.#server.on('connection', (socket) => onConnection(SocketStream.from(socket, undefined, readMode)))
  }

  /**
   * Binds; resolves with the address in use. A unix socket that nobody listens on any more is replaced.
   *
   * @throws SluiceError `ERR_SLUICE_CONFIG` if it cannot be bound
   */
  async listen(): Promise<StreamEndpoint> {
    const bind = this.#bind
    if (bind.kind === 'unix' && (await isAbandoned(bind.path))) await rm(bind.path)
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) =>
        reject(bind.kind === 'unix' ? pathError(error, bind.path) : bindError(error, bind.host, bind.port)),
      )
      const where = bind.kind === 'unix' ? { path: bind.path } : { host: bind.host, port: bind.port }
      this.#server.listen({ ...where, backlog: 4096 }, () => {
        const address = this.#server.address()
        if (address === null || typeof address === 'string') resolve(bind)
        else resolve({ kind: 'tcp', host: address.address, port: address.port })
      })
    })
  }

  /** Frees the port; connections go on. */
  close(): void {
    this.#server.close()
  }
}

/** Whether a unix socket is there that refuses connections: its process is gone. */
function isAbandoned(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'))
  })
}

function pathError(error: NodeJS.ErrnoException, path: string): SluiceError {
  const reason =
    error.code === 'EADDRINUSE' ? 'is in use, or something else is there' : `cannot be bound: ${error.message}`
  return new SluiceError('ERR_SLUICE_CONFIG', `${path} ${reason}`, { cause: error, remedy: 'Choose another path.' })
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
