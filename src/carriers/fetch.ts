import { messageOf, SluiceError } from '../errors/index.ts'
import type { HttpAnswer, HttpClient } from './http.ts'

/** `fetch` for carriers over HTTP: the browser's, Deno's, Bun's, Node's. */
export class FetchClient implements HttpClient {
  /** Browsers have six connections to a host over HTTP/1.1, and others of the page want some too. */
  readonly posts = 3
  readonly #base: string
  readonly #token: string | undefined | (() => string | Promise<string>)

  /** @param base `https://host/prefix/http` */
  constructor(base: string, token: string | undefined | (() => string | Promise<string>)) {
    this.#base = base
    this.#token = token
  }

  async post(path: string, body: Uint8Array | undefined, signal: AbortSignal): Promise<HttpAnswer> {
    const token = typeof this.#token === 'function' ? await this.#token() : this.#token
    const known = token === undefined ? {} : { Authorization: `Bearer ${token}` }
    const typed = body === undefined ? {} : { 'Content-Type': 'application/octet-stream' }
    const content = body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }
    let response: Response
    try {
      response = await fetch(`${this.#base}${path}`, {
        method: 'POST',
        headers: { ...known, ...typed },
        ...content,
        signal,
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
      })
    } catch (cause) {
      throw new SluiceError('ERR_SLUICE_UNREACHABLE', `requests over HTTP fail: ${messageOf(cause)}`, { cause })
    }
    const reader = response.body?.getReader()
    const read = async (): Promise<Uint8Array | undefined> => (await reader?.read())?.value
    return { status: response.status, read }
  }

  /** The host has them, and keeps them as it likes. */
  close(): void {}
}
