// A small WebSocket-to-TCP server on the `ws` package.
import net from 'node:net'
import { WebSocketServer } from 'ws'

const [listen, target] = process.argv.slice(2).map(Number)
const server = new WebSocketServer({ host: '127.0.0.1', port: listen }, () => console.log('listening'))
server.on('connection', (ws) => {
  const tcp = net.connect({ port: target, host: '127.0.0.1' })
  ws.on('message', (data) => {
    if (tcp.write(data)) return
    ws.pause()
    tcp.once('drain', () => ws.resume())
  })
  ws.on('close', () => tcp.destroy())
  tcp.on('data', (chunk) => {
    tcp.pause()
    ws.send(chunk, () => tcp.resume())
  })
  tcp.on('end', () => ws.close(1000))
  tcp.on('error', (error) => ws.close(1011, error.code))
})
