import { parseServerUrl } from '#src/config/index.js'
import type { SluiceError } from '#src/errors/index.js'
import type { Way } from '#src/link/index.js'
import { type PathMemory, type ReadMode, SessionForward, SessionTunnel } from '#src/node/index.js'
import type { Server, ServerOptions, TunnelEvent } from '#src/server/index.js'
import type { SessionOptions } from '#src/session/index.js'
import { Relay } from './relay.js'
import { startServer, TOKEN } from './rig.js'

export interface SessionRigOptions {
  readonly readMode?: ReadMode
  readonly tls?: boolean
  readonly server?: Partial<ServerOptions>
  readonly session?: Pick<SessionOptions, 'replayBudget' | 'liveness'>
  readonly carriers?: number | 'auto'
  readonly transport?: Way
  readonly paths?: PathMemory
}

/** A server, a relay in front of it, and a tunnel with one forward, all in this process. */
export interface SessionRig {
  readonly server: Server
  readonly relay: Relay
  readonly tunnel: SessionTunnel
  readonly port: number
  /** The server's own port, behind the relay. */
  readonly serverPort: number
  readonly events: TunnelEvent[]
  readonly failures: SluiceError[]
  /** What a person would have been told. */
  readonly told: string[]
  close(): Promise<void>
}

export async function startSessionRig(targetPort: number, options: SessionRigOptions = {}): Promise<SessionRig> {
  const readMode = options.readMode === undefined ? {} : { readMode: options.readMode }
  const { server, bound, events, pin } = await startServer(
    { allow: [`127.0.0.1:${targetPort}`], ...readMode, ...options.server },
    options.tls,
  )
  const relay = await Relay.start(bound.port)
  const told: string[] = []
  const failures: SluiceError[] = []
  const tunnel = new SessionTunnel(
    {
      url: parseServerUrl(`${options.tls ? 'wss' : 'ws'}://127.0.0.1:${relay.port}`),
      token: TOKEN,
      pin,
      ...readMode,
      ...(options.session === undefined ? {} : { session: options.session }),
      ...(options.paths === undefined ? {} : { paths: options.paths }),
      carriers: options.carriers ?? 1,
      transport: options.transport ?? 'auto',
      events: {
        lost: (why) => told.push(`lost: ${why}`),
        resumed: ({ after, resent, streams }) =>
          told.push(`resumed after ${after.toFixed(0)} ms, ${resent} bytes again, ${streams} streams`),
        retrying: (why) => told.push(`retrying: ${why}`),
        way: (way) => told.push(`way: ${way}`),
      },
    },
    {
      gone: (error) => told.push(`gone: ${error.code} ${error.message}`),
      retrying: (error) => told.push(`retrying: ${error.message}`),
      renewed: () => told.push('renewed'),
      failed: (error) => told.push(`failed: ${error.code} ${error.message}`),
    },
  )
  await tunnel.connect()
  const forward = new SessionForward(
    {
      direction: 'local',
      listen: { kind: 'tcp', host: '127.0.0.1', port: 0 },
      target: { kind: 'tcp', host: '127.0.0.1', port: targetPort },
    },
    tunnel,
    { failed: (_, error) => failures.push(error) },
    { readMode: options.readMode },
  )
  const listening = await forward.listen()
  const port = listening.kind === 'tcp' ? listening.port : 0
  return {
    server,
    relay,
    tunnel,
    port,
    serverPort: bound.port,
    events,
    failures,
    told,
    close: async () => {
      forward.close()
      await tunnel.close(200)
      await relay.close()
      await server.close(0)
    },
  }
}
