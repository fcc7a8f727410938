import { once } from 'node:events'
import net from 'node:net'

// Below what a system itself gives out (from 32768 or 49152 on): there a port that was free a moment ago may be another
// process's outgoing connection by now. Each process begins elsewhere, so that two that run at once do not meet.
const [LOWEST, COUNT] = [23_000, 9_700]
let next = (process.pid * 61) % COUNT

/** A port of loopback on which nobody listens now. */
export async function freePort() {
  for (let tries = 0; tries < COUNT; tries++) {
    const port = LOWEST + next
    next = (next + 1) % COUNT
    if (await isFree(port)) return port
  }
  throw new Error(`no port of ${LOWEST} to ${LOWEST + COUNT - 1} is free`)
}

async function isFree(port) {
  const server = net.createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (error) {
    if (error.code === 'EADDRINUSE') return false
    throw error
  }
  server.close()
  await once(server, 'close')
  return true
}
