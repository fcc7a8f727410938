import { once } from 'node:events'
import net from 'node:net'
import { after } from 'node:test'
import tls from 'node:tls'
import { selfSigned } from '#src/server/self-signed.js'
import { connectTo } from './net.js'

const certificate = selfSigned(['127.0.0.1'])
const servers: net.Server[] = []
after(() => {
  for (const server of servers) server.close()
})

/** A socket that a server has accepted, not read yet, and the other end. */
export async function accepted(): Promise<{ socket: net.Socket; peer: net.Socket }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  servers.push(server)
  const coming = once(server, 'connection')
  const peer = await connectTo((server.address() as net.AddressInfo).port)
  const [socket] = (await coming) as [net.Socket]
  return { socket, peer }
}

/** The same over TLS: what the server has accepted, and the client's end. */
export async function secured(dial = trusting): Promise<{ socket: tls.TLSSocket; peer: tls.TLSSocket }> {
  const server = tls.createServer({ ...(await certificate), allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  servers.push(server)
  const coming = once(server, 'secureConnection')
  const peer = dial((server.address() as net.AddressInfo).port)
  await once(peer, 'secureConnect')
  const [socket] = (await coming) as [tls.TLSSocket]
  return { socket, peer }
}

function trusting(port: number): tls.TLSSocket {
  const options = { port, host: '127.0.0.1', allowHalfOpen: true, rejectUnauthorized: false }
  return tls.connect(options as tls.ConnectionOptions)
}
