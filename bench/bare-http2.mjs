// The least that carries TCP over HTTP/2 with node:http2 alone, to compare with: a stream for each connection.
//   node bare-http2.mjs server CERT KEY PORT    connects streams to 127.0.0.1:PORT
//   node bare-http2.mjs client URL              listens, and opens a stream for each connection
import { readFileSync } from 'node:fs'
import http2 from 'node:http2'
import net from 'node:net'

const [role, ...args] = process.argv.slice(2)
const WINDOW = 16 * 1024 * 1024
const settings = { initialWindowSize: WINDOW, maxFrameSize: 1024 * 1024 }

function join(socket, stream) {
  socket.pipe(stream).pipe(socket)
  for (const one of [socket, stream]) one.on('error', () => {})
  socket.on('close', () => stream.destroy())
  stream.on('close', () => socket.destroy())
}

if (role === 'server') {
  const [cert, key, port] = args
  const server = http2.createSecureServer({ cert: readFileSync(cert), key: readFileSync(key), settings })
  server.on('session', (session) => session.setLocalWindowSize(WINDOW))
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200 })
    join(net.connect({ port: Number(port), host: '127.0.0.1', noDelay: true }), stream)
  })
  server.listen(0, '127.0.0.1', () => console.log(`serving on https://127.0.0.1:${server.address().port}`))
} else {
  const session = http2.connect(args[0], { rejectUnauthorized: false, settings })
  session.on('connect', () => session.setLocalWindowSize(WINDOW))
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    join(socket, session.request({ ':method': 'POST', ':path': '/' }, { endStream: false }))
  })
  server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`))
}
