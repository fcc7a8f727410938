import { type HostPort, parseServerUrl } from '#src/config/index.js'
import type { SluiceError } from '#src/errors/index.js'
import { type ForwardEvents, Heartbeat, PlainForward, type ReadMode } from '#src/node/index.js'
import {
  type SelfSigned,
  Server,
  type ServerOptions,
  selfSigned,
  TokenAuth,
  type TunnelEvent,
} from '#src/server/index.js'

export const TOKEN = 'a-token-for-tests-0123456789'

export interface RigOptions {
  readonly readMode?: ReadMode
  readonly tls?: boolean
  readonly server?: Partial<ServerOptions>
  readonly halfCloseTimeout?: number
}

/** A server and a client forward in this process, in front of one target. */
export interface Rig {
  readonly server: Server
  readonly forward: PlainForward
  /** Where the forward listens. */
  readonly port: number
  /** Where the server listens. */
  readonly serverPort: number
  readonly events: TunnelEvent[]
  readonly failures: SluiceError[]
  close(): Promise<void>
}

let certificate: Promise<SelfSigned> | undefined

export async function startServer(
  options: Partial<ServerOptions> = {},
  tls = false,
): Promise<{ server: Server; bound: HostPort; events: TunnelEvent[]; pin: string | undefined }> {
  const events: TunnelEvent[] = []
  const made = tls ? await (certificate ??= selfSigned(['localhost', '127.0.0.1'])) : undefined
  const server = new Server({
    listen: { host: '127.0.0.1', port: 0 },
    auth: new TokenAuth([{ name: 'test', token: TOKEN }]),
    onEvent: (event) => events.push(event),
    tls: made,
    ...options,
  })
  return { server, bound: await server.listen(), events, pin: made?.pin }
}

export async function startRig(targetPort: number, options: RigOptions = {}): Promise<Rig> {
  const readMode = options.readMode === undefined ? {} : { readMode: options.readMode }
  const { server, bound, events, pin } = await startServer(
    { allow: [`127.0.0.1:${targetPort}`], ...readMode, ...options.server },
    options.tls,
  )
  const failures: SluiceError[] = []
  const report: ForwardEvents = { failed: (_, error) => failures.push(error) }
  const url = parseServerUrl(`${options.tls ? 'wss' : 'ws'}://127.0.0.1:${bound.port}`)
  const forward = new PlainForward(
    { kind: 'tcp', host: '127.0.0.1', port: 0 },
    { host: '127.0.0.1', port: targetPort },
    {
      url,
      token: TOKEN,
      pin,
      heartbeat: new Heartbeat(),
      ...readMode,
      ...(options.halfCloseTimeout === undefined ? {} : { halfCloseTimeout: options.halfCloseTimeout }),
    },
    report,
  )
  const listening = await forward.listen()
  const port = listening.kind === 'tcp' ? listening.port : 0
  return {
    server,
    forward,
    port,
    serverPort: bound.port,
    events,
    failures,
    close: async () => {
      forward.close()
      await server.close(0)
    },
  }
}
