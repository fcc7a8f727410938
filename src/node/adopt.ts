// The only file that touches undocumented parts of Node. An accepted or upgraded socket reads into buffers that Node
// allocates and pushes through a stream; `onread`, documented for net.connect() and tls.connect(), reads into ours. The
// constructor of net.Socket takes the same option together with a `handle`, so a socket's handle is given to a new socket.
// Where any part of that is missing, the caller reads by 'data' events: slower, and the same otherwise.
import net from 'node:net'

/** The documented `onread` option of net.connect(). */
export interface OnRead {
  readonly buffer: () => Uint8Array
  readonly callback: (bytesRead: number, buffer: Uint8Array) => boolean
}

interface Handle {
  reading?: boolean
  readStop?(): number
  useUserBuffer?(buffer: Uint8Array): void
}

interface Insides {
  _handle?: Handle | null
  _server?: unknown
  server?: unknown
  ssl?: unknown
  _httpMessage?: unknown
}

/** How sockets are read; `data` is the fallback, and can be asked for with SLUICE_READ_MODE=data. */
export type ReadMode = 'onread' | 'data'

export function defaultReadMode(): ReadMode {
  return process.env.SLUICE_READ_MODE === 'data' ? 'data' : 'onread'
}

/**
 * A paused socket on the handle of `socket`, reading into our buffers; or undefined if that cannot be had, and then
 * nothing has changed. What `socket` had read already stays in its buffer for the caller to `read()`. After success
 * `socket` is an empty shell.
 */
export function adopt(socket: net.Socket, onread: OnRead): net.Socket | undefined {
  const old = socket as unknown as Insides
  const handle = old._handle
  if (!handle || typeof handle.readStop !== 'function' || typeof handle.useUserBuffer !== 'function') return undefined
  if (socket.destroyed || socket.connecting || socket.readableEnded || socket.writableLength > 0) return undefined
  let asked = false
  const buffer = () => {
    asked = true
    return onread.buffer()
  }
  socket.setTimeout(0)
  socket.pause()
  handle.readStop()
  handle.reading = false
  const options = { handle, allowHalfOpen: true, pauseOnCreate: true, onread: { buffer, callback: onread.callback } }
  const adopted = new net.Socket(options as unknown as net.SocketConstructorOpts)
  const fresh = adopted as unknown as Insides
  // The server counts its connections by these, and TLS frees its state by the last.
  fresh._server = old._server
  fresh.server = old.server
  if (old.ssl !== undefined) fresh.ssl = old.ssl
  old._handle = null
  old._server = null
  if (!asked) throw new Error('net.Socket took a handle but not onread: set SLUICE_READ_MODE=data and report it')
  return adopted
}

/** Lets a socket that was given `onread` read into other memory from its next read on; false if it cannot. */
export function readInto(socket: net.Socket, buffer: Uint8Array): boolean {
  const handle = (socket as unknown as Insides)._handle
  if (typeof handle?.useUserBuffer !== 'function') return false
  handle.useUserBuffer(buffer)
  return true
}

let probed: boolean | undefined

/** Whether this Node takes `onread` with a handle at all: tried once, on a socket that is never connected. */
export function canAdopt(): boolean {
  if (probed === undefined) {
    let asked = false
    const calls: string[] = []
    const handle = {
      reading: false,
      readStop: () => calls.push('readStop'),
      readStart: () => 0,
      close: () => {},
      useUserBuffer: () => calls.push('useUserBuffer'),
    }
    const buffer = () => {
      asked = true
      return new Uint8Array(1)
    }
    try {
      const options = { handle, pauseOnCreate: true, onread: { buffer, callback: () => true } }
      new net.Socket(options as unknown as net.SocketConstructorOpts)
    } catch {
      asked = false
    }
    probed = asked && calls.includes('useUserBuffer')
  }
  return probed
}
