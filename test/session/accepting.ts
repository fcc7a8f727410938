import type { Stream } from '#src/session/index.js'
import { Endpoint } from './endpoint.js'
import { Pair, type PairOptions } from './pair.js'

const TARGET = { kind: 'TCP', host: 'db', port: 5432 } as const

/** A pair in which the server accepts every stream. */
export function acceptingPair(options: PairOptions = {}): { pair: Pair; accepted: Endpoint[] } {
  const pair = new Pair(options)
  const accepted: Endpoint[] = []
  pair.onOpened = (stream) => {
    const endpoint = new Endpoint()
    endpoint.stream = stream
    accepted.push(endpoint)
    stream.start(endpoint)
    stream.accept('10.0.0.1:5432')
  }
  return { pair, accepted }
}

export function open(pair: Pair): Endpoint {
  const endpoint = new Endpoint()
  endpoint.stream = pair.client.open(TARGET, endpoint, pair.now) as Stream
  return endpoint
}

/** Makes it a stream of bulk that never ends: pieces of this size are written whenever more may be. */
export function keepFull(endpoint: Endpoint, size: number): void {
  const fill = () => {
    while (endpoint.stream.write(Buffer.alloc(size)));
  }
  endpoint.onWritable = fill
  fill()
}
