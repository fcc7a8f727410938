import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { HostPort } from '../../config/index.ts'
import { bindError } from '../../node/index.ts'
import type { Tunnel, TunnelEvent } from '../../server/index.ts'

/** What is told to Prometheus: name, kind, help, labels. docs/operations.md has this table. */
export const METRICS = [
  ['sluice_build_info', 'gauge', 'Always 1; the version is a label.', ['version']],
  ['sluice_sessions', 'gauge', 'Sessions, those that wait for a carrier included.', []],
  ['sluice_sessions_waiting', 'gauge', 'Sessions that wait for a carrier.', []],
  ['sluice_carriers', 'gauge', 'Carriers of sessions: WebSockets, or requests over HTTP.', []],
  ['sluice_connections', 'gauge', 'Connections that are carried or dialled.', []],
  ['sluice_replay_bytes', 'gauge', 'Bytes that sessions hold for sending again.', []],
  ['sluice_round_trip_seconds', 'gauge', 'Round trip of carriers as it is: the least, the median, the most.', ['of']],
  ['sluice_connections_opened_total', 'counter', 'Connections that were opened.', []],
  ['sluice_connections_failed_total', 'counter', 'Connections that could not be opened, by the reason.', ['reason']],
  ['sluice_connection_seconds', 'histogram', 'How long connections lasted.', []],
  ['sluice_bytes_total', 'counter', 'Bytes of connections that have ended: up is to the target.', ['direction']],
  ['sluice_session_events_total', 'counter', 'Sessions that were started, lost, joined, ended, refused.', ['event']],
  ['sluice_requests_refused_total', 'counter', 'Requests that were not let in, by the HTTP status.', ['status']],
] as const

type Name = (typeof METRICS)[number][0]

/** Counts what happens, and serves it as `/metrics` on an address of its own. */
export class Metrics {
  readonly #registry: Registry
  readonly #metrics: ReadonlyMap<string, Counter | Gauge | Histogram>
  #tunnel: Tunnel | undefined
  #server: http.Server | undefined

  private constructor(registry: Registry, metrics: ReadonlyMap<string, Counter | Gauge | Histogram>) {
    this.#registry = registry
    this.#metrics = metrics
  }

  /** The library is loaded only where metrics are wanted. */
  static async create(version: string): Promise<Metrics> {
    const client = (await import('prom-client')).default
    const registry = new client.Registry()
    // The process's own: CPU, memory, the delay of the event loop.
    client.collectDefaultMetrics({ register: registry })
    const metrics = METRICS.map(([name, kind, help, labels]) => {
      const options = { name, help, labelNames: [...labels], registers: [registry] }
      if (kind === 'counter') return [name, new client.Counter(options)] as const
      if (kind === 'gauge') return [name, new client.Gauge(options)] as const
      return [name, new client.Histogram({ ...options, buckets: [0.1, 1, 10, 60, 600, 3600, 36_000] })] as const
    })
    const all = new Metrics(registry, new Map<string, Counter | Gauge | Histogram>(metrics))
    all.#gauge('sluice_build_info').set({ version }, 1)
    return all
  }

  #gauge(name: Name): Gauge {
    return this.#metrics.get(name) as Gauge
  }

  #add(name: Name, labels: Record<string, string>, value = 1): void {
    ;(this.#metrics.get(name) as Counter).inc(labels, value)
  }

  /** Takes note of what has happened. */
  count(event: TunnelEvent): void {
    switch (event.type) {
      case 'refused':
        return this.#add('sluice_requests_refused_total', { status: String(event.status) })
      case 'opened':
        return this.#add('sluice_connections_opened_total', {})
      case 'failed':
        return this.#add('sluice_connections_failed_total', { reason: /^\w+/.exec(event.reason)?.[0] ?? 'unknown' })
      case 'session':
        return this.#add('sluice_session_events_total', { event: event.what })
      case 'ended': {
        const { duration, bytesUp, bytesDown } = event.outcome
        ;(this.#metrics.get('sluice_connection_seconds') as Histogram).observe(duration / 1000)
        this.#add('sluice_bytes_total', { direction: 'up' }, bytesUp)
        this.#add('sluice_bytes_total', { direction: 'down' }, bytesDown)
      }
    }
  }

  /** Reads what is as it is now. */
  #collect(tunnel: Tunnel): void {
    const sessions = tunnel.sessionStatus
    const carriers = sessions.flatMap((session) => session.carriers)
    this.#gauge('sluice_sessions').set(sessions.length)
    this.#gauge('sluice_sessions_waiting').set(sessions.filter(({ waiting }) => waiting).length)
    this.#gauge('sluice_carriers').set(carriers.length)
    this.#gauge('sluice_connections').set(tunnel.connections)
    this.#gauge('sluice_replay_bytes').set(sessions.reduce((sum, { held }) => sum + held, 0))
    const trips = carriers.flatMap(({ roundTrip }) => (roundTrip === undefined ? [] : [roundTrip / 1000]))
    trips.sort((one, other) => one - other)
    const trip = this.#gauge('sluice_round_trip_seconds')
    trip.reset()
    if (trips.length === 0) return
    trip.set({ of: 'least' }, trips[0]!)
    trip.set({ of: 'median' }, trips[trips.length >> 1]!)
    trip.set({ of: 'most' }, trips.at(-1)!)
  }

  /** The text of `/metrics`. */
  async text(tunnel: Tunnel): Promise<string> {
    this.#collect(tunnel)
    return this.#registry.metrics()
  }

  /** @throws SluiceError `ERR_SLUICE_CONFIG` if it cannot be bound */
  listen({ host, port }: HostPort, tunnel: Tunnel): Promise<HostPort> {
    this.#tunnel = tunnel
    const server = http.createServer({ requestTimeout: 5_000 }, (request, response) => {
      void this.#answer(request, response)
    })
    this.#server = server
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(error, host, port)))
      server.listen({ host, port }, () => {
        const address = server.address() as AddressInfo
        resolve({ host: address.address, port: address.port })
      })
    })
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    request.resume()
    const found = request.url === '/metrics' && (request.method === 'GET' || request.method === 'HEAD')
    response.writeHead(found ? 200 : 404, { 'Content-Type': found ? this.#registry.contentType : 'text/plain' })
    response.end(found ? await this.text(this.#tunnel!) : 'metrics are at /metrics\n')
  }

  close(): void {
    this.#server?.close()
    this.#server?.closeAllConnections()
  }
}
