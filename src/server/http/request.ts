import { SluiceError } from '../../errors/index.ts'

/** What a request of a carrier over HTTP asks for (spec/http-1.md §2). */
export type HttpAsked =
  | { readonly what: 'begin' | 'duplex'; readonly route: string | undefined }
  | { readonly what: 'end'; readonly id: string }
  | { readonly what: 'exchange'; readonly id: string; readonly up: number | undefined; readonly down: Down | undefined }

export interface Down {
  readonly part: number
  readonly stream: boolean
  /** In milliseconds. */
  readonly hold: number
}

const ID = /^[A-Za-z0-9_-]{22}$/
const HOLD = 25_000
const MOST_HOLD = 60_000

/**
 * Reads `[prefix]/http` and `[prefix]/http/ID` with their query; undefined for any other path.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE` for a query that cannot be
 */
export function parseHttpAsked(url: string, prefix: string): HttpAsked | undefined {
  const [path = '', query = ''] = url.split('?', 2)
  const base = `${prefix}/http`
  if (path !== base && !path.startsWith(`${base}/`)) return undefined
  const asked = new URLSearchParams(query)
  if (path === base) {
    const route = asked.get('route') ?? undefined
    return { what: asked.has('duplex') ? 'duplex' : 'begin', route }
  }
  const id = path.slice(base.length + 1)
  if (!ID.test(id)) throw new SluiceError('ERR_SLUICE_USAGE', 'the id of the carrier is not one')
  if (asked.has('end')) return { what: 'end', id }
  const up = numberOf(asked, 'up')
  const part = numberOf(asked, 'down')
  if (up === undefined && part === undefined)
    throw new SluiceError('ERR_SLUICE_USAGE', 'neither up nor down is asked for')
  const hold = Math.min(MOST_HOLD, numberOf(asked, 'hold') ?? HOLD)
  const down = part === undefined ? undefined : { part, hold, stream: asked.has('stream') }
  return { what: 'exchange', id, up, down }
}

function numberOf(asked: URLSearchParams, name: string): number | undefined {
  const text = asked.get(name)
  if (text === null) return undefined
  if (/^(0|[1-9][0-9]{0,14})$/.test(text)) return Number(text)
  throw new SluiceError('ERR_SLUICE_USAGE', `${name} is not a number`)
}
