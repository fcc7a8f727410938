import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import { join } from 'node:path'
import { after } from 'node:test'
import { ROOT } from './need.js'

/** What a test has opened. One that fails leaves it open, and its file, which cannot end then, would be taken for a hang. */
const opened = new Set<() => unknown>()
after(() => {
  for (const end of opened) end()
})

/** Has `end` called after the last test of this file, unless the function that this gives is called before. */
export function endAtLast(end: () => unknown): () => void {
  opened.add(end)
  return () => void opened.delete(end)
}

/** A listening server on loopback, closed with everything it accepted. */
export interface Listening {
  readonly port: number
  readonly sockets: Set<net.Socket>
  close(): Promise<void>
}

/** Listens on a free loopback port; half-open sockets stay open until both sides have ended. */
export async function listen(onSocket: (socket: net.Socket) => void): Promise<Listening> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const end = () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
  const ended = endAtLast(end)
  return {
    port: (server.address() as net.AddressInfo).port,
    sockets,
    close: async () => {
      ended()
      end()
      await once(server, 'close')
    },
  }
}

/** A target that sends back what it gets, and ends when the other side does. */
export const echo = (socket: net.Socket): void => void socket.pipe(socket)

/** A port on which nothing listens. */
export async function closedPort(): Promise<number> {
  const { freePort } = (await import(join(ROOT, 'tools', 'free-port.mjs'))) as { freePort: () => Promise<number> }
  return freePort()
}

/** A connected client socket. */
export async function connectTo(port: number): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  await once(socket, 'connect')
  return socket
}

/** How a socket ended, with everything that came before. */
export interface Received {
  readonly bytes: Buffer
  /** `end` for a FIN, otherwise the error's code. */
  readonly how: string
}

/** Reads to the end, whichever it is. */
export function receiveAll(socket: net.Socket): Promise<Received> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const done = (how: string) => resolve({ bytes: Buffer.concat(chunks), how })
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.once('end', () => done('end'))
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message))
    socket.once('close', () => done('closed'))
  })
}

/** Reads exactly this many bytes, then pauses. */
export function receive(socket: net.Socket, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let got = 0
    const onData = (chunk: Buffer) => {
      chunks.push(chunk)
      got += chunk.length
      if (got < length) return
      socket.off('data', onData).off('end', onEnd).off('error', reject)
      // What goes wrong later is for whoever reads next.
      if (socket.listenerCount('error') === 0) socket.on('error', () => {})
      socket.pause()
      resolve(Buffer.concat(chunks))
    }
    const onEnd = () => reject(new Error(`ended after ${got} of ${length} bytes`))
    socket.on('data', onData)
    socket.resume()
    socket.once('end', onEnd)
    socket.once('error', reject)
  })
}

/** Reads to the end, also what an earlier reader has paused. */
export function readOn(socket: net.Socket): ReturnType<typeof receiveAll> {
  const all = receiveAll(socket)
  socket.resume()
  return all
}

/** Says something to what echoes. */
export async function say(socket: net.Socket, text: string): Promise<void> {
  socket.write(text)
  assert.equal((await receive(socket, text.length)).toString(), text)
}

/** Sends datagrams from one port, and waits for as many answers. */
export async function ask(port: number, ...datagrams: Buffer[]): Promise<Buffer[]> {
  const socket = createSocket('udp4')
  const answers: Buffer[] = []
  socket.on('message', (message) => answers.push(message))
  try {
    for (const datagram of datagrams) socket.send(datagram, port, '127.0.0.1')
    await until(() => answers.length === datagrams.length, `${datagrams.length} answers`)
    return answers
  } finally {
    socket.close()
  }
}

/** Writes, waiting as the socket asks. */
export async function send(socket: net.Socket, bytes: Uint8Array): Promise<void> {
  if (!socket.write(bytes)) await once(socket, 'drain')
}

/** Waits until a condition holds; fails loudly when it never does. */
export async function until(condition: () => boolean, what: string, milliseconds = 10_000): Promise<void> {
  const deadline = Date.now() + milliseconds
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${milliseconds} ms in vain for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export const sleep = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))
